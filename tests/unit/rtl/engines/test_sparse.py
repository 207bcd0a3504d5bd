"""`SparseEngine` against NumPy, and cycle by cycle against the recursion of `estimator.engines.sparse`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from estimator.engines.sparse.recursion import RunAhead, run_ahead
from rtl.contract.params import CoreParams
from rtl.contract.regs import EngineCounter
from rtl.engines.sparse import SparseEngine
from scheduler.plan.layout import SparseWeights
from tests.unit.rtl.drivers import simulate

SHAPES = {
    "2x2": (8, 4, 2, 2, 6), "4x4": (8, 8, 4, 4, 5), "4x2": (16, 8, 4, 2, 3), "2x16": (8, 16, 2, 16, 9),
    "2x2, a slot": (8, 4, 2, 2, 1),
}  # fmt: skip
"""Lanes and columns of PEs: rows, cols, lanes, columns, slots."""
ITEMS = 4


def core_of(shape: str) -> CoreParams:
    """Its stores hold as many weights as passes of `ITEMS` items may have."""
    rows, cols, lanes, columns, slots = SHAPES[shape]
    return CoreParams(
        rows, cols, acc_entries=256, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns,
        sparse_items=ITEMS, sparse_depth=ITEMS * rows * cols // (lanes * columns), sparse_slots=slots,
    )  # fmt: skip


@dataclass
class Work:
    """Passes of equal shape: weights int8[T, R, C] and activations int8[pixels, T, R] of each."""

    core: CoreParams
    weights: list[np.ndarray]
    acts: list[np.ndarray]
    zero: int
    skip_acts: bool
    rounds: list[bytes] = field(default_factory=list)

    def sums(self) -> np.ndarray:
        return np.concatenate(
            [
                np.einsum("ptr,trc->pc", acts.astype(np.int64) - self.zero, weights.astype(np.int64))
                for weights, acts in zip(self.weights, self.acts, strict=True)
            ]
        )

    def pairs(self, orders: list[np.ndarray]) -> np.ndarray:
        """Of every item and PE, int[N, lanes, columns], by loops."""
        lanes, columns = self.core.sparse_lanes, self.core.sparse_columns
        per_lane, per_column = self.core.rows // lanes, self.core.cols // columns
        found = []
        for weights, acts, order in zip(self.weights, self.acts, orders, strict=True):
            for pixel in acts:
                for item, values in enumerate(pixel):
                    count = np.zeros((lanes, columns), np.int64)
                    for lane in range(lanes):
                        group = (lane + item) % lanes
                        rows = np.arange(group * per_lane, (group + 1) * per_lane)
                        if self.skip_acts:
                            rows = rows[values[rows] != self.zero]
                        for column in range(columns):
                            slots = order[column * per_column : (column + 1) * per_column]
                            count[lane, column] = np.count_nonzero(weights[item][np.ix_(rows, slots)])
                    found.append(count)
        return np.array(found)


def work_of(core: CoreParams, rng: np.random.Generator, passes: int = 4, items: int = 3, pixels: int = 5) -> Work:
    """Of all densities: passes without a weight, without a zero, and pixels like that, too."""
    zero = int(rng.choice([-128, 127, 0, 5]))
    weights, acts = [], []
    for number in range(passes):
        density = (0.3, 0.0, 1.0, 0.6, 0.1)[number % 5]
        part = rng.integers(-128, 128, (items, core.rows, core.cols), np.int8)
        part[rng.random(part.shape) >= density] = 0
        act = rng.integers(-128, 128, (pixels, items, core.rows), np.int8)
        act[rng.random(act.shape) >= rng.choice([0.0, 0.5, 0.5, 1.0], (pixels, 1, 1))] = zero
        weights.append(part)
        acts.append(act)
    return Work(core, weights, acts, zero, bool(rng.random() < 0.8))


@dataclass
class Seen:
    """Cycles of what happens once, and by cycle what the engine tells all the time."""

    accept: list[int] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    sums: list[np.ndarray] = field(default_factory=list)
    events: dict[str, list[int]] = field(default_factory=lambda: {counter.name: [] for counter in EngineCounter})
    idle: list[bool] = field(default_factory=list)
    contradicts: bool = False


def rows_of(work: Work, orders: list[np.ndarray], spare: list[int], spoil: Any) -> list[list[tuple[bytes, bool, bool]]]:
    """Of each pass: bytes, whether more follow, whether they are no masks."""
    core, layout = work.core, SparseWeights(work.core)
    passes = []
    for number, (weights, order) in enumerate(zip(work.weights, orders, strict=True)):
        rounds = min(layout.rounds(weights, order) + spare[number % len(spare)], core.sparse_depth)
        raw = layout.pack(weights, order, rounds).tobytes()
        raw = spoil(raw) if spoil and number == SPOILED else raw
        lines = [raw[at : at + core.cols] for at in range(0, len(raw), core.cols)]
        masks = len(weights) * core.rows // 8
        passes.append([(line, n < len(lines) - 1, n >= masks) for n, line in enumerate(lines)])
    return passes


SPOILED = 2
"""The pass that a fault is in."""


def run(
    work: Work,
    orders: list[np.ndarray],
    ahead: list[int],
    rate: float,
    seed: int,
    *,
    spare: list[int] | None = None,
    spoil: Any = None,
) -> Seen:
    """`ahead` and `spare` rounds are of each pass in turn; `spoil` changes the bytes of a pass.

    Whatever is not valid is noise. What the engine says of itself is checked in each cycle: which weights it takes,
    what it waits for, and that tags come back.
    """
    core = work.core
    dut, rng, seen = SparseEngine(core=core), random.Random(seed), Seen()
    items, pixels = len(work.weights[0]), len(work.acts[0])
    passes = rows_of(work, orders, spare or [0], spoil)
    ends = np.cumsum([len(rows) for rows in passes])
    rows = [row for one in passes for row in one]
    offers = [(number, p, t) for number in range(len(work.acts)) for p in range(pixels) for t in range(items)]
    tag_bits = len(dut.update.tag.as_value())
    tags = [rng.getrandbits(tag_bits) for _ in range(len(offers) // items)]

    def offer_weights(ctx: Any, number: int | None) -> None:
        line, more, tail = rng.randbytes(core.cols), rng.random() < 0.5, rng.random() < 0.5
        if number is not None:
            line, more, tail = rows[number]
        ctx.set(dut.weights.valid, number is not None)
        ctx.set(dut.weights.payload, int.from_bytes(line, "little"))
        ctx.set(dut.weights_more, more)
        ctx.set(dut.weights_tail, tail)

    def offer_item(ctx: Any, number: int | None) -> None:
        payload = dut.pixels.payload
        ctx.set(dut.pixels.valid, number is not None)
        ctx.set(payload.as_value(), rng.getrandbits(len(payload.as_value())))
        if number is not None:
            of_pass, p, t = offers[number]
            ctx.set(payload.act, int.from_bytes(work.acts[of_pass][p, t].tobytes(), "little"))
            ctx.set(payload.zero, work.zero & 0xFF)
            ctx.set(payload.first, p == 0 and t == 0)
            ctx.set(payload.last_item, t == items - 1)
            ctx.set(payload.options.run_ahead, ahead[of_pass % len(ahead)])
            ctx.set(payload.options.skip_acts, int(work.skip_acts))
            if t == items - 1:
                ctx.set(payload.tag.as_value(), tags[number // items])

    async def bench(ctx: Any) -> None:
        row = item = cycle = quiet = begun = 0
        row_on = item_on = False
        while len(seen.update) < len(tags) and quiet < 500:
            if not row_on:
                row_on = row < len(rows) and rng.random() < rate
                offer_weights(ctx, row if row_on else None)
            if not item_on:
                item_on = item < len(offers) and rng.random() < rate
                offer_item(ctx, item if item_on else None)
            for name, values in seen.events.items():
                values.append(ctx.get(getattr(dut.events, name)))
            seen.idle.append(bool(ctx.get(dut.idle)))
            if ctx.get(dut.update.valid):
                assert ctx.get(dut.update.tag.as_value()) == tags[len(seen.update)]
                seen.update.append(cycle)
                raw = ctx.get(dut.update.data).to_bytes(4 * core.cols, "little")
                seen.sums.append(np.frombuffer(raw, "<i4"))
            loaded = begun < len(passes) and row >= ends[begun]
            free = len(seen.update) >= (begun - 1) * pixels
            if row < len(rows):
                assert ctx.get(dut.weights.ready) == (free and not loaded), "weights of two passes at most"
            if item_on:
                first = item % (items * pixels) == 0
                assert ctx.get(dut.starved) == (first and not loaded)
                wrong = first and loaded and spoil is not None and begun == SPOILED
                assert ctx.get(dut.contradicts) == wrong
                if wrong:
                    assert not ctx.get(dut.pixels.ready)
                    seen.contradicts = True
                    return
                if len(seen.offered) == item and not (first and not loaded):
                    seen.offered.append(cycle)
            if row_on and ctx.get(dut.weights.ready):
                row, row_on = row + 1, False
            if item_on and ctx.get(dut.pixels.ready):
                begun += item % (items * pixels) == 0
                item, item_on = item + 1, False
                seen.accept.append(cycle)
                quiet = 0
            await ctx.tick()
            cycle += 1
            quiet += 1
        offer_item(ctx, None)
        await ctx.tick()
        assert ctx.get(dut.idle)

    simulate(dut, bench)
    return seen


def check(seen: Seen, work: Work, orders: list[np.ndarray], ahead: int) -> None:
    """Sums are those of NumPy; everything else is where the recursion has it, in each cycle."""
    np.testing.assert_array_equal(np.array(seen.sums), work.sums())
    pairs, items = work.pairs(orders), len(work.weights[0])
    offered = np.array(seen.offered)
    wanted = run_ahead(pairs, items=items, ahead=ahead, groups=work.core.collector_groups, offered=offered, each=True)
    assert seen.accept == wanted.accept.tolist()
    assert seen.update == wanted.update.tolist()
    idle, events = by_cycle(wanted, pairs, offered, items, len(seen.idle))
    assert seen.idle == idle.tolist()
    for name, values in events.items():
        assert seen.events[name] == values.tolist(), name


def by_cycle(
    wanted: RunAhead, pairs: np.ndarray, offered: np.ndarray, items: int, cycles: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Whether the engine is idle, and its events, of each cycle."""
    names = ("SPARSE_PAIRS", "SPARSE_EMPTY", "SPARSE_STARVED", "SPARSE_BLOCKED", "SPARSE_FULL")
    events = {name: np.zeros(cycles, np.int64) for name in names}
    pes = pairs[0].size
    before = np.full(pes, -1)
    accepted = -1
    for item, accept in enumerate(wanted.accept):
        events["SPARSE_FULL"][max(offered[item], accepted + 1) : accept] += 1
        finishes = wanted.finish[item].reshape(-1)
        for finish, free, count in zip(finishes, before, pairs[item].reshape(-1), strict=True):
            start = max(free, accept) + 1
            works = start + max(count, 1) - 1  # but for the cycle in which it is done
            name = "SPARSE_PAIRS" if count else "SPARSE_EMPTY"
            events[name][start:works] += 1
            events["SPARSE_BLOCKED"][works:finish] += 1
            events[name][finish] += 1
        before, accepted = finishes, accept
    busy = np.zeros(cycles, bool)
    ends = wanted.accept[items - 1 :: items]
    spans = [*zip(wanted.accept, wanted.release, strict=True), *zip(ends, wanted.update - 1, strict=True)]
    for start, end in spans:
        busy[start + 1 : end + 1] = True
    working = sum(events[name] for name in ("SPARSE_PAIRS", "SPARSE_EMPTY", "SPARSE_BLOCKED"))
    events["SPARSE_STARVED"] = busy * pes - working
    idle = ~busy
    idle[wanted.update] = False
    return idle, events


