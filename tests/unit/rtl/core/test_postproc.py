"""`PostProcessor` against Python integers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from rtl.contract.codec import pack_params
from rtl.core.postproc import MIN_SWAP_CYCLES, PostProcessor
from tests.unit.rtl.drivers import simulate

TABLE = [random.Random(f"entry {index}").randint(-128, 127) for index in range(256)]


def requantise(acc: int, bias: int, multiplier: int, shift: int, zero_point: int, lo: int, hi: int) -> int:
    rounded = round(Fraction((acc + bias) * multiplier, 1 << shift))  # Python rounds half to even
    return min(max(rounded + zero_point, lo), hi)


@dataclass
class Block:
    """One parameter block, its levels, and the accumulators that go through it."""

    bias: list[int]
    multiplier: list[int]
    shift: list[int]
    zero_point: int
    lo: int
    hi: int
    acc: list[list[int]]
    table: bool = False

    def expected(self) -> list[list[int]]:
        levels = (self.zero_point, self.lo, self.hi)
        activation = TABLE if self.table else range(-128, 128)
        return [
            [
                activation[requantise(a, *lane, *levels) + 128]
                for a, *lane in zip(row, self.bias, self.multiplier, self.shift, strict=True)
            ]
            for row in self.acc
        ]


def run_blocks(blocks: list[Block], lanes: int, link_bytes: int, seed: int = 0) -> list[list[int]]:
    """Blocks one behind the other, as close as the store unit may put them."""
    rng = random.Random(seed)
    dut = PostProcessor(lanes=lanes, link_bytes=link_bytes)
    out: list[list[int]] = []

    def pack(values: list[int], bits: int) -> int:
        return sum((value & (1 << bits) - 1) << bits * i for i, value in enumerate(values))

    async def bench(ctx) -> None:
        ctx.set(dut.table_write, 1)
        for index, entry in enumerate(TABLE):
            ctx.set(dut.table_addr, index)
            ctx.set(dut.table_data, entry & 0xFF)
            await ctx.tick()
        ctx.set(dut.table_write, 0)
        pending: list[list[int]] = []  # of the block swapped in last
        straggler: list[list[int]] = []  # of the block before: enters in the cycle behind the swap
        for block in [*blocks, None]:
            since = 0
            if block is not None:
                full = [values + [0] * (link_bytes - lanes) for values in (block.bias, block.multiplier, block.shift)]
                raw = pack_params(*(np.array(values) for values in full)).tobytes()
            loads = 0
            keep = rng.randrange(2) if block is not None else 0
            while len(pending) > keep or loads < (dut.param_flits if block else 0) or since < MIN_SWAP_CYCLES - 1:
                # A row may enter from the cycle behind the swap's next one on; loading starts there too.
                if straggler or (len(pending) > keep and since >= 1 and rng.random() < 0.8):
                    ctx.set(dut.acc, pack((straggler or pending).pop(0), 32))
                    ctx.set(dut.valid, 1)
                else:
                    ctx.set(dut.valid, 0)
                load = block is not None and since >= 1 and loads < dut.param_flits
                ctx.set(dut.load, load)
                if load:
                    ctx.set(dut.load_index, loads)
                    ctx.set(dut.load_data, int.from_bytes(raw[loads * link_bytes :][:link_bytes], "little"))
                    loads += 1
                await ctx.tick()
                since += 1
            ctx.set(dut.valid, 0)
            ctx.set(dut.load, 0)
            if block is None:
                await ctx.tick().repeat(5)
                assert not ctx.get(dut.busy)
                return
            levels = {"zero_point": block.zero_point, "lo": block.lo, "hi": block.hi, "table": block.table}
            ctx.set(dut.levels, levels)
            ctx.set(dut.swap, 1)
            await ctx.tick()
            ctx.set(dut.swap, 0)
            ctx.set(dut.levels, {"zero_point": 99, "lo": 98, "hi": 97, "table": not block.table})
            straggler, pending = pending, list(block.acc)

    async def watch(ctx) -> None:
        while True:
            _, _, valid, word = await ctx.tick().sample(dut.o_valid, dut.o_data)
            if valid:
                out.append([(word >> 8 * i & 0xFF ^ 0x80) - 0x80 for i in range(lanes)])

    simulate(dut, bench, background=[watch])
    return out


def one_per_lane(cases: list[tuple[int, int, int, int]], **levels: int) -> None:
    """Cases (acc, bias, multiplier, shift), eight at a time."""
    levels = {"zero_point": 0, "lo": -128, "hi": 127, **levels}
    cases = cases + [(0, 0, 0, 0)] * (-len(cases) % 8)
    blocks = [
        Block(
            [c[1] for c in group], [c[2] for c in group], [c[3] for c in group], acc=[[c[0] for c in group]], **levels
        )
        for group in (cases[i : i + 8] for i in range(0, len(cases), 8))
    ]
    assert run_blocks(blocks, 8, 8) == [row for block in blocks for row in block.expected()]


def test_exact_ties_go_to_the_even_neighbour() -> None:
    cases = []
    for shift in (1, 2, 7, 23, 24, 30):
        for half in (-7, -5, -3, -1, 1, 3, 5, 7):  # half / 2 is the exact quotient
            multiplier = 1 << min(shift - 1, 23)
            acc = half << shift - 1 - min(shift - 1, 23)
            cases += [(acc + 100, -100, multiplier, shift), (acc, 0, multiplier - (shift > 2), shift)]
    one_per_lane(cases)


@pytest.mark.parametrize(("lanes", "link_bytes"), [(4, 4), (8, 8)])
def test_each_bit_behind_the_point_breaks_a_tie(lanes: int, link_bytes: int) -> None:
    """In every lane: ties, and ties with one lower bit more."""
    blocks = []
    for shift in range(1, 54):
        low = 0 if shift < 30 else 23  # position of the multiplier's only bit
        if shift > low:
            ties = [half << shift - 1 - low for half in (-3, -1, 1, 3)]
            values = [tie + extra for tie in ties for extra in (0, *(1 << bit for bit in range(shift - 1 - low)))]
            same = [[number] * lanes for number in (7, 1 << low, shift)]
            blocks.append(Block(*same, 0, -128, 127, [[value - 7] * lanes for value in values]))
    assert run_blocks(blocks, lanes, link_bytes) == [row for block in blocks for row in block.expected()]


def test_extreme_shifts_and_values() -> None:
    low, high = -(1 << 31), (1 << 31) - 1
    biggest = (1 << 24) - 1
    cases = [
        (acc, bias, multiplier, shift)
        for acc, bias in [(low, low), (high, high), (low, high), (high, low), (0, 0), (-1, 0), (1, 0)]
        for multiplier in (0, 1, 1 << 23, biggest)
        for shift in (0, 1, 55, 56, 57, 63)
    ]
    one_per_lane(cases)
    one_per_lane(cases[:64], zero_point=-128, lo=-128, hi=127)
    one_per_lane(cases[64:128], zero_point=127, lo=-3, hi=90)


@pytest.mark.parametrize(("lanes", "link_bytes"), [(16, 16), (4, 4), (4, 16), (4, 64), (8, 32)])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_each_row_uses_the_parameters_of_its_block(lanes: int, link_bytes: int, seed: int) -> None:
    rng = random.Random(seed)
    blocks = []
    for _ in range(25):
        small = rng.random() < 0.3  # products whose low bits show
        bits = 3 if small else rng.choice([4, 10, 20, 31])
        shifts = (0, 8) if small else (bits + 18, min(63, bits + 24))
        multipliers = (1, 1 << 7) if small else (1 << 23, 1 << 24)
        widest = 30 if small else 127  # of the levels: many small results lie just inside and outside
        blocks.append(
            Block(
                [rng.randint(-(1 << bits), (1 << bits) - 1) for _ in range(lanes)],
                [rng.choice([0, rng.randrange(*multipliers)]) for _ in range(lanes)],
                [rng.randint(*shifts) for _ in range(lanes)],
                rng.randint(-widest - 1, widest),
                rng.randint(-widest - 1, -10),
                rng.randint(10, widest),
                [
                    [rng.randint(-(1 << bits), (1 << bits) - 1) for _ in range(lanes)]
                    for _ in range(60 if small else rng.choice([1, 2, 9]))
                ],
                rng.random() < 0.5,
            )
        )
    assert run_blocks(blocks, lanes, link_bytes, seed) == [row for block in blocks for row in block.expected()]


def test_refuses_more_lanes_than_a_flit_holds() -> None:
    with pytest.raises(ValueError, match="lanes must be from 1 to the 8 bytes of a flit, not 16"):
        PostProcessor(lanes=16, link_bytes=8)
