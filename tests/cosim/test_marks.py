"""Marks on the RTL, on both simulators: parts add up to the launch, and are where the estimator has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from estimator import MemoryTiming, Unrated, estimate
from rtl.contract.activity import Activity
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Space, Unit
from rtl.contract.marks import intervals_of, marks_of
from tb.fuzz.runner import model_of
from tb.sim.job import LaunchJob, LaunchResult, MemoryFile, ProcessJob
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.assembler import Assembler
from tests.chips import CHIPS

CHIP = CHIPS["2x1_mixed"]
MEMORY_BYTES, BASE = 1 << 16, 1 << 15
PIXELS = 32
LAYERS = (3, 12, 6)
"""COMPUTEs of each part, in core 0; core 1 has twice as many."""
SETTINGS = MemorySettings(latency_cycles=20)
WATCHDOG = 5_000


@dataclass(frozen=True)
class Streams(Unrated):
    """What an estimate asks of a launch."""

    streams: dict[tuple[int, Unit], list[bytes]]


def marked_program() -> Assembler:
    """Three parts, each a LOAD and COMPUTEs that wait for it; core 1 computes twice as often as core 0."""
    program = Assembler(CHIP)
    for core in range(CHIP.n_cores):
        program.setup(core, out_w=8, in_w=8, step_x=1, step_y=8)
        for number, times in enumerate(LAYERS, 1):
            program.load(core, run_flits=100, space=Space.ACT, token=1, memory=core)
            program.sync(core, Unit.COMPUTE, wait=[1])
            for _ in range(times * (core + 1)):
                program.compute(core, out_h=PIXELS // 8, in_h=PIXELS // 8)
            program.sync(core, Unit.COMPUTE, mark=number)
    return program


def run(program: Assembler, simulator: str, folder: Path) -> LaunchResult:
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    stride = program.place(memory, BASE)
    np.save(folder / "memory.npy", memory)
    file, marks = MemoryFile(0, folder / "memory.npy"), marks_of(CHIP, program.streams)
    launch = LaunchJob("marks", BASE, stride, folder / "result", watchdog_cycles=WATCHDOG, memory=(file,), marks=marks)
    job = ProcessJob(CHIP, MEMORY_BYTES, (launch,), settings=SETTINGS)
    (result,) = run_job(model_of(CHIP, simulator), job, folder / "work")
    return result


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_parts_add_up_to_the_launch_and_are_where_the_estimator_has_them(simulator: str, tmp_path: Path) -> None:
    program = marked_program()
    result = run(program, simulator, tmp_path)
    assert result.ok
    assert result == LaunchResult.load(tmp_path / "result"), "JSON keeps the marks"
    marks = result.core_marks
    assert [[mark.number for mark in core] for core in marks] == [[1, 2, 3]] * 2
    whole = Activity.from_counters(result.cycles, result.counters)
    parts = intervals_of(whole, marks)
    assert [part.mark for part in parts] == [1, 2, 3]
    assert sum(part.cycles for part in parts) == result.cycles
    for name, cycles in whole.compute_cycles.items():
        assert sum(part.compute_cycles[name] for part in parts) == cycles
    streamed = [times * PIXELS * 3 / 2 for times in LAYERS]
    assert [part.compute_cycles["stream"] for part in parts] == streamed
    assert all(core[-1].compute_cycles["done"] == 0 for core in marks)

    streams = {place: [*stream, encode(Opcode.END)] for place, stream in program.streams.items()}
    predicted = estimate(Streams(streams), CHIP, MemoryTiming(SETTINGS.latency_cycles))
    for core, some in enumerate(marks):
        for mark, forecast in zip(some, predicted.marks[core], strict=True):
            assert forecast.number == mark.number
            assert forecast.cycles == pytest.approx(mark.cycles, rel=0.1, abs=30)
            assert forecast.compute_cycles["stream"] == mark.compute_cycles["stream"]


def test_a_launch_that_fails_has_no_marks_but_tells_how_many_a_core_passed(tmp_path: Path) -> None:
    program = Assembler(CHIP)
    program.sync(0, Unit.COMPUTE, mark=1)
    program.sync(0, Unit.COMPUTE, mark=4)
    program.sync(0, Unit.COMPUTE, signal=[(7, 1)])
    program.sync(1, Unit.COMPUTE, wait=[7])
    program.sync(1, Unit.COMPUTE, mark=CHIP.cores[1].marks + 1)
    result = run(program, "verilator", tmp_path)
    assert (result.outcome["error"], result.outcome["node"], result.outcome["unit"]) == ("ILLEGAL_FIELD", 1, "compute")
    assert result.marks == []
    assert [core["marks_passed"] for core in result.debug] == [2, 0]
