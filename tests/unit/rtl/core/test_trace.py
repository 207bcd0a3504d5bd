"""`TraceMemory` against a model: every output in every cycle, and what a reset leaves."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from rtl.contract.regs import COUNTER_BITS
from rtl.core.counters import SNAPSHOT
from rtl.core.trace import TraceMemory
from tests.unit.rtl.drivers import simulate


@pytest.mark.parametrize("marks", [2, 16, 256])
@pytest.mark.parametrize("seed", range(2), ids=lambda seed: f"seed{seed}")
def test_every_output_in_every_cycle(marks: int, seed: int) -> None:
    """Marks come at any time, also one after the other; entries that are written are read in the same cycle."""
    rng = random.Random(f"{marks} {seed}")
    dut = TraceMemory(marks=marks)

    async def bench(ctx: Any) -> None:
        entries: dict[int, int] = {}
        under_way, seen, passed = None, None, 0
        for _ in range(600):
            valid, entry, now = rng.random() < 0.6, rng.randrange(marks), rng.getrandbits(SNAPSHOT.size)
            read, wanted = rng.random() < 0.6, rng.choice([rng.randrange(marks), entry, under_way or 0])
            ctx.set(dut.mark.valid, valid)
            ctx.set(dut.mark.entry, entry)
            ctx.set(dut.now.as_value(), now)
            ctx.set(dut.read_enable, read)
            ctx.set(dut.read_entry, wanted)
            assert ctx.get(dut.passed) == passed
            if seen is not None:
                assert ctx.get(dut.read.as_value()) == seen
            await ctx.tick()
            if read:
                seen = entries.get(wanted)  # the old words of one that is written now
            if under_way is not None:
                entries[under_way] = now
                passed = (passed + 1) % 256
            under_way = entry if valid else None

    simulate(dut, bench)


def test_a_reset_forgets_the_count_and_the_mark_under_way_but_no_entry() -> None:
    reset = Signal()
    trace = TraceMemory(marks=4)
    words = [3, 1 << COUNTER_BITS - 1, 0, 5, 6, 7, 8, 9]

    async def bench(ctx: Any) -> None:
        async def mark(entry: int, now: list[int]) -> None:
            ctx.set(trace.mark.valid, 1)
            ctx.set(trace.mark.entry, entry)
            await ctx.tick()
            ctx.set(trace.mark.valid, 0)
            for number, word in enumerate(now):
                ctx.set(trace.now[number], word)

        async def read(entry: int) -> list[int]:
            ctx.set(trace.read_enable, 1)
            ctx.set(trace.read_entry, entry)
            await ctx.tick()
            ctx.set(trace.read_enable, 0)
            return [ctx.get(trace.read[number]) for number in range(len(words))]

        for entry in range(4):
            await mark(entry, words)
            await ctx.tick()
        assert ctx.get(trace.passed) == 4
        ctx.set(reset, 1)
        await mark(2, words[::-1])  # in the cycle of the reset: it is never written
        ctx.set(reset, 0)
        await ctx.tick()
        assert ctx.get(trace.passed) == 0
        assert [await read(entry) for entry in range(4)] == [words] * 4

    simulate(ResetInserter(reset)(trace), bench)
