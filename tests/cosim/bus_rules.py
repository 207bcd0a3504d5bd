"""cocotb tests of one checker alone, run by test_bus_rules.py: legal traffic passes, each broken rule is named."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb.types import LogicArray

from tb.sim.buses import describe
from tests.cosim.bus_traffic import AXI, LITE, Step, Traffic

_RESET_STEPS = 3


class Player:
    """Plays steps at the checker and counts cycles as the wrapper does."""

    def __init__(self, dut: Any, traffic: Traffic) -> None:
        self._dut = dut
        self._inputs = {name: getattr(dut, name) for name in sorted(_INPUTS) if hasattr(dut, name)}
        self._idle = traffic.idle

    async def play(self, steps: list[Step], *, in_reset: bool = False) -> int:
        """Reset and play; the result is the cycle of the last step."""
        self._drive({})
        self._dut.rst.value = 1
        self._dut.cycle.value = 0
        for _ in range(_RESET_STEPS):
            await RisingEdge(self._dut.clk)
        cycle = 0
        if not in_reset:
            self._dut.rst.value = 0
            cycle = await self._next(cycle)
        for step in steps:
            self._drive(step)
            cycle = await self._next(cycle)
        self._drive({"irq": 1})
        self._dut.rst.value = 0
        for _ in range(2):  # one to see it, one to read what came of it
            await RisingEdge(self._dut.clk)
        return cycle - 1

    def _drive(self, step: Step) -> None:
        for name, handle in self._inputs.items():
            value = step.get(name, self._idle.get(name, 0))
            handle.value = LogicArray("X" * len(handle)) if value == "x" else value

    async def _next(self, cycle: int) -> int:
        self._dut.cycle.value = cycle
        await RisingEdge(self._dut.clk)
        return cycle + 1


_INPUTS = {
    "irq", *(f"{c}{s}" for c in ("ar", "aw", "r", "w", "b") for s in ("valid", "ready", "id", "addr", "len", "size",
                                                                     "burst", "data", "strb", "last", "resp")),
}  # fmt: skip


def _begin(dut: Any) -> Traffic:
    Clock(dut.clk, 10, unit="ns", impl="gpi").start()
    return AXI if dut._name == "systomesh_axi_check" else LITE


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def legal_traffic_passes(dut: Any) -> None:
    traffic = _begin(dut)
    player = Player(dut, traffic)
    for name, case in traffic.legal.items():
        await player.play(case.steps)
        assert int(dut.violation.value) == 0, f"{name}: {describe('checker', int(dut.violation.value))}"
        if hasattr(dut, "unanswered"):
            assert int(dut.unanswered.value) == case.unanswered, name


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def each_broken_rule_is_named(dut: Any) -> None:
    traffic = _begin(dut)
    player = Player(dut, traffic)
    two_values = cocotb.SIM_NAME.lower().startswith("verilator")
    played = 0
    for case in traffic.broken:
        if two_values and case.needs_unknowns:
            continue
        cycle = await player.play(case.steps, in_reset=case.in_reset)
        violation = int(dut.violation.value)
        assert violation, f"unnoticed: {case}"
        found = describe("checker", violation)
        assert found == (
            f"checker broke the rules of its bus: channel {case.channel}, {case.rule}, in cycle {cycle}"
        ), case
        played += 1
    assert played >= 20
