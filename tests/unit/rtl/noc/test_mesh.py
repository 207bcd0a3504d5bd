"""Whole networks under random traffic: every packet arrives once, whole, in order, at each destination."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass

import pytest
from amaranth.hdl import Cat, Module, Signal

from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams, default_chip
from rtl.contract.regs import RouterCounter
from rtl.contract.routing import Link, hops, multicast_links
from rtl.noc.flit import MessageClass, flit_layout
from rtl.noc.mesh import Mesh
from tests.unit.rtl.drivers import simulate
from tests.unit.rtl.noc.noc_models import number_of, packet_words, payload_of, small_chip


@dataclass(frozen=True)
class Packet:
    number: int
    source: int
    kind: MessageClass
    dests: frozenset[int]
    flits: int

    def words(self, chip: ChipParams) -> list[int]:
        dest = sum(1 << d for d in self.dests)
        return packet_words(chip, self.number, self.flits, dest, self.source)


class MeshBench:
    """Plays packets into a mesh and compares what comes out; ``stall`` gives the back-pressure."""

    def __init__(self, chip: ChipParams, packets: list[Packet], seed: int = 0) -> None:
        self.chip = chip
        self.rng = random.Random(seed)
        self.shape = flit_layout(chip)
        self.to_send: dict[tuple[int, int], deque[int]] = defaultdict(deque)
        self.expected: dict[tuple[int, int, int], deque[Packet]] = defaultdict(deque)
        self.crossings: Counter[Link] = Counter()
        for packet in packets:
            self.to_send[packet.source, packet.kind].extend(packet.words(chip))
            for dest in packet.dests:
                self.expected[packet.source, packet.kind, dest].append(packet)
            for link in multicast_links(chip, packet.source, packet.dests):
                self.crossings[link] += packet.flits
        self.missing = sum(len(queue) for queue in self.expected.values())
        self.arrivals: dict[tuple[int, int], list[int]] = defaultdict(list)
        self.finished_at: dict[tuple[int, int], int] = {}
        self.sends: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._open: dict[tuple[int, int], tuple[Packet, int] | None] = defaultdict(lambda: None)

        self.mesh = Mesh(chip=chip)
        self.m = Module()
        self.m.submodules.mesh = self.mesh
        sends = [s[n] for n in range(chip.n_nodes) for s in (self.mesh.send_request, self.mesh.send_response)]
        receives = [s[n] for n in range(chip.n_nodes) for s in (self.mesh.receive_request, self.mesh.receive_response)]
        self.lanes = [(n, MessageClass(k)) for n in range(chip.n_nodes) for k in range(2)]
        self.send_payloads = [s.payload.as_value() for s in sends]
        self.receive_payloads = [r.payload.as_value() for r in receives]
        # One signal each for all lanes, because every access from a testbench costs.
        self.offer, self.taken = Signal(len(sends)), Signal(len(sends))
        self.given, self.ready = Signal(len(sends)), Signal(len(sends))
        self.m.d.comb += [
            Cat(s.valid for s in sends).eq(self.offer),
            self.taken.eq(Cat(s.valid & s.ready for s in sends)),
            Cat(r.ready for r in receives).eq(self.ready),
            self.given.eq(Cat(r.valid & r.ready for r in receives)),
        ]

    def receive(self, node: int, kind: MessageClass, word: int, cycle: int) -> None:
        flit = self.shape.from_bits(word)
        opened = self._open[node, kind]
        if opened is None:
            assert flit.first, f"node {node} {kind.name}: a packet starts in its middle"
            source = flit.header.src
            queue = self.expected[source, kind, node]
            assert queue, f"node {node} {kind.name}: unexpected packet {number_of(flit)} from {source}"
            packet, index = queue[0], 0
            assert number_of(flit, packet.source) == packet.number, "out of order"
            assert flit.header.dest == 1 << node, "dest is reduced to this node"
            assert flit.header.flits == packet.flits
        else:
            packet, index = opened
            assert not flit.first
        assert flit.data == payload_of(packet.number, index), f"node {node}: flits of packets are mixed"
        assert flit.last == (index == packet.flits - 1)
        self.arrivals[node, kind].append(cycle)
        self._open[node, kind] = None if flit.last else (packet, index + 1)
        if flit.last:
            self.expected[packet.source, kind, node].popleft()
            self.finished_at[packet.number, node] = cycle
            self.missing -= 1

    def run(self, limit: int, send_rate: float = 1.0, ready_rate: float = 1.0, phase: int = 0) -> int:
        """Cycles until all has arrived; fails after ``limit``. With ``phase``, rates change every so many cycles."""

        async def testbench(ctx) -> None:
            offered = 0
            lanes = range(len(self.lanes))
            pending = [self.to_send[lane] for lane in self.lanes]
            shown = [None] * len(self.lanes)
            rates = [(send_rate, ready_rate)] * len(self.lanes)
            ctx.set(self.mesh.running, 1)
            for cycle in range(limit):
                if phase and cycle % phase == 0:
                    choices = (0.0, 0.1, 0.5, 1.0, 1.0)
                    rates = [(self.rng.choice(choices), self.rng.choice(choices)) for _ in lanes]
                    rates[self.rng.randrange(len(rates))] = (1.0, 1.0)
                ready = 0
                for lane in lanes:
                    send, take = rates[lane]
                    if pending[lane] and not offered >> lane & 1 and self.rng.random() < send:
                        offered |= 1 << lane
                    if offered >> lane & 1 and shown[lane] != pending[lane][0]:
                        ctx.set(self.send_payloads[lane], pending[lane][0])
                        shown[lane] = pending[lane][0]
                    ready |= (self.rng.random() < take) << lane
                ctx.set(Cat(self.offer, self.ready), offered | ready << len(self.lanes))
                taken, given = ctx.get(self.taken), ctx.get(self.given)
                for lane in lanes:
                    if taken >> lane & 1:
                        pending[lane].popleft()
                        self.sends[self.lanes[lane]].append(cycle)
                        offered &= ~(1 << lane)
                    if given >> lane & 1:
                        self.receive(*self.lanes[lane], ctx.get(self.receive_payloads[lane]), cycle)
                if not self.missing:
                    self.cycles = cycle
                    await ctx.tick().repeat(8)
                    assert not ctx.get(self.given), "more arrives than was sent"
                    await self._check_crossings(ctx)
                    return
                await ctx.tick()
            raise AssertionError(f"{self.missing} deliveries missing after {limit} cycles")

        simulate(self.m, testbench)
        return self.cycles

    async def _check_crossings(self, ctx) -> None:
        """Each link saw the flits of each packet that needs it exactly once."""
        for port in Direction:
            ctx.set(self.mesh.counter_index, int(RouterCounter(port)))
            await ctx.tick()
            for core in range(self.chip.n_cores):
                link = Link(*self.chip.position(core), port)
                assert ctx.get(self.mesh.counter_value[core]) == self.crossings[link], link


def random_packets(chip: ChipParams, count: int, seed: int) -> list[Packet]:
    """Traffic of all sorts: unicast and multicast, both classes, cores and memory nodes on both ends."""
    rng = random.Random(seed)
    packets = []
    for number in range(count):
        source = rng.randrange(chip.n_nodes)
        kind = rng.choice(list(MessageClass))
        cores = range(chip.n_cores)
        if rng.random() < 0.5:
            dests = frozenset(rng.sample(cores, rng.randint(1, chip.n_cores)))
        else:
            dests = frozenset({rng.choice([n for n in range(chip.n_nodes) if n < chip.n_cores or n != source])})
        flits = rng.choice([1, 1, 2, rng.randint(1, chip.max_packet_flits), chip.max_packet_flits])
        packets.append(Packet(number, source, kind, dests, flits))
    return packets


@pytest.mark.parametrize(
    ("shape", "vcs_per_class", "packets", "seed"),
    [
        ((1, 1, 1), 1, 60, 0),
        ((1, 1, 3), 2, 60, 1),
        ((2, 2, 2), 1, 80, 2),
        ((2, 2, 2), 1, 80, 3),
        ((2, 2, 3), 2, 80, 4),
        ((3, 2, 3), 1, 80, 5),
        ((3, 2, 3), 2, 60, 6),
        ((4, 4, 5), 1, 80, 7),
    ],
    ids=lambda p: "x".join(map(str, p)) if isinstance(p, tuple) else str(p),
)
def test_random_traffic_arrives_once_whole_and_in_order(shape, vcs_per_class, packets, seed) -> None:
    chip = small_chip(*shape, vcs_per_class=vcs_per_class)
    MeshBench(chip, random_packets(chip, packets, seed), seed).run(6000, phase=100)


def test_crossing_multicasts_under_pressure_do_not_deadlock() -> None:
    chip = default_chip(4, link_bytes=4, max_packet_flits=8, vc_depth=8)
    everyone = frozenset(range(4))
    packets = [Packet(n, 4 + n % 2, MessageClass.RESPONSE, everyone, 8) for n in range(60)]
    packets += [Packet(100 + n, n % 4, MessageClass.REQUEST, everyone, 1 + n % 8) for n in range(40)]
    MeshBench(chip, packets, 5).run(4000, ready_rate=0.4)


def test_long_multicasts_in_two_channels_do_not_wait_for_each_other_at_two_ports() -> None:
    """With ports that stop packets longer than their buffers, this traffic came to a stop."""
    chip = ChipParams(
        mesh_width=2,
        mesh_height=1,
        cores=(CoreParams(),) * 2,
        memory_nodes=(MemoryNodeParams(0, 0, Direction.WEST), MemoryNodeParams(1, 0, Direction.EAST)),
        link_bytes=4,
        vcs_per_class=2,
        vc_depth=32,
        max_packet_flits=32,
    )
    rng = random.Random(0)
    packets = []
    for number in range(60):
        dests = rng.choice([{0}, {1}, {0, 1}, {0, 1}])
        flits = rng.choice([1, 4, 32, 32])
        packets.append(Packet(number, rng.choice([2, 3]), MessageClass.RESPONSE, frozenset(dests), flits))
    MeshBench(chip, packets).run(2000)


def test_a_multicast_is_not_starved_by_unicast_traffic() -> None:
    chip = default_chip(4, link_bytes=4, max_packet_flits=8, vc_depth=8)
    # Memory node 5 keeps core 0's and core 1's ports busy with unicasts; node 4 multicasts to all.
    packets = [Packet(n, 5, MessageClass.RESPONSE, frozenset({n % 2}), 8) for n in range(60)]
    packets += [Packet(100, 4, MessageClass.RESPONSE, frozenset(range(4)), 8)]
    bench = MeshBench(chip, packets)
    bench.run(1000)
    assert all(bench.finished_at[100, core] < 60 for core in range(4))


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 2)], ids=lambda p: "x".join(map(str, p)))
def test_progress_is_seen_while_a_flit_is_on_a_link_out_of_any_router(shape) -> None:
    """One packet at a time, so that all is known: a router's outgoing link two cycles behind the one into it."""
    chip = small_chip(*shape)
    routes = [(source, dest) for source in range(chip.n_nodes) for dest in range(chip.n_cores)]

    async def testbench(ctx) -> None:
        ctx.set(Cat(stream.ready for stream in mesh.receive_request), -1)
        for number, (source, dest) in enumerate(routes):
            flits = 1 + number % 3
            words = packet_words(chip, number, flits, 1 << dest, source)
            seen = set()
            for cycle in range(2 * hops(chip, source, dest) + flits + 4):
                ctx.set(mesh.send_request[source].valid, cycle < flits)
                if cycle < flits:
                    ctx.set(mesh.send_request[source].payload.as_value(), words[cycle])
                if ctx.get(mesh.progress):
                    seen.add(cycle)
                await ctx.tick()
            routers = range(1, hops(chip, source, dest) + 1)
            assert seen == {1 + 2 * router + flit for router in routers for flit in range(flits)}, (source, dest)

    mesh = Mesh(chip=chip)
    simulate(mesh, testbench)


