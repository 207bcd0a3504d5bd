"""`InputBuffer` against queues: what waits in each channel, where it goes, and what leaves."""

from __future__ import annotations

import random
from collections import deque

import pytest

from rtl.noc.buffer import N_PORTS, InputBuffer
from rtl.noc.flit import flit_layout
from tests.unit.rtl.drivers import simulate
from tests.unit.rtl.noc.noc_models import packet_words, small_chip

PORTS = range(N_PORTS)


@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("own", [None, 2])
def test_every_channel_is_a_queue_and_shows_where_its_flit_goes(own: int | None, seed: int) -> None:
    chip = small_chip(3, 3, 2, vcs_per_class=2)
    rng = random.Random(seed)
    dut = InputBuffer(chip=chip, own=own)
    shape = flit_layout(chip)

    def front_of(word: int, reach: list[int]) -> dict[str, int]:
        flit = shape.from_bits(word)
        outputs = [o for o in PORTS if flit.first and o != own and flit.header.dest & reach[o]]
        wants = sum(1 << o for o in outputs)
        return {"last": flit.last, "single": len(outputs) <= 1, "flits": flit.header.flits, "wants": wants}

    async def episode(ctx, cycles: int) -> None:
        reach = [0] * N_PORTS
        for node in range(chip.n_nodes):  # as behind a real router, a node is behind one port
            reach[rng.randrange(N_PORTS)] |= 1 << node
        for signal, value in zip(dut.reach, reach, strict=True):
            ctx.set(signal, value)
        send, leave = rng.choice([0.4, 1]), rng.choice([0.3, 0.8, 1])
        sending: list[deque[int]] = [deque() for _ in range(chip.n_vcs)]
        queues: list[deque[tuple[int, dict[str, int]]]] = [deque() for _ in range(chip.n_vcs)]
        credit, left = 0, None
        for _ in range(cycles):
            assert ctx.get(dut.link.credit) == credit
            if left is not None:
                assert (ctx.get(dut.flit.as_value()), ctx.get(dut.vc)) == left
            assert ctx.get(dut.present) == sum(1 << v for v, queue in enumerate(queues) if queue)
            for v, queue in enumerate(queues):
                front = ctx.get(dut.front[v])
                if queue:
                    assert {name: getattr(front, name) for name in queue[0][1]} == queue[0][1]
            waiting = [v for v, queue in enumerate(queues) if queue]
            credit, left = 0, None
            if waiting and rng.random() < leave:
                v = rng.choice(waiting)
                credit, left = 1 << v, (queues[v].popleft()[0], v)
            ctx.set(dut.pop, credit)
            free = [v for v, queue in enumerate(queues) if len(queue) + (credit >> v & 1) < chip.vc_depth]
            sent = bool(free) and rng.random() < send
            ctx.set(dut.link.valid, sent)
            if sent:
                v = rng.choice(free)
                if not sending[v]:
                    behind = rng.choice([mask for mask in reach if mask] + [(1 << chip.n_nodes) - 1])
                    dest = rng.getrandbits(chip.n_nodes) & behind
                    sending[v].extend(packet_words(chip, rng.getrandbits(16), rng.choice([1, 2, 8]), dest))
                word = sending[v].popleft()
                queues[v].append((word, front_of(word, reach)))
                ctx.set(dut.link.vc, v)
                ctx.set(dut.link.flit.as_value(), word)
            await ctx.tick()

    async def bench(ctx) -> None:
        for _ in range(8):
            await episode(ctx, 100)
            for signal in (dut.link.valid, dut.pop):
                ctx.set(signal, 0)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert not ctx.get(dut.present)

    simulate(dut, bench)
