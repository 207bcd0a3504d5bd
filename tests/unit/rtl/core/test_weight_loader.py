"""`WeightLoader` against a list of the rows of each job, every output in every cycle."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from amaranth.hdl import Cat

from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from rtl.core.weight_loader import WeightLoader
from tests.unit.rtl.core.compute_models import any_fields, job_bits, longest, random_counts
from tests.unit.rtl.drivers import simulate

CORES = {
    "wide": CoreParams(rows=4, cols=8, act_bytes=1024, weight_bytes=1 << 19, acc_entries=32, tap_columns=5),
    "high": CoreParams(rows=16, cols=4, act_bytes=1024, weight_bytes=1 << 17, acc_entries=32),
    "less_than_a_pass": CoreParams(rows=64, cols=64, act_bytes=1024, weight_bytes=2048, acc_entries=32),
}
MOST_ROWS = 1100
"""Of a job."""


@dataclass(frozen=True)
class Row:
    """One row of weights."""

    addr: int
    engine: Engine
    exists: bool
    """If it begins a pass of the array, or is one column of a tap unit's pass: all of that lies in the scratchpad."""
    more: bool
    last: bool


def has_weights(job: dict[str, int]) -> bool:
    return not job["illegal"] and (job["engine"], job["tap_mode"]) != (Engine.TAP, TapMode.MAX)


def rows_of(core: CoreParams, job: dict[str, int]) -> Iterator[Row]:
    """In the order in which they are read; up to the first that does not exist."""
    engine = Engine(job["engine"])
    rows = core.rows if engine == Engine.ARRAY else 1
    ends = (job["blocks"] - 1, job["kernel_h"] - 1, job["kernel_w"] - 1, rows - 1)
    addr = job["weight_base"]
    for place in product(*(range(end + 1) for end in ends)):
        column, row = place[2:]
        exists = row > 0 or addr + rows * core.cols <= core.weight_bytes
        more = row < rows - 1 or bool(job["window"] and column < job["kernel_w"] - 1)
        yield Row(addr, engine, exists, more, place == ends)
        if not exists:
            return
        addr += core.cols