CASES = [
    ("2x2", 0, 1.0), ("2x2", 5, 0.3), ("4x4", 1, 1.0), ("4x4", 2, 0.3), ("4x2", 2, 1.0), ("4x2", 0, 0.3),
    ("2x16", 4, 1.0), ("2x16", 1, 0.3), ("2x2, a slot", 0, 0.8),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "ahead", "rate"), CASES)
def test_sums_are_numpys_and_cycles_the_recursions(shape: str, ahead: int, rate: float) -> None:
    """Masks and lists fill all that the engine holds in the passes of `ITEMS` items without zeros."""
    seed = ahead + int(10 * rate)
    items = 1 + seed % ITEMS
    core, rng = core_of(shape), np.random.default_rng(seed)
    work = work_of(core, rng, items=items)
    orders = [rng.permutation(core.cols) for _ in work.weights]
    spare = [0, 0, 1]
    seen = run(work, orders, [ahead], rate, seed, spare=spare)
    check(seen, work, orders, ahead)
    if rate == 1.0:  # rows and items come as fast as they are taken, so that nothing need be measured
        rows = [len(lines) for lines in rows_of(work, orders, spare, None)]
        predicted = run_ahead(
            work.pairs(orders), items=items, ahead=ahead, groups=core.collector_groups, weight_rows=rows
        )
        assert seen.accept == predicted.accept.tolist()
        assert seen.update == predicted.update.tolist()


