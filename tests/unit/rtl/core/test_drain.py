"""`Drain` against a list of the positions of each job, every output in every cycle."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest

from rtl.contract.params import CoreParams
from rtl.core.drain import Drain
from tests.unit.rtl.drivers import simulate

LINK_BYTES = 4
CORE = CoreParams(rows=4, cols=16, act_bytes=4096, weight_bytes=4096, acc_entries=2048)
BANK, LANES = CORE.acc_bank_entries, CORE.drain_lanes(LINK_BYTES)
LOWEST = -(1 << 31)


@dataclass(frozen=True)
class DrainStep:
    """One position: its entry (None outside the map), and whether a pixel ends or begins with it, or the job ends."""

    entry: int | None
    group: int
    pooled: bool
    first: bool
    last: bool
    final: bool


def steps_of(job: dict[str, int], pool: dict[str, int]) -> list[DrainStep]:
    steps = []
    for pixel in range(job["pixels"]):
        entries: list[int | None] = [job["base"] + pixel]
        if job["pooled"]:
            row, column = divmod(pixel, pool["out_w"])
            y, x = row * pool["stride_h"] - pool["pad_top"], column * pool["stride_w"] - pool["pad_left"]
            entries = [
                job["base"] + iy * pool["in_w"] + ix if 0 <= iy < pool["in_h"] and 0 <= ix < pool["in_w"] else None
                for iy in range(y, y + pool["kernel_h"])
                for ix in range(x, x + pool["kernel_w"])
            ]
        for index, entry in enumerate(entries):
            last = index == len(entries) - 1
            final = last and pixel == job["pixels"] - 1
            steps.append(DrainStep(entry, job["group"], bool(job["pooled"]), index == 0, last, final))
    return steps


def random_pool(rng: random.Random) -> dict[str, int]:
    """Any geometry; of some the map is larger than a bank."""
    kernel_h, kernel_w = rng.choice([(1, 1), (2, 2), (3, 3), (rng.randint(1, 7), rng.randint(1, 7))])
    in_w = rng.choice([rng.randint(1, 9), rng.randint(1, 1023)])
    return {
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "stride_h": rng.randint(1, 7),
        "stride_w": rng.randint(1, 7),
        "pad_top": rng.randrange(kernel_h),
        "pad_left": rng.randrange(kernel_w),
        "in_h": rng.randint(1, rng.choice([BANK // in_w, 1023])),
        "in_w": in_w,
        "out_w": rng.choice([rng.randint(1, 9), rng.randint(1, 1023)]),
    }


def random_job(rng: random.Random, pool: dict[str, int] | None) -> dict[str, int]:
    """Pooled now and then, if the map of the last POOL fits."""
    entries = pool["in_h"] * pool["in_w"] if pool else BANK + 1
    pooled = int(entries <= BANK and rng.random() < 0.6)
    pixels = rng.choice([1, 2, 3, rng.randint(4, 40)])
    return {
        "base": rng.randrange(2) * BANK + rng.randrange(BANK + 1 - (entries if pooled else pixels)),
        "pixels": pixels,
        "group": rng.randrange(CORE.drain_groups(LINK_BYTES)),
        "pooled": pooled,
    }


class DrainBench:
    """Plays the accumulator and the store unit; knows what the drain must do in every cycle."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.dut = Drain(core=CORE, link_bytes=LINK_BYTES)
        self.rng, self.rate = rng, rate
        self.acc = [[rng.randrange(LOWEST, -LOWEST) >> rng.randrange(32) for _ in range(16)] for _ in range(2 * BANK)]
        self.latest: dict[str, int] | None = None
        self.steps: deque[DrainStep] = deque()
        self.arriving: DrainStep | None = None
        self.largest = [0] * LANES
        self.words = 0

    def _go(self) -> bool:
        return self.rng.random() < self.rate

    def _pixel(self) -> int:
        """``o_data`` while something arrives, and the maximum so far."""
        step = self.arriving
        assert step is not None
        new = [LOWEST] * LANES if step.entry is None else self.acc[step.entry][step.group * LANES :][:LANES]
        if step.pooled and not step.first:
            new = [max(pair) for pair in zip(new, self.largest, strict=True)]
        self.largest = new
        return sum((value & 0xFFFFFFFF) << 32 * lane for lane, value in enumerate(new))

    async def cycle(self, ctx: Any, *, pool: dict[str, int] | None = None, job: dict[str, int] | None = None) -> bool:
        """One cycle, in which this POOL is given, and this job if it may start; whether it has."""
        dut, rng = self.dut, self.rng
        go, hold, ready = self._go(), not self._go(), self._go()
        step = self.steps[0] if self.steps else None
        allowed = step is not None and go and not (hold and step.final)
        does = step if step is not None and allowed and (ready or step.entry is None) else None
        start = job if job is not None and (step is None or (does is not None and does.final)) else None
        rubbish = rng.getrandbits(32 * CORE.cols)
        read = self.arriving is not None and self.arriving.entry is not None
        words = self.acc[self.arriving.entry or 0] if read and self.arriving else []
        ctx.set(dut.acc.data, sum((w & 0xFFFFFFFF) << 32 * i for i, w in enumerate(words)) if read else rubbish)
        ctx.set(dut.acc.ready, ready)
        ctx.set(dut.go, go)
        ctx.set(dut.hold, hold)
        ctx.set(dut.start, start is not None)
        ctx.set(dut.job, start or {"base": rubbish % BANK, "pixels": rubbish % 8192, "pooled": rubbish & 1})
        ctx.set(dut.pool_valid, pool is not None)
        ctx.set(dut.pool, pool or dict.fromkeys(("kernel_h", "stride_w", "in_h", "in_w", "out_w"), rubbish & 7))
        outputs = (dut.busy, dut.acc.valid, dut.acc.addr, dut.taken, dut.last, dut.arriving, dut.o_valid, dut.o_data)
        _, _, busy, valid, addr, taken, last, arriving, o_valid, o_data, has_pool, plane = await ctx.tick().sample(
            *outputs, dut.has_pool, dut.plane
        )
        assert busy == (step is not None)
        assert valid == (step is not None and allowed and step.entry is not None)
        assert not valid or (step is not None and addr == step.entry)
        assert (taken, last) == (does is not None and does.last, does is not None and does.final)
        assert arriving == (self.arriving is not None)
        assert o_valid == (self.arriving is not None and self.arriving.last)
        if self.arriving is not None:
            pixel = self._pixel()
            assert not o_valid or o_data == pixel
            self.words += o_valid
        assert has_pool == (self.latest is not None)
        assert self.latest is None or plane == self.latest["in_h"] * self.latest["in_w"]
        self.arriving = does
        if does is not None:
            self.steps.popleft()
        if start is not None:
            self.steps.extend(steps_of(start, self.latest or {}))
        self.latest = pool or self.latest
        return start is not None