def random_job(core: CoreParams, rng: random.Random) -> dict[str, int]:
    """All of whose weights lie in the scratchpad, if it has any; a window is for the tap unit."""
    while True:
        job = any_fields(rng)
        rows = core.rows if job["engine"] == Engine.ARRAY else 1
        job |= random_counts(rng, MOST_ROWS // rows)
        job |= {"window": job["window"] & job["engine"], "illegal": int(rng.random() < 0.1)}
        needs = rows * job["blocks"] * job["kernel_h"] * job["kernel_w"]
        spare = core.weight_bytes // core.cols - needs
        if spare >= 0:
            return job | {"weight_base": core.cols * rng.choice([0, spare, rng.randint(0, spare)])}


def failing_job(core: CoreParams, rng: random.Random, engine: Engine) -> dict[str, int]:
    """Ends with a pass that is not there."""
    while True:
        job = any_fields(rng) | {"engine": engine}
        rows = core.rows if job["engine"] == Engine.ARRAY else 1
        job |= random_counts(rng, MOST_ROWS // rows) | {"illegal": 0, "window": job["window"] & job["engine"]}
        behind = max(0, core.weight_bytes - core.cols * rng.randint(1, 3 * rows))
        beyond = rng.choice([1 << rng.randrange(core.weight_bytes.bit_length() - 1, 22), rng.getrandbits(22)])
        job["weight_base"] = rng.choice([behind, beyond - beyond % core.cols])
        if has_weights(job) and not all(row.exists for row in rows_of(core, job)):
            return job


class LoaderBench:
    """Plays scratchpad, engines and what gives jobs; knows what the loader must do in every cycle."""

    def __init__(self, core: CoreParams, rng: random.Random, rate: float) -> None:
        self.core, self.rng, self.rate = core, rng, rate
        self.dut = dut = WeightLoader(core=core)
        self.inputs = Cat(dut.weights.ready, dut.read.data)
        self.outputs = [
            *(dut.job.ready, dut.read.enable, dut.read.addr, dut.weights.valid, dut.weights.payload),
            *(dut.weights_more, dut.engine, dut.done, dut.failed, dut.busy),
        ]
        self.jobs: deque[dict[str, int]] = deque()
        self.offered: dict[str, int] | None = None
        self.driven = any_fields(rng)
        self.walk: Iterator[Row] = iter(())
        self.next: Row | None = None
        self.shown: Row | None = None
        self.failed = False
        self.word = 0
        self.rows = self.done = 0

    def _go(self) -> bool:
        return self.rng.random() < self.rate

    async def cycle(self, ctx: Any) -> None:
        """Offers stay until they are taken; beside a low valid there is any job."""
        dut, rng = self.dut, self.rng
        if self.offered is None:
            if self.jobs and self._go():
                self.offered = self.jobs.popleft()
            self.driven = self.offered or any_fields(rng)
            ctx.set(dut.job.payload.as_value(), job_bits(self.driven))
            ctx.set(dut.job.valid, self.offered is not None)
        taking = self._go()
        ctx.set(self.inputs, taking | self.word << 1)
        _, _, takes, enable, addr, valid, word, more, engine, done, failed, busy = await ctx.tick().sample(
            *self.outputs
        )

        shown, new = self.shown, self.next
        assert failed == self.failed
        assert busy == (shown is not None or new is not None)
        assert valid == (shown is not None)
        if shown is not None:
            assert (word, more, engine) == (self.word, shown.more, shown.engine)
        free = shown is None or taking
        reads = new if free and new is not None and new.exists and not self.failed else None
        assert enable == (reads is not None)
        if reads is not None:
            assert addr == reads.addr
            self.word = rng.getrandbits(8 * self.core.cols)
        ends = reads is not None and reads.last
        needs = has_weights(self.driven)
        assert takes == (not self.failed and (new is None or (ends and needs)))
        taken = self.offered if takes else None
        assert done == (ends or (taken is not None and not needs))
        self.done += done
        self.rows += enable

        if free:
            self.shown = reads
            self.failed |= new is not None and not new.exists
        if reads is not None:
            self.next = next(self.walk, None)
        if taken is not None:
            self.walk = rows_of(self.core, taken) if needs else iter(())
            self.next = next(self.walk, None)
            self.offered = None

    async def run(self, ctx: Any) -> None:
        """All jobs, and a little longer."""
        while (self.jobs or self.offered or self.next or self.shown) and not self.failed:
            await self.cycle(ctx)
        for _ in range(8):
            await self.cycle(ctx)


@pytest.mark.parametrize("rate", [1.0, 0.6])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("core", CORES)
def test_every_cycle_is_as_the_rows_say(core: str, seed: int, rate: float) -> None:
    """Reads, rows and all other outputs of random jobs, back to back and with gaps, with and without weights."""
    rng = random.Random(f"{core} {seed} {rate}")
    bench = LoaderBench(CORES[core], rng, rate)
    bench.jobs.extend(random_job(CORES[core], rng) for _ in range(8))
    expected = sum(1 for job in bench.jobs if has_weights(job) for _ in rows_of(CORES[core], job))
    simulate(bench.dut, bench.run)
    assert (bench.rows, bench.done) == (expected, 8)


@pytest.mark.parametrize("loop", ["blocks", "kernel_h", "kernel_w"])
def test_the_longest_loops_end(loop: str) -> None:
    rng = random.Random(loop)
    bench = LoaderBench(CORES["wide"], rng, 0.8)
    fields = longest(loop) | {"engine": Engine.TAP, "tap_mode": TapMode.MAC, "illegal": 0, "weight_base": 0}
    bench.jobs.extend([any_fields(rng) | fields, random_job(CORES["wide"], rng)])
    simulate(bench.dut, bench.run)
    assert bench.done == 2


@pytest.mark.parametrize("seed", range(6), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("engine", [Engine.ARRAY, Engine.TAP], ids=lambda e: e.name)
@pytest.mark.parametrize("core", CORES)
def test_a_pass_that_is_not_there_is_the_end(core: str, engine: Engine, seed: int) -> None:
    rng = random.Random(f"{core} {engine} {seed}")
    bench = LoaderBench(CORES[core], rng, (1.0, 0.6)[seed % 2])
    bench.jobs.extend(
        [random_job(CORES[core], rng), failing_job(CORES[core], rng, engine), random_job(CORES[core], rng)]
    )
    simulate(bench.dut, bench.run)
    assert bench.failed
    assert bench.shown is None or bench.offered is not None
