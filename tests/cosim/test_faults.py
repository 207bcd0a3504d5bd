"""Faulty programs on the whole chip: each ends in a status that names its cause, and the next program runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rtl.contract.isa import Opcode, Space, Unit
from rtl.contract.regs import ErrorCode
from tb.model.build import build_model, emit_chip
from tb.sim.driver import Outcome
from tb.sim.job import LaunchJob, LaunchResult, MemoryFile, ProcessJob
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.assembler import Assembler
from tests.chips import CHIPS

CHIP = CHIPS["2x1_16x4"]
MEMORY_BYTES = 1 << 16
BASE = MEMORY_BYTES // 2
WATCHDOG_CYCLES = 2_000
FAULTY = 1
"""The core at fault; the other one has nothing to do."""
MEMORY_NODE = CHIP.memory_node_id(0)

Recipe = Callable[[Assembler], None]


def awaited(**fields: int) -> Recipe:
    """A LOAD that the core waits for."""

    def recipe(program: Assembler) -> None:
        program.load(FAULTY, token=9, **fields)
        program.sync(FAULTY, Unit.COMPUTE, wait=[9])

    return recipe


def computes(**fields: int) -> Recipe:
    def recipe(program: Assembler) -> None:
        program.setup(FAULTY)
        program.compute(FAULTY, **fields)

    return recipe


def overflow(program: Assembler) -> None:
    for _ in range(86):
        program.sync(FAULTY, Unit.COMPUTE, signal=[(5, FAULTY)] * 3)


def remote_store(program: Assembler) -> None:
    """Core 1 writes beyond the activations of core 0: core 0 reports it."""
    flits = CHIP.cores[0].act_bytes // CHIP.link_bytes
    program.store(FAULTY, to_core=1, core=0, addr=flits, token_valid=1, token=9)
    program.sync(0, Unit.COMPUTE, wait=[9])


CASES: dict[str, tuple[Recipe, ErrorCode]] = {
    "opcode": (lambda p: p.emit(FAULTY, Unit.LOAD, Opcode.STORE), ErrorCode.ILLEGAL_OPCODE),
    "field": (lambda p: p.load(FAULTY, run_flits=0), ErrorCode.ILLEGAL_FIELD),
    "activations": (computes(act_base=CHIP.cores[FAULTY].act_bytes - 3), ErrorCode.ACT_RANGE),
    "weights": (awaited(run_flits=1, dst=(1 << 18) - 1, space=Space.WEIGHT), ErrorCode.WEIGHT_RANGE),
    "accumulators": (computes(acc_base=CHIP.cores[FAULTY].acc_bank_entries - 1, out_h=2, in_h=2), ErrorCode.ACC_RANGE),
    "parameters": (lambda p: p.store(FAULTY, param_base=1023), ErrorCode.PARAM_RANGE),
    "token overflow": (overflow, ErrorCode.TOKEN_OVERFLOW),
    "misaligned": (lambda p: p.load(FAULTY, run_flits=1, dram_addr=4), ErrorCode.MISALIGNED),
    "read beyond memory": (awaited(run_flits=1, dram_addr=MEMORY_BYTES), ErrorCode.AXI_READ),
    "write beyond memory": (lambda p: p.store(FAULTY, addr=MEMORY_BYTES), ErrorCode.AXI_WRITE),
    "other core's activations": (remote_store, ErrorCode.ACT_RANGE),
    "deadlock": (lambda p: p.sync(FAULTY, Unit.STORE, wait=[7]), ErrorCode.WATCHDOG),
}


@pytest.fixture(scope="module", params=["verilator", "icarus"])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LaunchResult]:
    """Every case in one simulation, each behind the error of the one before; a healthy program at the end."""
    folder = tmp_path_factory.mktemp("faults")
    launches = []
    for name, recipe in [*((name, recipe) for name, (recipe, _) in CASES.items()), ("healthy", lambda _: None)]:
        program = Assembler(CHIP)
        recipe(program)
        memory = np.zeros(MEMORY_BYTES, np.uint8)
        stride = program.place(memory, BASE)
        np.save(folder / f"{name}.npy", memory)
        launches.append(
            LaunchJob(
                name,
                BASE,
                stride,
                folder / name,
                watchdog_cycles=WATCHDOG_CYCLES,
                limit_cycles=10 * WATCHDOG_CYCLES,
                memory=(MemoryFile(0, folder / f"{name}.npy"),),
            )
        )
    model = build_model(emit_chip(CHIP), request.param, memory_bytes=MEMORY_BYTES, optimise=False)
    job = ProcessJob(CHIP, MEMORY_BYTES, tuple(launches), settings=MemorySettings(latency_cycles=20), keep_going=True)
    found = run_job(model, job, folder / "work")
    assert [result.name for result in found] == [*CASES, "healthy"]
    return {result.name: result for result in found}


@pytest.mark.parametrize("name", CASES)
def test_fault_names_its_cause_as_the_machine_does(results: dict[str, LaunchResult], name: str) -> None:
    recipe, code = CASES[name]
    program = Assembler(CHIP)
    recipe(program)
    expected = program.run(np.zeros(MEMORY_BYTES, np.uint8), BASE)
    outcome = Outcome(**results[name].outcome)
    assert (outcome.status, outcome.error) == ("error", code.name), outcome
    assert expected.error == code
    if code != ErrorCode.WATCHDOG:  # which stops the chip, not a unit of it
        assert outcome.node == expected.node
        assert outcome.unit == (expected.unit.name.lower() if expected.unit is not None else None)


def test_error_of_the_memory_names_the_memory_node(results: dict[str, LaunchResult]) -> None:
    assert results["read beyond memory"].outcome["node"] == MEMORY_NODE


def test_hung_run_tells_what_every_unit_waits_for(results: dict[str, LaunchResult]) -> None:
    hung = results["deadlock"]
    assert hung.cycles < 3 * WATCHDOG_CYCLES
    assert [core["core"] for core in hung.debug] == [0, 1]
    units = [core["units"] for core in hung.debug]
    store = units[FAULTY].pop("store")
    assert (store["opcode"], store["state"], store["unmet_waits"]) == ("SYNC", "wait", [0])
    assert all(unit["state"] == "ended" for core in units for unit in core.values())


def test_healthy_program_runs_behind_all_faults(results: dict[str, LaunchResult]) -> None:
    assert results["healthy"].ok
