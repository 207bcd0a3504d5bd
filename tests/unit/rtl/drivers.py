"""What drives and watches components in Amaranth's simulator: the simulation itself, sources and sinks of streams."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Value
from amaranth.sim import Simulator


def simulate(dut: Any, *benches: Any, background: Sequence[Any] = ()) -> None:
    """A simulation with one clock, until all testbenches but the background ones return."""
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for bench in background:
        sim.add_testbench(bench, background=True)
    for bench in benches:
        sim.add_testbench(bench)
    sim.run()


async def send(ctx: Any, port: Any, words: list[Any], rng: random.Random, stall: float) -> None:
    """A source: offers words to a stream input with random gaps, in which there is noise."""
    for word in words:
        while rng.random() < stall:
            await ctx.tick()
        ctx.set(port.payload, word)
        ctx.set(port.valid, 1)
        while not (await ctx.tick().sample(port.ready))[2]:
            pass
        ctx.set(port.valid, 0)
        payload = Value.cast(port.payload)
        ctx.set(payload, rng.getrandbits(len(payload)))


@dataclass
class Sink:
    """A sink: takes words from a stream output with random back-pressure, and checks that an offer stays."""

    port: Any
    rng: random.Random
    stall: float = 0.0
    checks: bool = True
    words: list[tuple[int, Any]] = field(default_factory=list)

    async def run(self, ctx: Any) -> None:
        ready, offered, now = 0, None, 0
        while True:
            _, _, valid, payload = await ctx.tick().sample(self.port.valid, self.port.payload)
            if offered is not None and self.checks:
                assert valid, "offer withdrawn"
                assert payload == offered, "offer changed"
            offered = payload if valid and not ready else None
            if valid and ready:
                self.words.append((now, payload))
            was_ready, ready = ready, int(self.rng.random() >= self.stall)
            if ready != was_ready:
                ctx.set(self.port.ready, ready)
            now += 1
