"""The host driver, against a model of the registers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from rtl.contract.activity import Activity
from rtl.contract.params import default_chip
from rtl.contract.regs import (
    ID_VALUE,
    START_CYCLES,
    BlockKind,
    Control,
    CoreTrace,
    ErrorCode,
    Register,
    Status,
    block_index,
)
from tb.sim.driver import Driver, Outcome, Progress, Transport, TransportError

CHIP = default_chip(2)


class FakeBoard(Transport):
    """Registers that answer at once; a start ends as `ending` says."""

    def __init__(self, *, status: Status = Status.DONE, error: int = 0, irq: bool = True, id_value: int = ID_VALUE):
        self.status, self.error, self.irq, self.id_value = status, error, irq, id_value
        self.writes: list[tuple[Register, int]] = []
        self.select = 0

    async def write32(self, offset: int, value: int) -> None:
        self.writes.append((Register(offset), int(value)))
        if offset == Register.COUNTER_SELECT:
            self.select = value

    async def read32(self, offset: int) -> int:
        return {
            Register.ID: self.id_value,
            Register.STATUS: int(self.status),
            Register.ERROR: self.error,
            Register.CYCLES_LOW: 7,
            Register.CYCLES_HIGH: 1,
            Register.COUNTER_LOW: self.select,
            Register.COUNTER_HIGH: 2,
        }[Register(offset)]

    async def wait_irq(
        self,
        progress: Progress | None = None,
        interval_s: float = 0.25,
        limit_cycles: int | None = None,
    ) -> bool:
        return self.irq

    async def read_memory(self, address: int, size: int) -> np.ndarray:
        raise NotImplementedError

    async def write_memory(self, address: int, data: np.ndarray) -> None:
        raise NotImplementedError


def test_marks_are_asked_for_while_the_chip_computes() -> None:
    """One write and one read; the low word is all there is."""
    board = FakeBoard()
    passed = asyncio.run(Driver(board, CHIP).passed(1))
    assert board.writes == [(Register.COUNTER_SELECT, passed)]
    assert (passed & 0xFF, passed >> 8) == (CoreTrace.PASSED, block_index(BlockKind.CORE, 1, CHIP.n_cores))


def test_start_writes_everything_before_the_start_bit() -> None:
    board = FakeBoard()
    asyncio.run(Driver(board, CHIP).start(0x4000, 0x800, watchdog_cycles=99))
    assert dict(board.writes) == {
        Register.CONTROL: Control.START,
        Register.PROGRAM_BASE: 0x4000,
        Register.PROGRAM_STRIDE: 0x800,
        Register.WATCHDOG: 99,
        Register.ACTIVE_CORES_LOW: 0b11,
        Register.ACTIVE_CORES_HIGH: 0,
    }
    assert board.writes[-1] == (Register.CONTROL, Control.START)
    assert board.writes[0] == (Register.CONTROL, Control.CLEAR_IRQ)


@pytest.mark.parametrize(
    ("board", "line"),
    [
        (FakeBoard(), f"done after {7 + (1 << 32)} cycles"),
        (
            FakeBoard(status=Status.ERROR, error=1 << 16 | 1 << 8 | ErrorCode.ACT_RANGE),
            f"ACT_RANGE in core 1, compute unit after {7 + (1 << 32)} cycles",
        ),
        (
            FakeBoard(status=Status.ERROR, error=3 << 16 | 2 << 8 | ErrorCode.AXI_READ),
            f"AXI_READ in memory node 0 after {7 + (1 << 32)} cycles",
        ),
        (FakeBoard(irq=False, status=Status.BUSY), f"no interrupt after {7 + (1 << 32)} cycles"),
    ],
    ids=["done", "core error", "memory error", "hung"],
)
def test_outcome_names_code_place_and_unit(board: FakeBoard, line: str) -> None:
    outcome = asyncio.run(Driver(board, CHIP).wait())
    assert outcome.describe(CHIP.n_cores) == line
    assert Outcome(**outcome.as_dict()) == outcome


def test_unknown_error_code_is_still_reported() -> None:
    outcome = asyncio.run(Driver(FakeBoard(status=Status.ERROR, error=0xEE), CHIP).wait())
    assert outcome.error == "ErrorCode 238"


def test_counters_are_selected_by_block_and_number() -> None:
    counters = asyncio.run(Driver(FakeBoard(), CHIP).counters())
    high = 2 << 32
    assert counters["core"][1]["compute_wait_act"] == high | 1 << 8 | 1
    assert counters["router"][0]["blocked"] == high | 2 << 8 | 5
    assert counters["memory"][0]["write_weight_bytes"] == high | 4 << 8 | 8


def test_marks_are_read_from_the_entries_of_their_core() -> None:
    chip = replace(CHIP, cores=(replace(CHIP.cores[0], marks=4), CHIP.cores[1]))
    board = FakeBoard()
    driver = Driver(board, chip)
    ((first, last), none) = asyncio.run(driver.marks([[1, 4], []]))
    assert none == []
    assert (first.number, last.number) == (1, 4)
    high = 2 << 32
    assert first.compute_cycles["stream"] == high | 1 << 16 | CoreTrace.COMPUTE
    assert last.compute_cycles == {
        name: high | CoreTrace.COMPUTE + index for index, name in enumerate(first.compute_cycles)
    }, "mark 4 of 4 lies in entry 0"
    assert last.cycles == START_CYCLES + sum(last.compute_cycles.values())
    debug = asyncio.run(driver.debug())
    assert debug[0]["marks_passed"] == high | CoreTrace.PASSED
    assert "marks_passed" not in debug[1]


def test_counters_make_an_activity() -> None:
    """Each under the name by which `Activity` asks for it."""
    driver = Driver(FakeBoard(), CHIP)
    got = Activity.from_counters(1, asyncio.run(driver.counters()))
    high = 2 << 32
    assert [core.pixels["tap"] for core in got.cores] == [high | core << 8 | 9 for core in range(2)]
    assert got.write_bytes["weight"] == sum(high | (4 + node) << 8 | 8 for node in range(len(CHIP.memory_nodes)))


def test_another_chip_is_refused() -> None:
    with pytest.raises(TransportError, match="the ID register reads 0x00000001"):
        asyncio.run(Driver(FakeBoard(id_value=1), CHIP).identify())


def test_debug_words_name_state_and_tokens() -> None:
    (core, _) = asyncio.run(Driver(FakeBoard(), CHIP).debug())
    assert core["units"]["load"] == {"opcode": "ILLEGAL", "state": "ended", "unmet_waits": [], "instructions": 2 << 16}
    assert core["tokens"] == [0, 1, 5, 33, 50, 53]