@pytest.mark.parametrize("rate", [1.0, 0.8, 0.4])
@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
def test_every_cycle_is_as_the_positions_say(seed: int, rate: float) -> None:
    """Entries, maxima, and all other outputs of random jobs, while POOLs come; with room and conflicts at random."""
    rng = random.Random(f"{seed} {rate}")
    bench = DrainBench(rng, rate)
    pixels = 0

    async def run(ctx: Any) -> None:
        nonlocal pixels
        jobs = 0
        while jobs < 25 or bench.steps or bench.arriving:
            pool = random_pool(rng) if rng.random() < 0.15 else None
            job = random_job(rng, bench.latest) if jobs < 25 and bench._go() else None
            if await bench.cycle(ctx, pool=pool, job=job):
                jobs += 1
                pixels += job["pixels"] if job else 0
        await bench.cycle(ctx)

    simulate(bench.dut, run)
    assert bench.words == pixels


LONG = {"kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1, "pad_top": 0, "pad_left": 0}


@pytest.mark.parametrize(
    ("pool", "pixels"),
    [
        ({"in_h": 1000, "in_w": 1, "out_w": 1}, 1030),
        ({"in_h": 1, "in_w": 1000, "out_w": 1023}, 1040),
        ({"in_h": 1, "in_w": 1000, "out_w": 1023, "stride_w": 7}, 1040),
        ({"in_h": 1000, "in_w": 1, "out_w": 1, "stride_h": 7}, 8191),
    ],
    ids=["high", "wide", "far_right", "far_down"],
)
def test_coordinates_of_the_longest_maps(pool: dict[str, int], pixels: int) -> None:
    bench = DrainBench(random.Random(pixels), 1.0)

    async def run(ctx: Any) -> None:
        await bench.cycle(ctx, pool=LONG | pool)
        await bench.cycle(ctx, job={"base": BANK, "pixels": pixels, "group": 1, "pooled": 1})
        while bench.steps or bench.arriving:
            await bench.cycle(ctx)

    simulate(bench.dut, run)
    assert bench.words == pixels
