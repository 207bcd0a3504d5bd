"""`Load`: every LOAD becomes one READ packet, or the error that names what is wrong with it; checked in every cycle."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from amaranth.hdl import Const

from rtl.contract import codec, isa
from rtl.contract.isa import Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams, default_chip
from rtl.contract.regs import ErrorCode
from rtl.core.load import Load
from rtl.noc.flit import Kind, flit_layout
from tests.unit.rtl.drivers import simulate

SMALL = default_chip(8)
LARGE = default_chip(64, tokens=128)
"""On which no field of a LOAD has a bit that is always 0."""


def error_of(chip: ChipParams, load: dict[str, int]) -> ErrorCode:
    """Of a LOAD, by its fields."""
    if (
        not load["runs"]
        or not load["run_flits"]
        or load["memory"] >= len(chip.memory_nodes)
        or not 0 < load["cores"] < 1 << chip.n_cores
        or (load["token_valid"] and load["token"] >= chip.tokens)
        or load["traffic"] > TrafficClass.PROGRAM
        or load["space"] == Space.PROGRAM
    ):
        return ErrorCode.ILLEGAL_FIELD
    return ErrorCode.MISALIGNED if load["dram_addr"] % chip.link_bytes else ErrorCode.NONE


def any_load(chip: ChipParams, rng: random.Random) -> dict[str, int]:
    """A legal LOAD, all of its bits as they come; of those that are checked, often only one is set."""

    def number(bits: int) -> int:
        return rng.choice([1 << rng.randrange(bits), rng.randrange(1, 1 << bits)])

    ranges = {name: codec.field_range(Opcode.LOAD, name) for name, _ in isa.LAYOUTS[Opcode.LOAD] if name != "opcode"}
    load = {name: rng.randint(*limits) for name, limits in ranges.items()}
    load |= {"cores": number(chip.n_cores), "runs": number(12), "run_flits": number(16)}
    load |= {"memory": rng.randrange(len(chip.memory_nodes)), "traffic": rng.randrange(5), "space": rng.randrange(3)}
    load["dram_addr"] -= load["dram_addr"] % chip.link_bytes
    if load["token_valid"]:
        load["token"] %= chip.tokens
    return load


class LoadBench:
    """Offers LOADs, each until it is taken; knows what the unit must do in every cycle."""

    def __init__(self, chip: ChipParams, rng: random.Random) -> None:
        self.chip, self.rng = chip, rng
        self.dut = Load(chip=chip)
        self.layout = flit_layout(chip)
        self.node = rng.randrange(chip.n_cores)
        self.offered: dict[str, int] | None = None
        self.checked = False
        self.index = 0
        self.error = ErrorCode.NONE
        self.packets = 0

    def _flit(self, load: dict[str, int], word: int) -> int:
        flits = max(1, 32 // self.chip.link_bytes)
        bits = 8 * self.chip.link_bytes
        header = {
            "dest": 1 << self.chip.n_cores + load["memory"],
            "src": self.node,
            "kind": Kind.READ,
            "flits": flits,
            "traffic": load["traffic"],
        }
        payload = word >> bits * self.index & (1 << bits) - 1
        first, last = self.index == 0, self.index == flits - 1
        return Const.cast(self.layout.const({"data": payload, "first": first, "last": last, "header": header})).value

    async def cycle(self, ctx: Any, load: dict[str, int] | None, rate: float) -> bool:
        """One cycle, in which this LOAD is offered if none waits; whether it was."""
        dut, rng = self.dut, self.rng
        new = self.offered is None and load is not None
        if new:
            self.offered = load
        fields = self.offered or any_load(self.chip, rng)
        word = int.from_bytes(codec.encode(Opcode.LOAD, **fields), "little")
        taking = rng.random() < rate
        ctx.set(dut.node, self.node)
        ctx.set(dut.instruction.valid, self.offered is not None)
        ctx.set(dut.instruction.payload, word)
        ctx.set(dut.o.ready, taking)
        _, _, ready, valid, flit, busy, error = await ctx.tick().sample(
            dut.instruction.ready, dut.o.valid, dut.o.payload.as_value(), dut.busy, dut.error
        )
        assert busy == (self.offered is not None)
        assert error == self.error
        assert valid == self.checked
        last = False
        if self.checked:
            assert flit == self._flit(fields, word)
            last = (self.index + 1) * self.chip.link_bytes >= 32
        assert ready == (last and taking)
        if self.checked and taking:
            self.index = 0 if last else self.index + 1
            self.packets += last
        if self.offered is not None and not self.checked and not self.error:
            self.error = error_of(self.chip, fields)
            self.checked = not self.error
        elif ready:
            self.checked, self.offered = False, None
        return new


@pytest.mark.parametrize("link_bytes", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("chip", [SMALL, LARGE], ids=["small", "large"])
def test_each_load_becomes_one_read_packet(chip: ChipParams, link_bytes: int) -> None:
    rng = random.Random(f"{chip.n_cores} {link_bytes}")
    bench = LoadBench(replace(chip, link_bytes=link_bytes), rng)

    async def run(ctx: Any) -> None:
        left = [any_load(bench.chip, rng) for _ in range(100)]
        while left or bench.offered:
            if await bench.cycle(ctx, left[0] if left and rng.random() < 0.7 else None, 0.7):
                left.pop(0)
        await bench.cycle(ctx, None, 1.0)

    simulate(bench.dut, run)
    assert bench.packets == 100


def bad_fields(chip: ChipParams) -> list[dict[str, int]]:
    """Each reason to refuse a LOAD, alone; each bit that may be the reason."""
    bad: list[dict[str, int]] = [dict.fromkeys([name], 0) for name in ("runs", "run_flits", "cores")]
    bad += [{"cores": 1 | 1 << core} for core in range(chip.n_cores, 64)]
    bad += [{"memory": memory} for memory in range(len(chip.memory_nodes), 16)]
    bad += [{"token_valid": 1, "token": chip.tokens + more} for more in (0, *(1 << bit for bit in range(6)))]
    bad += [{"traffic": traffic} for traffic in range(len(TrafficClass), 8)]
    bad += [{"space": Space.PROGRAM}]
    bad += [{"dram_addr": 1 << bit} for bit in range(chip.link_bytes.bit_length() - 1)]
    return [*bad, {"dram_addr": 1, "runs": 0}]


@pytest.mark.parametrize("fields", bad_fields(SMALL), ids=str)
def test_a_bad_load_stops_the_unit(fields: dict[str, int]) -> None:
    rng = random.Random(str(fields))
    bench = LoadBench(SMALL, rng)

    async def run(ctx: Any) -> None:
        for load in (any_load(SMALL, rng), any_load(SMALL, rng) | fields):
            while not await bench.cycle(ctx, load, 1.0):
                pass
        for _ in range(6):
            await bench.cycle(ctx, None, 0.7)

    simulate(bench.dut, run)
    assert bench.packets == 1
    assert bench.error
