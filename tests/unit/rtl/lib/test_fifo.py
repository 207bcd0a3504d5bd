"""`Fifo` against a deque, under random stalls on both sides."""

from __future__ import annotations

import random
from collections import deque

import pytest
from amaranth.hdl import Module, ResetInserter, Signal, unsigned
from amaranth.lib import data

from rtl.lib.fifo import Fifo
from tests.unit.rtl.drivers import simulate

WORD = data.StructLayout({"low": unsigned(5), "high": unsigned(35)})


@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8, 64])
def test_words_come_out_in_order_under_random_stalls(depth: int, seed: int) -> None:
    rng = random.Random(1000 * depth + seed)
    dut = Fifo(shape=WORD, depth=depth)

    async def bench(ctx) -> None:
        model: deque[int] = deque()
        phase = [0.5, 0.5]
        for cycle in range(600):
            if cycle % 100 == 0:  # phases that fill it, drain it, and keep it moving
                phase = [rng.choice([0.2, 0.5, 0.95, 1.0]) for _ in range(2)]
            word = rng.getrandbits(40)
            i_valid, o_ready = (int(rng.random() < p) for p in phase)
            ctx.set(dut.i.valid, i_valid)
            ctx.set(dut.i.payload, WORD.from_bits(word))
            ctx.set(dut.o.ready, o_ready)
            assert ctx.get(dut.level) == len(model)
            o_valid = ctx.get(dut.o.valid)
            assert o_valid == bool(model)
            passes = depth == 1 and o_ready  # the one word leaves while the next comes
            assert ctx.get(dut.i.ready) == (len(model) < depth or passes)
            i_ready = ctx.get(dut.i.ready)
            if o_valid:
                assert ctx.get(dut.o.payload).as_bits() == model[0]
                if o_ready:
                    model.popleft()
            if i_valid and i_ready:
                model.append(word)
            await ctx.tick()

    simulate(dut, bench)


@pytest.mark.parametrize("depth", [1, 2, 3, 16])
def test_streams_one_word_per_cycle(depth: int) -> None:
    dut = Fifo(shape=8, depth=depth)

    async def bench(ctx) -> None:
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        for n in range(50):
            ctx.set(dut.i.payload, n)
            assert ctx.get(dut.i.ready)
            assert ctx.get(dut.o.valid) == (n > 0)
            if n > 0:
                assert ctx.get(dut.o.payload) == n - 1
            await ctx.tick()

    simulate(dut, bench)


def test_reset_inserter_empties_it() -> None:
    fifo = Fifo(shape=8, depth=4)
    clear = Signal()
    m = Module()
    m.submodules.fifo = ResetInserter(clear)(fifo)

    async def bench(ctx) -> None:
        ctx.set(fifo.i.valid, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(fifo.level) == 3
        ctx.set(fifo.i.valid, 0)
        ctx.set(clear, 1)
        await ctx.tick()
        ctx.set(clear, 0)
        assert ctx.get(fifo.level) == 0
        assert not ctx.get(fifo.o.valid)

    simulate(m, bench)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("depth", [0, -1, 2.0, True])
def test_rejects_a_depth_that_is_not_a_positive_integer(depth: object) -> None:
    with pytest.raises(ValueError, match="Depth must be a positive integer, not "):
        Fifo(shape=8, depth=depth)  # type: ignore[arg-type]  # the error under test
