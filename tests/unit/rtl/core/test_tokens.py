"""`TokenFile` against a list of integers; signals reach the right counters and cores."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import Const, Module

from rtl.contract.params import ChipParams, default_chip
from rtl.core.signals import SignalRouter, SignalSender
from rtl.core.tokens import TokenFile
from rtl.noc.flit import Kind, flit_layout
from tests.unit.rtl.drivers import simulate

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


class TokenBench:
    """Signals of all sources; knows what the router must do in every cycle."""

    def __init__(self, node: int, rng: random.Random) -> None:
        self.chip = default_chip(64)
        self.dut = SignalRouter(chip=self.chip, n_sources=4)
        self.node, self.rng = node, rng
        self.layout = flit_layout(self.chip)
        self.offered: list[tuple[int, int] | None] = [None] * 4
        self.held: tuple[int, int] | None = None

    def signal(self) -> tuple[int, int]:
        """A token, and a core: often this one, or one whose number differs in one bit."""
        core = self.rng.choice([self.node, self.node ^ 1 << self.rng.randrange(6), self.rng.randrange(64)])
        return self.rng.randrange(128), core

    def packet(self, token: int, core: int) -> int:
        header = {"dest": 1 << core, "src": self.node, "kind": Kind.SIGNAL, "flits": 1, "token": token}
        return Const.cast(self.layout.const({"first": 1, "last": 1, "header": header})).value

    async def cycle(self, ctx: Any, rate: float) -> None:
        """Offers stay until they are taken; beside a low valid there is any signal."""
        dut, rng = self.dut, self.rng
        for index, port in enumerate(dut.i):
            if self.offered[index] is None and rng.random() < rate:
                self.offered[index] = self.signal()
            token, core = self.offered[index] or self.signal()
            ctx.set(port.valid, self.offered[index] is not None)
            ctx.set(port.payload, {"token": token, "core": core})
        taking = rng.random() < 0.6
        ctx.set(dut.o.ready, taking)
        outputs = (dut.increment.valid, dut.increment.token, dut.busy, dut.o.valid, dut.o.payload.as_value())
        readies = (port.ready for port in dut.i)
        _, _, counts, counted, busy, valid, flit, *ready = await ctx.tick().sample(*outputs, *readies)

        waiting = [(index, one) for index, one in enumerate(self.offered) if one is not None]
        own = next(((index, one) for index, one in waiting if one[1] == self.node), None)
        other = next(((index, one) for index, one in waiting if one[1] != self.node), None)
        if self.held is not None and not taking:
            other = None
        assert counts == (own is not None)
        assert own is None or counted == own[1][0]
        assert busy == valid == (self.held is not None)
        assert self.held is None or flit == self.packet(*self.held)
        goes = {index for index, _ in filter(None, (own, other))}
        assert ready == [index in goes for index in range(4)]
        for index in goes:
            self.offered[index] = None
        if self.held is None or taking:
            self.held = None if other is None else other[1]


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("node", [0, 21, 42, 63], ids=lambda n: f"node{n}")
def test_signals_count_here_or_leave_lowest_source_first(node: int, rate: float) -> None:
    bench = TokenBench(node, random.Random(f"{node} {rate}"))

    async def run(ctx: Any) -> None:
        ctx.set(bench.dut.node, node)
        for _ in range(300):
            await bench.cycle(ctx, rate)

    simulate(bench.dut, run)


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
