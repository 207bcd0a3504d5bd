"""One router between models of its neighbours."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import pytest
from amaranth.hdl import Cat

from rtl.contract.params import ChipParams, Direction
from rtl.contract.regs import RouterCounter, RouterEvent
from rtl.contract.routing import node_port, reach_masks
from rtl.noc.port import RECEIVE_DEPTH
from rtl.noc.router import Router
from tests.unit.rtl.drivers import simulate
from tests.unit.rtl.noc.noc_models import LinkSink, LinkSource, packet_words, small_chip


class RouterBench:
    """The router at (1, 1) of a 3x3 mesh, with senders and receivers on all five ports.

    With ``turn``, other nodes lie behind its ports than there: each behind each, for five turns.
    """

    def __init__(
        self, chip: ChipParams, seed: int, send_rate: float = 1.0, credit_rate: float = 1.0, turn: int | None = None
    ) -> None:
        self.chip = chip
        self.rng = random.Random(seed)
        self.router = Router(chip=chip)
        self.reach = reach_masks(chip, 1, 1)
        if turn is not None:
            nodes = range(chip.n_nodes)
            self.reach = [sum(1 << n for n in nodes if (n + turn) % len(Direction) == port) for port in Direction]
        ends = {end.port for n in range(chip.n_nodes) if (end := node_port(chip, n))[:2] == (1, 1)}
        self.capacities = [RECEIVE_DEPTH if port in ends else chip.vc_depth for port in Direction]
        self.sources = [LinkSource(link, chip.vc_depth, chip.n_vcs, self.rng, send_rate) for link in self.router.i]
        self.sinks = [
            LinkSink(chip, link, capacity, self.rng, credit_rate)
            for link, capacity in zip(self.router.o, self.capacities, strict=True)
        ]
        # (input, channel, output) -> packets in order; (input, channel) of a packet
        self.expected: dict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        self.origin: dict[int, tuple[int, int]] = {}
        self.flits_out = [0] * len(Direction)
        self.counted = [0] * len(Direction)  # those that left while the counters ran
        self.came = 0  # into it while the counters ran
        self.blocked_cycles = 0

    def send(self, number: int, port: Direction, vc: int, dest: int, flits: int) -> None:
        self.sources[port].queues[vc].extend(packet_words(self.chip, number, flits, dest))
        self.origin[number] = (port, vc)
        for output, reach in zip(Direction, self.reach, strict=True):
            if dest & reach and (output is not port or port is Direction.LOCAL):
                self.expected[port, vc, output].append((number, dest & reach))
                self.flits_out[output] += flits

    def run(self, cycles: int, *, pauses: bool = False, before: Callable[[int], None] = lambda now: None) -> None:
        """Call ``before`` with each cycle. With ``pauses``, the counters stand still now and then."""
        simulate(self.router, self._testbench(cycles, pauses, before))

    def _testbench(self, cycles: int, pauses: bool, before: Callable[[int], None]):
        async def testbench(ctx) -> None:
            router = self.router
            states = Cat(router.running, router.progress, *(link.valid for link in (*router.o, *router.i)))
            ctx.set(router.running, 1)
            ctx.set(router.sink, 1 << Direction.LOCAL)
            for mask, reach in zip(router.reach, self.reach, strict=True):
                ctx.set(mask, reach)
            for capacity, value in zip(router.capacity, self.capacities, strict=True):
                ctx.set(capacity, value)
            for now in range(cycles):
                before(now)
                for source in self.sources:
                    source.cycle(ctx)
                for sink in self.sinks:
                    sink.cycle(ctx, now)
                if pauses and not now % 16:
                    ctx.set(router.running, self.rng.getrandbits(1))
                running, progress, *links = f"{ctx.get(states):012b}"[::-1]
                valid, came = links[: len(Direction)], links[len(Direction) :]
                assert progress == max(valid)
                self.came += came.count("1") if running == "1" else 0
                self.counted = [n + (running == one == "1") for n, one in zip(self.counted, valid, strict=True)]
                await ctx.tick()
            for source in self.sources:
                ctx.set(source.link.valid, 0)
                assert source.credits == [source.capacity] * self.chip.n_vcs, "a credit is lost"
            assert not any(ctx.get(sink.link.valid) for sink in self.sinks), "still running"
            values = []
            for index in range(64):
                ctx.set(router.counter_index, index)
                await ctx.tick()
                values.append(ctx.get(router.counter_value))
            assert values[: len(Direction)] == self.counted
            assert pauses or self.counted == self.flits_out
            self.blocked_cycles = values[RouterCounter.BLOCKED]
            assert values[RouterEvent.FLITS_IN] == (self.came if self.chip.counters else 0)
            assert not any(values[RouterEvent.FLITS_IN + 1 :])

        return testbench

    def check(self) -> None:
        """Everything arrived, in order for each input, channel and output, in its own channel."""
        got: dict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        for output, sink in enumerate(self.sinks):
            for vc, packets in enumerate(sink.packets):
                for packet in packets:
                    port, sent_vc = self.origin[packet[0]]
                    assert vc == sent_vc
                    got[port, vc, output].append(packet)
        assert got == self.expected


def some_dests(bench: RouterBench, port: Direction) -> int:
    """Destinations behind a random choice of other ports."""
    rng, dest = bench.rng, 0
    outputs = [o for o in Direction if o is not port or o is Direction.LOCAL]
    for output in rng.sample(outputs, rng.choice([1, 1, 2, 3, len(outputs)])):
        nodes = [n for n in range(bench.chip.n_nodes) if bench.reach[output] >> n & 1]
        dest |= sum(1 << n for n in rng.sample(nodes, rng.randint(1, len(nodes))))
    return dest


@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("vcs_per_class", [1, 2])
def test_random_packets_reach_all_their_outputs(vcs_per_class: int, seed: int) -> None:
    chip = small_chip(3, 3, 2, vcs_per_class=vcs_per_class, vc_depth=8 + 5 * seed, counters=seed > 0)
    bench = RouterBench(chip, seed, send_rate=0.8, credit_rate=(1.0, 0.3, 0.6)[seed], turn=seed)
    for number in range(100):
        port = bench.rng.choice(list(Direction))
        flits = bench.rng.choice([1, 2, 5, 8])
        bench.send(number, port, bench.rng.randrange(chip.n_vcs), some_dests(bench, port), flits)
    bench.run(1500, pauses=seed == 1)
    bench.check()


@pytest.mark.parametrize("turn", range(5), ids=lambda turn: f"turn{turn}")
def test_each_copy_carries_the_destinations_behind_its_output_and_no_others(turn: int) -> None:
    """Any set of nodes from any port, also those that lie behind the port itself, to which no copy goes."""
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, turn, turn=turn)
    for number in range(100):
        port, vc = Direction(number % len(Direction)), bench.rng.randrange(chip.n_vcs)
        dests = [bench.rng.getrandbits(chip.n_nodes), some_dests(bench, port)]
        bench.send(number, port, vc, bench.rng.choice(dests), bench.rng.choice([1, 1, 1, 4]))
    bench.run(300)
    bench.check()


def test_a_multicast_starts_only_where_the_whole_packet_fits() -> None:
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, 7, credit_rate=0.2)
    east_and_south = bench.reach[Direction.EAST] | bench.reach[Direction.SOUTH]
    for number in range(12):
        bench.send(number, Direction.WEST, 0, east_and_south, 8 if number % 2 else 3)
    bench.run(900)
    bench.check()
    for port in (Direction.EAST, Direction.SOUTH):
        assert all(flits <= room for flits, room in bench.sinks[port].starts)
    assert any(flits == room for flits, room in bench.sinks[Direction.EAST].starts), "the test has pressure"


def test_a_packet_without_a_destination_is_dropped() -> None:
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, 1)
    bench.send(1, Direction.WEST, 0, 0, 4)
    bench.send(2, Direction.WEST, 0, bench.reach[Direction.WEST], 4)  # back where it came from
    bench.send(3, Direction.WEST, 0, bench.reach[Direction.EAST], 4)
    bench.run(40)
    bench.check()
    assert bench.sinks[Direction.EAST].packets[0] == [(3, bench.reach[Direction.EAST])]


def test_latency_is_two_cycles_and_packets_follow_without_gap() -> None:
    chip = small_chip(3, 3, 2, vc_depth=16)
    bench = RouterBench(chip, 1)
    for number in range(5):
        bench.send(number, Direction.WEST, 0, bench.reach[Direction.EAST], 8)
    bench.run(60)
    bench.check()
    assert [now for now, _, _ in bench.sinks[Direction.EAST].flits] == list(range(2, 42))
    assert bench.blocked_cycles == 0


@pytest.mark.parametrize("vc", [0, 1])
@pytest.mark.parametrize("vc_depth", [8, 16])
def test_blocked_cycles_are_counted(vc_depth: int, vc: int) -> None:
    chip = small_chip(3, 3, 2, vc_depth=vc_depth)
    bench = RouterBench(chip, 1)
    bench.send(1, Direction.WEST, vc, bench.reach[Direction.EAST], 8)
    bench.send(2, Direction.NORTH, vc, bench.reach[Direction.EAST], 5)
    bench.run(40)
    bench.check()
    first = bench.sinks[Direction.EAST].packets[vc][0][0]
    assert bench.blocked_cycles == {1: 8, 2: 5}[first]  # while the other packet passes


@pytest.mark.parametrize(("flits", "vc_depth"), [(1, 16), (4, 16), (4, 8)])
def test_inputs_share_an_output_packet_by_packet(flits: int, vc_depth: int) -> None:
    chip = small_chip(3, 3, 2, vc_depth=vc_depth)
    bench = RouterBench(chip, 1)
    for number in range(90):
        port = (Direction.WEST, Direction.NORTH, Direction.LOCAL)[number % 3]
        bench.send(number, port, 1, bench.reach[Direction.SOUTH], flits)
    bench.run(90 * flits + 20)
    bench.check()
    order = [number % 3 for number, _ in bench.sinks[Direction.SOUTH].packets[1]]
    for window in range(3, 81, 3):
        assert sorted(order[window : window + 3]) == [0, 1, 2]
    times = [now for now, _, _ in bench.sinks[Direction.SOUTH].flits]
    assert times[-1] - times[0] == len(times) - 1, "the output is never idle"


def test_a_multicast_is_not_starved_by_unicasts() -> None:
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, 3, credit_rate=0.7)
    for number in range(40):
        bench.send(number, Direction.NORTH, 0, bench.reach[Direction.SOUTH], 8)
        bench.send(100 + number, Direction.LOCAL, 0, bench.reach[Direction.EAST], 8)
    bench.send(999, Direction.WEST, 0, bench.reach[Direction.EAST] | bench.reach[Direction.SOUTH], 8)
    bench.run(600)
    bench.check()
    for port in (Direction.EAST, Direction.SOUTH):
        assert [number for number, _ in bench.sinks[port].packets[0]].index(999) < 6


@pytest.mark.parametrize(("vcs_per_class", "vc_depth"), [(1, 8), (2, 32)])
def test_channels_share_a_link_flit_by_flit(vcs_per_class: int, vc_depth: int) -> None:
    chip = small_chip(3, 3, 2, vcs_per_class=vcs_per_class, vc_depth=vc_depth)
    bench = RouterBench(chip, 1)
    for number in range(16):
        port = (Direction.WEST, Direction.NORTH, Direction.LOCAL, Direction.SOUTH)[number % chip.n_vcs]
        dest = bench.reach[Direction.EAST]
        bench.send(number, port, number % chip.n_vcs, dest, 8)
    bench.run(160)
    bench.check()
    channels = [vc for _, vc, _ in bench.sinks[Direction.EAST].flits]
    assert len(channels) == 128
    for window in range(4, 116, chip.n_vcs):
        assert sorted(channels[window : window + chip.n_vcs]) == list(range(chip.n_vcs))


@pytest.mark.parametrize("turn", range(5), ids=lambda turn: f"turn{turn}")
def test_channels_that_share_no_port_do_not_hold_each_other_up(turn: int) -> None:
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, turn, turn=turn)
    ways = [(i, o) for i in Direction for o in Direction if i is not o or o is Direction.LOCAL]
    pairs = [(one, two) for one in ways for two in ways if one[0] is not two[0] and one[1] is not two[1]]
    rounds = [pair for pair in bench.rng.sample(pairs, 15) for _ in range(2)]
    conflict = (Direction.WEST, Direction.EAST), (Direction.NORTH, Direction.EAST)

    def offer(now: int) -> None:
        number, phase = divmod(now, 10)
        if number < len(rounds) and phase in (0, 5):
            ways, flits = (rounds[number], 3) if phase else (conflict, 1)  # which makes another channel go first
            for vc, (port, output) in enumerate(ways):
                bench.send(4 * number + 2 * bool(phase) + vc, port, vc, bench.reach[output], flits)

    bench.run(10 * len(rounds) + 10, before=offer)
    bench.check()
    times = sorted(now % 10 for sink in bench.sinks for now, _, _ in sink.flits)
    assert times == sorted([2, 3, 7, 7, 8, 8, 9, 9] * len(rounds))
    assert bench.blocked_cycles == len(rounds), "in conflicts"


@pytest.mark.parametrize("apart", [1, 2])
def test_channels_of_one_input_leave_one_flit_at_a_time(apart: int) -> None:
    """Receivers are slow, so that both channels of each input have flits that could go, to different outputs."""
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, apart, credit_rate=0.45)
    for number in range(40):
        port, vc = Direction(number % 5), number // 5 % 2
        output = Direction((port + (1 + apart if vc else 1)) % 5)
        bench.send(number, port, vc, bench.reach[output], 8)
    bench.run(300)
    bench.check()


def test_after_each_conflict_another_channel_goes_first() -> None:
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, 1)
    east, south = bench.reach[Direction.EAST], bench.reach[Direction.SOUTH]
    conflicts = [((Direction.WEST, east), (Direction.NORTH, east)), ((Direction.LOCAL, south), (Direction.WEST, south))]
    gaps = [bench.rng.randrange(1, 5) for _ in range(30)]
    starts = {8 * n + gap: n for n, gap in enumerate(gaps)}

    def offer(now: int) -> None:
        if now in starts:
            for vc, (port, dest) in enumerate(conflicts[starts[now] % 2]):
                bench.send(2 * starts[now] + vc, port, vc, dest, 1)
            if bench.rng.random() < 0.5:  # nobody's rival
                bench.send(100 + starts[now], Direction.EAST, 0, bench.reach[Direction.NORTH], 1)
        if now % 8 == 6 and bench.rng.random() < 0.5:  # two that do not conflict
            bench.send(200 + now, Direction.EAST, 0, bench.reach[Direction.NORTH], 1)
            bench.send(600 + now, Direction.LOCAL, 1, bench.reach[Direction.WEST], 1)

    bench.run(260, before=offer)
    bench.check()
    outputs = [bench.sinks[port].flits for port in (Direction.EAST, Direction.SOUTH)]
    order = [vc for _, vc, _ in sorted(outputs[0] + outputs[1])]
    assert len(order) == 60
    assert order[::2] == [n % 2 for n in range(30)]


def test_clear_forgets_flits_credits_and_claims() -> None:
    chip = small_chip(3, 3, 2)
    bench = RouterBench(chip, 2, credit_rate=0.0)
    router = bench.router
    for number in range(10):
        bench.send(number, Direction.WEST, 0, bench.reach[Direction.EAST] | bench.reach[Direction.LOCAL], 8)
        bench.send(20 + number, Direction.NORTH, 0, bench.reach[Direction.LOCAL], 8)

    async def testbench(ctx) -> None:
        ctx.set(router.running, 1)
        ctx.set(router.sink, 1 << Direction.LOCAL)
        for mask, reach in zip(router.reach, bench.reach, strict=True):
            ctx.set(mask, reach)
        for capacity, value in zip(router.capacity, bench.capacities, strict=True):
            ctx.set(capacity, value)
        for now in range(30):
            for source in bench.sources:
                source.cycle(ctx)
            for sink in bench.sinks:
                sink.cycle(ctx, now)
            await ctx.tick()
        for source in bench.sources:
            ctx.set(source.link.valid, 0)
        for sink in bench.sinks:
            ctx.set(sink.link.credit, 0)
        ctx.set(router.clear, 1)
        await ctx.tick()
        ctx.set(router.clear, 0)
        fresh = RouterBench(chip, 3)
        fresh.send(50, Direction.SOUTH, 0, fresh.reach[Direction.LOCAL], 8)
        fresh.sources[Direction.SOUTH].link = router.i[Direction.SOUTH]
        fresh.sinks[Direction.LOCAL].link = router.o[Direction.LOCAL]
        for now in range(30):
            assert not ctx.get(router.o[Direction.EAST].valid)
            fresh.sources[Direction.SOUTH].cycle(ctx)
            fresh.sinks[Direction.LOCAL].cycle(ctx, now)
            await ctx.tick()
        assert [now for now, _, _ in fresh.sinks[Direction.LOCAL].flits] == list(range(2, 10))
        ctx.set(router.counter_index, RouterCounter.FLITS_LOCAL)
        await ctx.tick()
        assert ctx.get(router.counter_value) == 8

    simulate(router, testbench)
