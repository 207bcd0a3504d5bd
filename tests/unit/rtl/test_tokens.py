"""`TokenFile` against a list of integers; signals reach the right counters and cores."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module

from rtl.noc.flit import Kind
from rtl.params import ChipParams, default_chip
from rtl.signals import SIGNAL, SignalRouter, SignalSender
from rtl.tokens import TokenFile
from tests.unit.rtl.axi_models import Sink, send
from tests.unit.rtl.core_models import packets_of, simulate

CHIP = default_chip(4)


@pytest.mark.parametrize("tokens", [16, 64, 128])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_counters_follow_increments_and_takes(tokens: int, seed: int) -> None:
    rng = random.Random(1000 * tokens + seed)
    dut = TokenFile(chip=default_chip(4, tokens=tokens))

    async def bench(ctx) -> None:
        model = [0] * tokens
        for cycle in range(1500):
            if cycle % 50 == 0:  # a few, so that sources meet at the same counter; in turns, so that all of them count
                busy = [*rng.sample(range(tokens), 4), cycle // 50 % tokens]
                take_rate = rng.choice([0.1, 0.5, 0.9])
            nonzero = sum(1 << i for i, count in enumerate(model) if count)
            assert ctx.get(dut.nonzero) == nonzero
            adds = []
            for increment in dut.increments:
                token = rng.choice(busy)
                valid = int(rng.random() < 0.5 and model[token] < 250)
                ctx.set(increment.token, token)
                ctx.set(increment.valid, valid)
                adds += [token] * valid
            claimed = 0
            for take in dut.takes:
                mask, valid = nonzero & rng.getrandbits(tokens), rng.random() < take_rate
                ctx.set(take.mask, mask)
                ctx.set(take.valid, valid)
            await ctx.delay(1e-9)
            for take in dut.takes:
                mask = ctx.get(take.mask)
                granted = bool(ctx.get(take.valid)) and not mask & claimed
                assert ctx.get(take.grant) == granted
                if granted:
                    claimed |= mask
                    model = [count - (mask >> i & 1) for i, count in enumerate(model)]
            for token in adds:
                model[token] += 1
            assert not ctx.get(dut.overflow)
            await ctx.tick()

    simulate(dut, bench)


def test_counter_holds_255_and_then_overflows() -> None:
    dut = TokenFile(chip=CHIP)

    async def bench(ctx) -> None:
        for increment in dut.increments:
            ctx.set(increment.token, 9)
            ctx.set(increment.valid, 1)
        for _ in range(85):
            assert not ctx.get(dut.overflow)
            await ctx.tick()
        assert ctx.get(dut.overflow)
        ctx.set(dut.takes[1].valid, 1)
        ctx.set(dut.takes[1].mask, 1 << 9)
        for increment in list(dut.increments)[1:]:
            ctx.set(increment.valid, 0)
        assert not ctx.get(dut.overflow), "one out, one in"

    simulate(dut, bench)


@pytest.mark.parametrize("added", [1, 2, 3])
def test_a_counter_that_passes_255_wraps(added: int) -> None:
    tokens = 16
    dut = TokenFile(chip=default_chip(4, tokens=tokens))
    token = 5 * added

    async def bench(ctx) -> None:
        async def add(sources: int) -> bool:
            for index, increment in enumerate(dut.increments):
                ctx.set(increment.token, token)
                ctx.set(increment.valid, index < sources)
            overflow = ctx.get(dut.overflow)
            await ctx.tick()
            return bool(overflow)

        for _ in range(85):
            assert not await add(3)
        assert await add(added)
        assert not await add(0)
        for left in range(added - 1, 0, -1):
            assert ctx.get(dut.nonzero) == 1 << token, f"{left} left"
            ctx.set(dut.takes[0].mask, 1 << token)
            ctx.set(dut.takes[0].valid, 1)
            await ctx.tick()
        assert ctx.get(dut.nonzero) == 0

    simulate(dut, bench)


def test_every_counter_counts_to_255_and_back() -> None:
    tokens = 16
    dut = TokenFile(chip=default_chip(4, tokens=tokens))

    async def bench(ctx) -> None:
        everything = (1 << tokens) - 1
        for start in range(0, tokens, 3):
            some = list(range(start, min(start + 3, tokens)))
            for increment, token in zip(dut.increments, some, strict=False):
                ctx.set(increment.token, token)
            for _ in range(255):
                for index, increment in enumerate(dut.increments):
                    ctx.set(increment.valid, index < len(some))
                assert not ctx.get(dut.overflow)
                await ctx.tick()
            for increment in dut.increments:
                ctx.set(increment.valid, 0)
        ctx.set(dut.takes[2].valid, 1)
        ctx.set(dut.takes[2].mask, everything)
        for _ in range(255):
            assert ctx.get(dut.nonzero) == everything
            await ctx.tick()
        assert ctx.get(dut.nonzero) == 0

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
def test_each_signal_arrives_once_at_its_core(seed: int) -> None:
    rng = random.Random(seed)
    n_sources = 4
    node = 2
    dut = SignalRouter(chip=CHIP, n_sources=n_sources)
    words = [[(rng.randrange(64), rng.randrange(4)) for _ in range(60)] for _ in range(n_sources)]
    local: list[int] = []
    sink = Sink(dut.o, rng, stall=0.4)

    def source(index: int):
        async def bench(ctx) -> None:
            consts = [SIGNAL.const({"token": token, "core": core}) for token, core in words[index]]
            await send(ctx, dut.i[index], consts, random.Random(index), 0.5)
            await ctx.tick().repeat(30)

        return bench

    async def watch(ctx) -> None:
        ctx.set(dut.node, node)
        while True:
            _, _, valid, token = await ctx.tick().sample(dut.increment.valid, dut.increment.token)
            if valid:
                local.append(token)

    simulate(dut, *(source(i) for i in range(n_sources)), background=[watch, sink.run])
    everything = [pair for stream in words for pair in stream]
    assert sorted(local) == sorted(token for token, core in everything if core == node)
    packets = packets_of([word for _, word in sink.words])
    assert all(p.kind == Kind.SIGNAL and p.src == node and p.flits == 1 for p in packets)
    assert sorted((p.token, p.dest) for p in packets) == sorted((t, 1 << c) for t, c in everything if c != node)


def test_a_busy_network_does_not_hold_up_local_signals() -> None:
    dut = SignalRouter(chip=ChipParams(), n_sources=2)

    async def bench(ctx) -> None:
        ctx.set(dut.i[0].payload, {"token": 1, "core": 3})
        ctx.set(dut.i[0].valid, 1)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.i[0].ready)
        ctx.set(dut.i[1].payload, {"token": 5, "core": 0})
        ctx.set(dut.i[1].valid, 1)
        assert ctx.get(dut.i[1].ready)
        assert ctx.get(dut.increment.valid)
        assert ctx.get(dut.increment.token) == 5

    simulate(dut, bench)


@pytest.mark.parametrize("valid", range(8))
def test_sender_sends_the_valid_signals_of_an_instruction(valid: int) -> None:
    m = Module()
    m.submodules.dut = dut = SignalSender()
    rng = random.Random(valid)
    expected: list[tuple[int, int]] = []

    async def bench(ctx) -> None:
        for _ in range(20):
            words = [(rng.randrange(128), rng.randrange(64)) for _ in range(3)]
            fields = {f"signal{i}_token": token for i, (token, _) in enumerate(words)}
            fields |= {f"signal{i}_core": core for i, (_, core) in enumerate(words)}
            ctx.set(dut.signals, fields | {f"signal{i}_valid": valid >> i & 1 for i in range(3)})
            ctx.set(dut.fire, 1)
            await ctx.tick()
            ctx.set(dut.fire, 0)
            ctx.set(dut.signals, {})
            expected[:] = [word for i, word in enumerate(words) if valid >> i & 1]
            while expected:
                assert ctx.get(dut.busy)
                assert ctx.get(dut.o.valid)
                word = ctx.get(dut.o.payload)
                assert (word.token, word.core) == expected[0]
                ready = rng.random() < 0.6
                ctx.set(dut.o.ready, ready)
                await ctx.tick()
                del expected[: int(ready)]
            assert not ctx.get(dut.busy)
            assert not ctx.get(dut.o.valid)

    simulate(m, bench)
