"""`Allocator` against its rules, told with sets: who starts, who claims what, and whose turn it is."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from rtl.noc.allocator import Allocator
from rtl.noc.buffer import N_PORTS
from tests.unit.rtl.drivers import simulate
from tests.unit.rtl.noc.noc_models import small_chip

PORTS = range(N_PORTS)
CHIP = small_chip(3, 3, 2, vc_depth=12)


def mask(outputs: Iterable[int]) -> int:
    return sum(1 << o for o in outputs)


@dataclass(frozen=True)
class Flit:
    """What a queue shows of its first flit."""

    wants: frozenset[int]
    flits: int
    last: bool

    def bits(self) -> dict[str, int]:
        return {"last": self.last, "single": len(self.wants) <= 1, "flits": self.flits, "wants": mask(self.wants)}


def outputs_of(bits: int) -> frozenset[int]:
    return frozenset(o for o in PORTS if bits >> o & 1)


@dataclass
class Rules:
    """The rules of `rtl.noc.router.Router`, for one virtual channel."""

    capacity: list[int]
    sinks: frozenset[int]
    held: list[frozenset[int]] = field(default_factory=lambda: [frozenset()] * N_PORTS)
    claims: list[frozenset[int]] = field(default_factory=lambda: [frozenset()] * N_PORTS)
    owner: list[int] = field(default_factory=lambda: [N_PORTS - 1] * N_PORTS)
    """The input that claimed each output last: the next in turn is the one behind it."""
    used: list[int] = field(default_factory=lambda: [0] * N_PORTS)

    def shut(self) -> frozenset[int]:
        """Outputs that a packet holds, or without a credit."""
        return frozenset().union(*self.held) | {o for o in PORTS if self.used[o] == self.capacity[o]}

    def tight(self, flit: Flit) -> frozenset[int]:
        """Outputs without room for the whole multicast."""
        if len(flit.wants) <= 1:
            return frozenset()
        return frozenset(o for o in PORTS if o not in self.sinks and self.used[o] + flit.flits > self.capacity[o])

    def uses(self, fronts: list[Flit | None]) -> list[frozenset[int] | None]:
        """The outputs of each input whose flit could leave."""
        shut, started, result = self.shut(), set(), []
        for i, flit in enumerate(fronts):
            use = None
            if flit is not None and self.held[i]:
                if all(self.used[o] < self.capacity[o] for o in self.held[i]):
                    use = self.held[i]
            elif flit is not None:
                claimed = frozenset().union(*(self.claims[j] for j in PORTS if j != i))
                if not flit.wants & (shut | self.tight(flit) | claimed | started):
                    use = flit.wants
                    started |= flit.wants
            result.append(use)
        return result

    def step(self, fronts: list[Flit | None], go: frozenset[int], credits: frozenset[int]) -> None:
        """One clock edge: the flits of the inputs ``go`` leave, and the outputs ``credits`` get a slot back."""
        shut, uses = self.shut(), self.uses(fronts)
        waiting = [i for i in PORTS if fronts[i] is not None and not self.held[i] and uses[i] is None]
        asked: dict[int, list[int]] = {}
        for i in waiting:
            more = fronts[i].wants - self.claims[i]
            if more and not self.claims[i] & (shut | self.tight(fronts[i])):
                asked.setdefault(min(more), []).append(i)
        for o, inputs in asked.items():
            if not any(o in self.claims[j] for j in waiting):
                inputs.sort(key=lambda i: (i - self.owner[o] - 1) % N_PORTS)
                self.owner[o] = inputs[0]
                self.claims[inputs[0]] |= {o}
        for i in PORTS:
            if uses[i] is not None:
                self.claims[i] = frozenset()
                self.held[i] = frozenset() if i in go and fronts[i].last else uses[i]
                for o in uses[i] if i in go else ():
                    self.used[o] += 1
        for o in credits:
            self.used[o] -= 1


def random_packet(rng: random.Random, many: float, dead: frozenset[int]) -> list[Flit]:
    count = rng.choice([0, *[1] * 20]) if rng.random() > many else rng.randint(2, N_PORTS)
    wants = frozenset(rng.sample(PORTS, count)) - dead
    flits = rng.choice([1, 1, 2, 3, 8])
    head = Flit(wants, flits, flits == 1)
    return [head, *(Flit(frozenset(), rng.getrandbits(7), n == flits - 1) for n in range(1, flits))]


@pytest.mark.parametrize("seed", range(4), ids=lambda s: f"seed{s}")
def test_starts_claims_and_turns_follow_the_rules(seed: int) -> None:
    rng = random.Random(seed)
    dut = Allocator(chip=CHIP)

    async def episode(ctx, cycles: int) -> None:
        sinks = frozenset(rng.sample(PORTS, rng.choice([0, 1, 2])))
        dead = frozenset(rng.sample(PORTS, rng.choice([0, 0, 1])))
        capacity = [0 if o in dead else rng.randint(1 if o in sinks else 8, 12) for o in PORTS]
        offer, leave, drain, many = (rng.choice(rates) for rates in ((0.5, 1), (0.6, 1), (0.2, 0.5, 1), (0.1, 0.5)))
        ctx.set(dut.sink, mask(sinks))
        for signal, value in zip(dut.capacity, capacity, strict=True):
            ctx.set(signal, value)
        rules = Rules(capacity, sinks)
        queues: list[deque[Flit]] = [deque() for _ in PORTS]
        shown: list[Flit | None] = [None] * N_PORTS
        for _ in range(cycles):
            for i in PORTS:
                if not queues[i]:
                    queues[i].extend(random_packet(rng, many, dead))
                if shown[i] is None and rng.random() < offer:
                    shown[i] = queues[i].popleft()
                ctx.set(dut.front[i], shown[i].bits() if shown[i] else {})
            ctx.set(dut.present, mask(i for i in PORTS if shown[i]))
            credits = frozenset(o for o in PORTS if rules.used[o] and rng.random() < drain)
            ctx.set(dut.credit, mask(credits))

            uses = rules.uses(shown)
            able = [i for i in PORTS if uses[i] is not None]
            assert outputs_of(ctx.get(dut.able)) == set(able)
            assert [outputs_of(ctx.get(dut.use[i])) for i in able] == [uses[i] for i in able]
            assert outputs_of(ctx.get(dut.wanted)) == frozenset().union(*(uses[i] for i in able))
            go = frozenset(i for i in able if rng.random() < leave)
            ctx.set(dut.go, mask(go))
            assert ctx.get(dut.going) == sum(mask(uses[i]) << N_PORTS * i for i in go)
            assert ctx.get(dut.blocked) == any(shown[i] and i not in go for i in PORTS)

            rules.step(shown, go, credits)
            shown = [None if i in go else shown[i] for i in PORTS]
            await ctx.tick()

    async def bench(ctx) -> None:
        for _ in range(12):
            await episode(ctx, 100)
            for signal in (dut.present, dut.go, dut.credit):
                ctx.set(signal, 0)
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            assert not ctx.get(dut.able)
            assert not ctx.get(dut.blocked)

    simulate(dut, bench)