@pytest.mark.parametrize("multicast", [False, True], ids=["unicast", "multicast"])
@pytest.mark.parametrize("vc_depth", [16, 19])
def test_packets_flow_back_to_back(multicast: bool, vc_depth: int) -> None:
    chip = default_chip(4, link_bytes=4, max_packet_flits=8, vc_depth=vc_depth)
    dests = frozenset(range(4)) if multicast else frozenset({3})
    packets = [Packet(n, 4, MessageClass.RESPONSE, dests, 8) for n in range(20)]
    bench = MeshBench(chip, packets)
    bench.run(400)
    for core in dests:
        latency = 2 + 2 * hops(chip, 4, core)
        assert bench.arrivals[core, MessageClass.RESPONSE] == [latency + n for n in range(160)]


def test_the_two_classes_share_a_link_fairly() -> None:
    chip = default_chip(4, link_bytes=4, max_packet_flits=8, vc_depth=16)
    packets = [Packet(n, 0, MessageClass(n % 2), frozenset({1}), 8) for n in range(40)]
    bench = MeshBench(chip, packets)
    assert bench.run(500) < 320 + 10
    sends = bench.sends
    assert abs(sends[0, MessageClass.REQUEST][80] - sends[0, MessageClass.RESPONSE][80]) <= 2