def test_run_ahead_may_change_with_every_pass() -> None:
    core, rng = core_of("2x2"), np.random.default_rng(0)
    work = work_of(core, rng, passes=7, pixels=4)
    orders = [rng.permutation(core.cols) for _ in work.weights]
    seen = run(work, orders, [5, 0, 2], 0.8, 0, spare=[0, 1])
    np.testing.assert_array_equal(np.array(seen.sums), work.sums())


@pytest.mark.parametrize("zero", [-128, 127])
def test_blocks_of_zeros_and_of_what_is_farthest_from_it(zero: int) -> None:
    """Lists without a round, and the longest ones, of weights of both signs; activations of nothing but the zero
    point, and of what is farthest from it, which make the largest sums."""
    core = core_of("2x2")
    fills = [(0, -1 - zero), (-128, -1 - zero), (127, -1 - zero), (-128, zero), (0, zero)]
    shape = (ITEMS, core.rows)
    weights = [np.full((*shape, core.cols), weight, np.int8) for weight, _ in fills]
    acts = [np.full((2, *shape), act, np.int8) for _, act in fills]
    for skips in (True, False):
        work = Work(core, weights, acts, zero, skips)
        orders = [np.arange(core.cols)] * len(fills)
        check(run(work, orders, [2], 1.0, 0), work, orders, 2)


