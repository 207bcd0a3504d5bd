"""Sparse COMPUTEs on the RTL and in the estimator: what they cost around their passes, by what they wait for.

All weights and activations count, so that a pixel takes as many cycles as the lists are long, and nothing is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estimator import MemoryTiming, estimate
from estimator.instructions import Rates, Streams
from rtl.contract.codec import encode
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Opcode, Space, Unit
from scheduler.plan.layout import SparseWeights
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.runner import model_of
from tb.sim.job import LaunchJob, MemoryFile, ProcessJob
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.assembler import Assembler

CHIP = FUZZ_CHIPS["1x1_sparse"]
CORE = CHIP.cores[0]
MEMORY_BYTES, BASE = 1 << 16, 1 << 15
SETTINGS = MemorySettings(latency_cycles=20)
ITEMS, TIMES = 5, 6
DENSE = np.ones((ITEMS, CORE.rows, CORE.cols), np.int8)
ROUNDS = SparseWeights(CORE).rounds(DENSE, np.arange(CORE.cols))
WEIGHTS = SparseWeights(CORE).pack(DENSE, np.arange(CORE.cols), ROUNDS)
DONE, FREE, LOADED = 0, 1, 2


@dataclass(frozen=True)
class Rated:
    """A program with what its pixels take."""

    streams: Streams

    @property
    def rates(self) -> Rates:
        return {0: [float(ROUNDS)] * TIMES}


def _setup(program: Assembler, engine: Engine, width: int) -> None:
    options = {"run_ahead": 4} if engine == Engine.SPARSE else {"tap_mode": TapMode.MAX}
    kernel = ITEMS if engine == Engine.SPARSE else 1
    program.setup(0, engine=engine, kernel_h=kernel, out_w=width, in_w=1000, step_x=CORE.rows, **options)


def _weights(program: Assembler, token: int | None, **waits: list[int]) -> None:
    flits = -(-WEIGHTS.size // CHIP.link_bytes)
    program.load(0, run_flits=flits, space=Space.WEIGHT, token=token, **waits)


def _with_weights() -> Assembler:
    """A program whose compute unit waits until the weights are there."""
    program = Assembler(CHIP)
    _weights(program, LOADED)
    program.sync(0, Unit.COMPUTE, wait=[LOADED])
    return program


def _stored(width: int, banks: int) -> Assembler:
    program = _with_weights()
    _setup(program, Engine.SPARSE, width)
    for number in range(TIMES):
        waits, base = [FREE] if number >= banks else [], number % banks * CORE.acc_bank_entries
        program.compute(0, in_h=1000, rounds=ROUNDS, acc_base=base, wait=waits, signal=[None, None, (DONE, 0)])
        program.store(0, pixels=width, addr=4096, acc_base=base, wait=[DONE], signal=[(FREE, 0)])
    return program


def to_store(width: int) -> Assembler:
    """Each COMPUTE waits until the STORE of the one before has read its accumulators, and the STORE for the COMPUTE."""
    return _stored(width, 1)


def loaded(width: int) -> Assembler:
    """Each COMPUTE waits for its weights, which wait for the one before."""
    program = Assembler(CHIP)
    _setup(program, Engine.SPARSE, width)
    for number in range(TIMES):
        _weights(program, LOADED, wait=[FREE] if number else [])
        program.compute(0, in_h=1000, rounds=ROUNDS, wait=[LOADED], signal=[None, (FREE, 0), None])
    return program


def queued(width: int) -> Assembler:
    """All are there before the first begins."""
    program = _with_weights()
    _setup(program, Engine.SPARSE, width)
    for _ in range(TIMES):
        program.compute(0, in_h=1000, rounds=ROUNDS)
    return program


def in_turn(width: int) -> Assembler:
    """Sparse engine and tap unit in turn."""
    program = _with_weights()
    for _ in range(TIMES):
        _setup(program, Engine.SPARSE, width)
        program.compute(0, in_h=1000, rounds=ROUNDS)
        _setup(program, Engine.TAP, 30)
        program.compute(0, in_h=1000)
    return program


def two_banks(width: int) -> Assembler:
    """Two banks of accumulators in turn: the engine fills one while a STORE drains the other."""
    return _stored(width, 2)


PROGRAMS = {"to store": to_store, "two banks": two_banks, "loaded": loaded, "queued": queued, "in turn": in_turn}
WIDTHS = (1, 16)
"""Pixels of a pass: of so few passes wait for each other's weights."""


def test_computes_take_what_the_estimator_says(tmp_path: Path) -> None:
    cases = [(name, width, make(width)) for name, make in PROGRAMS.items() for width in WIDTHS]
    launches = []
    for number, (_, _, program) in enumerate(cases):
        memory = np.zeros(MEMORY_BYTES, np.uint8)
        memory[: WEIGHTS.size] = WEIGHTS
        stride = program.place(memory, BASE)
        np.save(tmp_path / f"{number}.npy", memory)
        file = MemoryFile(0, tmp_path / f"{number}.npy")
        folder = tmp_path / str(number)
        launches.append(LaunchJob(str(number), BASE, stride, folder, watchdog_cycles=20_000, memory=(file,)))
    job = ProcessJob(CHIP, MEMORY_BYTES, tuple(launches), settings=SETTINGS)
    results = run_job(model_of(CHIP), job, tmp_path / "work")
    assert len(results) == len(cases)
    for (name, width, program), result in zip(cases, results, strict=True):
        streams = {place: [*stream, encode(Opcode.END)] for place, stream in program.streams.items()}
        predicted = estimate(Rated(streams), CHIP, MemoryTiming(SETTINGS.latency_cycles)).cycles
        assert result.ok
        assert abs(predicted - result.cycles) <= 2 * TIMES, (name, width, predicted, result.cycles)
