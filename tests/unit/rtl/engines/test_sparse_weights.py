"""`SparseWeights` against the format of `rtl.contract.engines.sparse`, row by row and item by item."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from amaranth.utils import exact_log2

from rtl.contract.params import CoreParams
from rtl.engines.sparse_weights import SparseWeights
from tests.unit.rtl.drivers import simulate

SHAPES = {"16x8, 8x2": (16, 8, 8, 2, 3), "8x8, 2x8": (8, 8, 2, 8, 4), "16x4, 4x2": (16, 4, 4, 2, 1)}
"""Rows, cols, lanes, columns, items: rows an item and a round of 2 and 2, 1 and 2, 2 and 2."""
DEPTH = 10


@dataclass(frozen=True)
class Pass:
    """Bits bool[T, PEs, positions], lane of each slot uint8[C], bytes of the rounds uint8[rounds, PEs]."""

    masks: np.ndarray
    lanes: np.ndarray
    lists: np.ndarray

    @property
    def contradicts(self) -> bool:
        longest = self.masks.sum(axis=(0, 2)).max(initial=0)
        return bool(longest > len(self.lists)) or set(self.lanes) != set(range(len(self.lanes)))

    def rows(self, cols: int) -> list[tuple[bytes, str]]:
        masks = np.packbits(self.masks.reshape(-1), bitorder="little")
        kinds = {"masks": masks, "lanes": self.lanes, "lists": self.lists.reshape(-1)}
        return [(raw[at : at + cols].tobytes(), kind) for kind, raw in kinds.items() for at in range(0, raw.size, cols)]


def pass_of(core: CoreParams, rng: np.random.Generator, fault: str = "", of: int = 0) -> Pass:
    """One that does not contradict itself, or by a fault: a weight too many for PE `of`, a lane that is missing because
    slot `of` has another one's, or one that is not there at all."""
    pes = core.sparse_lanes * core.sparse_columns
    items = int(rng.integers(1, core.sparse_items + 1))
    masks = rng.random((items, pes, core.pes // pes)) < rng.choice([0.0, 0.2, 0.5, 1.0])
    counts = masks.sum(axis=(0, 2))
    while counts.max() > DEPTH:
        masks &= rng.random(masks.shape) < 0.7
        counts = masks.sum(axis=(0, 2))
    rounds = min(DEPTH, counts.max() + int(rng.integers(3)))
    lanes = rng.permutation(core.cols).astype(np.uint8)
    if fault == "a weight too many":
        masks[:, of] = False
        rounds = min(masks.sum(axis=(0, 2)).max(), masks[:, of].size - 1)
        chosen = np.zeros(masks[:, of].size, bool)
        chosen[rng.permutation(chosen.size)[: rounds + 1]] = True
        masks[:, of] = chosen.reshape(masks[:, of].shape)
        others = np.arange(pes) != of
        while masks[:, others].sum(axis=(0, 2)).max(initial=0) > rounds:
            masks[:, others] &= rng.random(masks[:, others].shape) < 0.7
    elif fault == "a lane twice":
        lanes[of] = lanes[of - 1]
    elif fault:
        lanes[of] |= 1 << int(rng.integers(exact_log2(core.cols), 8))
    return Pass(masks, lanes, rng.integers(0, 256, (rounds, pes), np.uint8))


def passes_of(core: CoreParams, rng: np.random.Generator) -> list[Pass]:
    """Good ones, and between them one for each thing that may be wrong."""
    pes = core.sparse_lanes * core.sparse_columns
    faults = [("a weight too many", pe) for pe in range(pes)] + [("a lane twice", slot) for slot in range(core.cols)]
    faults += [("no such lane", slot) for slot in range(core.cols)]
    order = rng.permutation(len(faults))
    return [one for number in order for one in (pass_of(core, rng, *faults[number]), pass_of(core, rng))]


def core_of(shape: str) -> CoreParams:
    rows, cols, lanes, columns, items = SHAPES[shape]
    return CoreParams(
        rows, cols, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns, sparse_items=items,
        sparse_depth=DEPTH,
    )  # fmt: skip


@pytest.mark.parametrize("rate", [1.0, 0.4])
@pytest.mark.parametrize("shape", SHAPES)
def test_masks_lanes_and_lists_are_where_the_contract_has_them(shape: str, rate: float) -> None:
    """Passes that contradict themselves are begun all the same: of what they were nothing is left in the next one."""
    core, rng = core_of(shape), random.Random(f"{shape} {rate}")
    run(core, passes_of(core, np.random.default_rng(rng.getrandbits(32))), rate, rng)


@pytest.mark.parametrize("shape", ["16x8, 8x2", "16x4, 4x2"])
def test_each_bit_of_each_slot_s_lane_counts(shape: str) -> None:
    """In one slot after the other each lane with a bit that no lane has, in passes of an item without weights."""
    core, rng = core_of(shape), np.random.default_rng(1)
    pes, bits = core.sparse_lanes * core.sparse_columns, range(exact_log2(core.cols), 8)
    empty = (np.zeros((1, pes, core.pes // pes), bool), np.zeros((0, pes), np.uint8))
    passes = []
    for slot, lane, bit in product(range(core.cols), range(core.cols), bits):
        lanes = rng.permutation(core.cols).astype(np.uint8)
        lanes = np.roll(lanes, slot - int(np.flatnonzero(lanes == lane)[0]))
        lanes[slot] |= 1 << bit
        passes.append(Pass(empty[0], lanes, empty[1]))
    run(core, passes, 1.0, random.Random(shape))


def run(core: CoreParams, passes: list[Pass], rate: float, rng: random.Random) -> None:
    """Give rows and take items, each at a rate, and see to all that the component says."""
    cols, lanes, columns = core.cols, core.sparse_lanes, core.sparse_columns
    given = [(number, *row) for number, one in enumerate(passes) for row in one.rows(cols)]
    ends = np.cumsum([len(one.rows(cols)) for one in passes]).tolist()
    pixels = [rng.choice((1, 2, 3, 12)) for _ in passes]  # many: the next pass is complete before the last item
    wanted = [(n, p, t) for n, one in enumerate(passes) for p in range(pixels[n]) for t in range(len(one.masks))]
    dut = SparseWeights(core=core)
    round_rows = lanes * columns // cols

    def table(one: Pass) -> int:
        return sum((int(lane) % cols) << exact_log2(cols) * slot for slot, lane in enumerate(one.lanes))

    async def bench(ctx: Any) -> None:
        row = item = begun = quiet = 0
        tables: list[int | None] = [None, None]
        on = False
        while item < len(wanted):
            if not on:
                on = row < len(given) and rng.random() < rate
                line = given[row][1] if on else rng.randbytes(cols)
                ctx.set(dut.weights.valid, on)
                ctx.set(dut.weights.payload, int.from_bytes(line, "little"))
                ctx.set(dut.more, row + 1 not in ends if on else rng.random() < 0.5)
                ctx.set(dut.tail, given[row][2] != "masks" if on else rng.random() < 0.5)
            free = rng.random() < 0.5 + rate / 2
            ctx.set(dut.free, free)
            loaded = begun < len(passes) and row >= ends[begun]
            number, pixel, step = wanted[item]
            first = pixel == 0 and step == 0
            there = loaded if first else True
            accept = there and rng.random() < rate
            last = step == len(passes[number].masks) - 1
            lanes_of = rng.getrandbits(1)
            ctx.set(dut.accept, accept)
            ctx.set(dut.first, first)
            ctx.set(dut.last, last)
            ctx.set(dut.lanes_of, lanes_of)

            assert ctx.get(dut.loaded) == loaded
            assert ctx.get(dut.weights.ready) == (free and not loaded)
            assert ctx.get(dut.current) == begun % 2
            if loaded:
                assert ctx.get(dut.contradicts) == passes[begun].contradicts
            if there:
                bits = passes[number].masks[step].reshape(-1)
                assert ctx.get(dut.masks) == int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")
                assert ctx.get(dut.turn) == step % lanes
            if tables[lanes_of] is not None:
                assert ctx.get(dut.lanes) == tables[lanes_of]
            taken = on and free and not loaded
            listed = taken and given[row][2] == "lists"
            assert ctx.get(dut.list_write) == listed
            if taken:
                of_pass, _, kind = given[row]
                if listed:
                    at = row - ends[of_pass] + len(passes[of_pass].lists) * round_rows
                    place = (ctx.get(dut.list_bank), ctx.get(dut.list_round), ctx.get(dut.list_row))
                    assert place == ((of_pass + 1) % 2, *divmod(at, round_rows))
                if kind == "lanes":
                    tables[(of_pass + 1) % 2] = table(passes[of_pass])
                row, on = row + 1, False
            if accept:
                begun += first
                item += 1
            quiet = 0 if taken or accept else quiet + 1
            assert quiet < 200
            await ctx.tick()

    simulate(dut, bench)
