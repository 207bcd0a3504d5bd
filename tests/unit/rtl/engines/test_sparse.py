"""`SparseEngine` against NumPy, and cycle by cycle against the recursion of `estimator.engines.sparse`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from estimator.engines.sparse import run_ahead
from rtl.contract.params import CoreParams
from rtl.contract.regs import EngineCounter
from rtl.engines.sparse import SparseEngine
from scheduler.plan.layout import SparseWeights
from tests.unit.rtl.drivers import simulate

SHAPES = {"2x2": (8, 4, 2, 2), "4x4": (8, 8, 4, 4), "4x2": (16, 8, 4, 2), "2x16": (8, 16, 2, 16)}
"""Lanes and columns of PEs: rows, cols, lanes, columns."""


def core_of(shape: str, items: int = 4, depth: int = 255) -> CoreParams:
    rows, cols, lanes, columns = SHAPES[shape]
    return CoreParams(
        rows, cols, acc_entries=256, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns,
        sparse_items=items, sparse_depth=depth,
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
    accept: list[int] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    update: list[int] = field(default_factory=list)
    sums: list[np.ndarray] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    idle: bool = False
    contradicts: bool = False


def run(work: Work, orders: list[np.ndarray], ahead: list[int], rate: float, seed: int, spoil: Any = None) -> Seen:
    """`ahead` of each pass in turn; `spoil` changes the bytes of a pass: (number, bytes) to bytes."""
    core, layout = work.core, SparseWeights(work.core)
    dut, rng, seen = SparseEngine(core=core), random.Random(seed), Seen()
    items = len(work.weights[0])
    rows: list[tuple[bytes, bool, bool]] = []
    for number, (weights, order) in enumerate(zip(work.weights, orders, strict=True)):
        rounds = layout.rounds(weights, order) + rng.choice([0, 0, 1]) * (spoil is None)
        rounds = min(rounds, core.sparse_depth)
        raw = layout.pack(weights, order, rounds).tobytes()
        raw = spoil(number, raw) if spoil else raw
        lines = [raw[at : at + core.cols] for at in range(0, len(raw), core.cols)]
        masks = items * core.rows // 8
        rows += [(line, n < len(lines) - 1, n >= masks) for n, line in enumerate(lines)]
    pixels = [
        (number, p, t) for number, acts in enumerate(work.acts) for p in range(len(acts)) for t in range(items)
    ]
    total = sum(map(len, work.acts))

    async def bench(ctx: Any) -> None:
        row = item = cycle = quiet = 0
        row_on = pixel_on = False
        while len(seen.update) < total and quiet < 5000:
            row_on = row < len(rows) and (row_on or rng.random() < rate)
            ctx.set(dut.weights.valid, row_on)
            if row_on:
                line, more, tail = rows[row]
                ctx.set(dut.weights.payload, int.from_bytes(line, "little"))
                ctx.set(dut.weights_more, more)
                ctx.set(dut.weights_tail, tail)
            pixel_on = item < len(pixels) and (pixel_on or rng.random() < rate)
            ctx.set(dut.pixels.valid, pixel_on)
            if pixel_on:
                number, p, t = pixels[item]
                payload = dut.pixels.payload
                ctx.set(payload.act, int.from_bytes(work.acts[number][p, t].tobytes(), "little"))
                ctx.set(payload.zero, work.zero & 0xFF)
                ctx.set(payload.first, p == 0 and t == 0)
                ctx.set(payload.last_item, t == items - 1)
                ctx.set(payload.options.run_ahead, ahead[number % len(ahead)])
                ctx.set(payload.options.skip_acts, int(work.skip_acts))
                ctx.set(payload.tag.addr, len(seen.accept) // items % core.acc_entries)
                seen.contradicts = bool(ctx.get(dut.contradicts))
                if seen.contradicts:
                    return
                if len(seen.offered) == item and not ctx.get(dut.starved):
                    seen.offered.append(cycle)
            for counter in EngineCounter:
                name = counter.name
                seen.counts[name] = seen.counts.get(name, 0) + ctx.get(getattr(dut.events, name))
            if ctx.get(dut.update.valid):
                assert ctx.get(dut.update.tag.addr) == len(seen.update) % core.acc_entries
                seen.update.append(cycle)
                raw = ctx.get(dut.update.data).to_bytes(4 * core.cols, "little")
                seen.sums.append(np.frombuffer(raw, "<i4"))
            if row_on and ctx.get(dut.weights.ready):
                row, row_on = row + 1, False
            if pixel_on and ctx.get(dut.pixels.ready):
                item, pixel_on = item + 1, False
                seen.accept.append(cycle)
                quiet = 0
            assert not (ctx.get(dut.idle) and len(seen.update) * items < item - items), "idle with pixels in flight"
            await ctx.tick()
            cycle += 1
            quiet += 1
        ctx.set(dut.pixels.valid, 0)
        await ctx.tick()
        seen.idle = bool(ctx.get(dut.idle))

    simulate(dut, bench)
    return seen


CASES = [
    ("2x2", 0, 1.0), ("2x2", 4, 0.3), ("4x4", 1, 1.0), ("4x4", 2, 0.3), ("4x2", 2, 1.0), ("4x2", 0, 0.3),
    ("2x16", 4, 1.0), ("2x16", 1, 0.3),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "ahead", "rate"), CASES)
def test_sums_are_numpys_and_cycles_the_recursions(shape: str, ahead: int, rate: float) -> None:
    """Masks and lists fill all that the engine holds in the pass without zeros."""
    seed = ahead + int(10 * rate)
    items = 1 + seed % 4
    core, rng = core_of(shape, items), np.random.default_rng(seed)
    work = work_of(core, rng, items=items)
    orders = [rng.permutation(core.cols) for _ in work.weights]
    seen = run(work, orders, [ahead], rate, seed)
    np.testing.assert_array_equal(np.array(seen.sums), work.sums())
    assert seen.idle
    pairs = work.pairs(orders)
    wanted = run_ahead(pairs, items=items, ahead=ahead, offered=np.array(seen.offered))
    assert seen.accept == wanted.accept.tolist()
    assert seen.update == wanted.update.tolist()
    assert seen.counts["SPARSE_PAIRS"] == pairs.sum()
    assert seen.counts["SPARSE_EMPTY"] == np.count_nonzero(pairs == 0)
    pe_cycles = sum(seen.counts[f"SPARSE_{name}"] for name in ("PAIRS", "EMPTY", "STARVED", "BLOCKED"))
    cycles, rest = divmod(pe_cycles, core.sparse_lanes * core.sparse_columns)
    assert not rest
    ends = np.array(seen.accept).reshape(-1, items)[:, -1]
    release = wanted.finish.max(axis=(1, 2))
    spans = [*zip(wanted.accept, release, strict=True), *zip(ends, wanted.update - 1, strict=True)]
    assert cycles == len({cycle for start, end in spans for cycle in range(start + 1, end + 1)})
    waits = wanted.accept - np.maximum(np.array(seen.offered), np.concatenate([[-1], wanted.accept[:-1]]) + 1)
    assert seen.counts["SPARSE_FULL"] == waits.sum()


def test_run_ahead_may_change_with_every_pass() -> None:
    core, rng = core_of("4x4"), np.random.default_rng(0)
    work = work_of(core, rng, passes=7, pixels=4)
    orders = [rng.permutation(core.cols) for _ in work.weights]
    seen = run(work, orders, [8, 0, 2], 0.8, 0)
    np.testing.assert_array_equal(np.array(seen.sums), work.sums())


@pytest.mark.parametrize("fault", ["short list", "lane twice", "no such lane"])
def test_a_pass_that_contradicts_itself_is_never_begun(fault: str) -> None:
    """The passes before it are complete."""
    core, rng = core_of("4x4"), np.random.default_rng(1)
    work = work_of(core, rng)
    orders = [np.arange(core.cols) for _ in work.weights]
    masks = 3 * core.pes // 8

    def spoil(number: int, raw: bytes) -> bytes:
        if number != 2:
            return raw
        if fault == "short list":
            return raw[: -core.sparse_lanes * core.sparse_columns]
        lanes = bytearray(raw)
        lanes[masks + 3] = 4 if fault == "lane twice" else core.cols + 3
        return bytes(lanes)

    seen = run(work, orders, [3], 1.0, 0, spoil)
    assert seen.contradicts
    assert len(seen.accept) == 2 * 5 * 3