def test_each_bit_of_a_difference_from_the_zero_point_makes_a_pair() -> None:
    """All activations of a pixel are the zero point and one power of two."""
    core, rng = core_of("4x4"), np.random.default_rng(2)
    weights = rng.integers(1, 128, (1, core.rows, core.cols), np.int8)
    bits = np.arange(8)[:, None, None]
    acts = np.broadcast_to((1 << bits) - 128, (8, 1, core.rows)).astype(np.int8)
    work = Work(core, [weights], [acts], -128, True)
    orders = [rng.permutation(core.cols)]
    check(run(work, orders, [1], 1.0, 0), work, orders, 1)


@pytest.mark.parametrize("fault", ["short list", "lane twice", "no such lane"])
def test_a_pass_that_contradicts_itself_is_never_begun(fault: str) -> None:
    """The passes before it are complete."""
    core, rng = core_of("4x4"), np.random.default_rng(1)
    work = work_of(core, rng)
    orders = [np.arange(core.cols) for _ in work.weights]
    masks = 3 * core.pes // 8

    def spoil(raw: bytes) -> bytes:
        if fault == "short list":
            return raw[: -core.sparse_lanes * core.sparse_columns]
        lanes = bytearray(raw)
        lanes[masks + 3] = 4 if fault == "lane twice" else core.cols + 3
        return bytes(lanes)

    seen = run(work, orders, [3], 1.0, 0, spoil=spoil)
    assert seen.contradicts
    assert len(seen.accept) == SPOILED * 5 * 3
    np.testing.assert_array_equal(np.array(seen.sums), work.sums()[: len(seen.sums)])
