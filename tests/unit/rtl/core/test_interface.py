"""`Inbound` against what the packets say, every output in every cycle; `Outbound` against the packets that went in."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from amaranth.hdl import Cat
from amaranth.utils import exact_log2

from rtl.contract.isa import PARAM_FLITS, Space
from rtl.contract.params import CoreParams, default_chip
from rtl.contract.regs import ErrorCode
from rtl.core.fetch import UNIT_SHIFT
from rtl.core.interface import Inbound, Outbound
from rtl.noc.flit import Kind, flit_layout
from tests.unit.rtl.core.core_models import packet_flits, packets_of
from tests.unit.rtl.drivers import Sink, send, simulate
from tests.unit.rtl.noc.noc_models import header_of

CORE = CoreParams(rows=16, cols=4, act_bytes=2048, weight_bytes=1024, acc_entries=32, param_blocks=4)
RANGE_ERRORS = {
    Space.ACT: ErrorCode.ACT_RANGE,
    Space.WEIGHT: ErrorCode.WEIGHT_RANGE,
    Space.PARAM: ErrorCode.PARAM_RANGE,
}


@dataclass(frozen=True)
class Arrival:
    """A flit, and what its packet's header means for it."""

    flit: Any
    word: int
    header: dict[str, int]
    addr: int
    first: bool
    last: bool

    @property
    def space(self) -> Space | None:
        return Space(self.header["space"]) if self.header["kind"] == Kind.DATA else None

    @property
    def token(self) -> int | None:
        """Counts when the flit is taken."""
        kind = self.header["kind"]
        counts = kind == Kind.SIGNAL or (kind == Kind.DATA and self.header["token_valid"])
        return self.header["token"] if counts and self.last else None


class InboundBench:
    """Sends packets on both sides; knows what `Inbound` must do in every cycle."""

    def __init__(self, link_bytes: int, rng: random.Random) -> None:
        self.chip = replace(default_chip(4, CORE), link_bytes=link_bytes)
        self.dut = Inbound(core=CORE, chip=self.chip)
        self.rng = rng
        self.layout = flit_layout(self.chip)
        self.sizes = {
            Space.ACT: CORE.act_bytes // link_bytes,
            Space.WEIGHT: CORE.weight_bytes // link_bytes,
            Space.PARAM: PARAM_FLITS * CORE.param_blocks,
        }
        self.left: list[list[Arrival]] = [[], []]
        self.offered: list[Arrival | None] = [None, None]
        self.error = 0
        self.tokens = 0

    def packet(self, side: int, *, inside: bool) -> list[Arrival]:
        """Any packet, of whatever length: what is no DATA is written nowhere. Programs come as responses only."""
        rng, link_bytes = self.rng, self.chip.link_bytes
        header = header_of(rng.getrandbits(16))
        header["lanes"] = rng.choice([link_bytes, rng.randint(1, link_bytes)])
        header["lane_offset"] = rng.randrange(link_bytes - header["lanes"] + 1)
        if rng.random() < 0.7:
            header["kind"] = Kind.DATA
        if side == 1 and header["space"] == Space.PROGRAM:
            header["space"] = rng.choice(list(self.sizes))
        step = CORE.act_groups(link_bytes) if header["planar"] else 1
        flits = rng.randint(1, 6)
        size = self.sizes.get(Space(header["space"]))
        if header["kind"] == Kind.DATA and size is not None:
            flits = min(flits, (size - 1) // step + 1)
            behind = size - step * (flits - 1)
            header["addr"] = rng.choice([0, behind - 1, rng.randrange(behind)])
            if not inside and rng.random() < 0.3:
                header["addr"] = rng.choice([header["addr"] ^ 1 << rng.randrange(32), -rng.randint(1, 6) % (1 << 32)])
        elif header["kind"] == Kind.DATA:
            header["addr"] = rng.randrange(3) << UNIT_SHIFT
        return [
            self._arrival(header, header["addr"] + index * step, index == 0, index == flits - 1)
            for index in range(flits)
        ]

    def _arrival(self, header: dict[str, int], addr: int, first: bool, last: bool) -> Arrival:
        """Header wires beside a later flit carry rubbish."""
        word = self.rng.getrandbits(8 * self.chip.link_bytes)
        shown = header if first else header_of(self.rng.getrandbits(16))
        flit = self.layout.const({"data": word, "first": first, "last": last, "header": shown})
        return Arrival(flit, word, header, addr % (1 << 32), first, last)

    def _fits(self, arrival: Arrival) -> bool:
        return arrival.space not in self.sizes or arrival.addr < self.sizes[arrival.space]

    async def cycle(self, ctx: Any, rate: float) -> None:
        dut, rng = self.dut, self.rng
        for side, port in enumerate((dut.response, dut.request)):
            if self.offered[side] is None and self.left[side] and rng.random() < rate:
                self.offered[side] = self.left[side].pop(0)
            arrival = self.offered[side]
            ctx.set(port.valid, arrival is not None)
            rubbish = self._arrival(
                header_of(rng.getrandbits(16)), 0, bool(rng.getrandbits(1)), bool(rng.getrandbits(1))
            )
            ctx.set(port.payload, (arrival or rubbish).flit)
        queue_ready = rng.random() < 0.7
        ctx.set(dut.program.ready, queue_ready)
        memories = [(port.valid, port.addr, port.data, port.mask) for port in (dut.act, dut.weight)]
        memories.append((dut.param_valid, dut.param_addr, dut.param_data, dut.param_mask))
        counters = [(port.valid, port.token) for port in dut.increments]
        watched = (dut.response.ready, dut.request.ready, dut.ack, dut.error, dut.program.valid, dut.program.payload)
        _, _, *seen = await ctx.tick().sample(*watched, *(wire for wires in memories + counters for wire in wires))
        response_ready, request_ready, ack, error, program, instructions = seen[:6]

        response, request = self.offered
        spaces = [None if arrival is None else arrival.space for arrival in self.offered]
        waits = spaces[0] in self.sizes and spaces[0] == spaces[1]
        ready = [spaces[0] != Space.PROGRAM or queue_ready, not waits]
        assert [response_ready, request_ready] == ready
        assert error == self.error
        assert ack == (response is not None and response.first and response.header["kind"] == Kind.ACK)
        assert program == (spaces[0] == Space.PROGRAM)
        if program and response is not None:
            assert (instructions.unit, instructions.data) == (response.addr >> UNIT_SHIFT, response.word)
        for index, space in enumerate(self.sizes):
            valid, addr, word, mask = seen[6 + 4 * index :][:4]
            arrival = response if spaces[0] == space else request if spaces[1] == space else None
            written = arrival is not None and self._fits(arrival)
            assert valid == written, space.name
            if arrival is not None and written:
                lanes = (1 << arrival.header["lanes"]) - 1 << arrival.header["lane_offset"]
                assert (addr, word, mask) == (arrival.addr, arrival.word, lanes)
            assert written or space != Space.PARAM or not mask
        for side, arrival in enumerate(self.offered):
            valid, token = seen[18 + 2 * side :][:2]
            counted = None if arrival is None or not ready[side] else arrival.token
            assert (token if valid else None) == counted
            self.tokens += valid
            if arrival is not None and ready[side]:
                self.offered[side] = None
        for arrival in (response, request):
            if arrival is not None and not self._fits(arrival) and not self.error:
                self.error = RANGE_ERRORS[Space(arrival.header["space"])]


@pytest.mark.parametrize("link_bytes", [4, 16, 64])
@pytest.mark.parametrize("seed", range(4), ids=lambda s: f"seed{s}")
def test_every_cycle_is_as_the_headers_say(link_bytes: int, seed: int) -> None:
    """Random packets on both sides, each with its own gaps; in the end also some that lie outside their memory."""
    bench = InboundBench(link_bytes, random.Random(10 * link_bytes + seed))
    rate = (1.0, 0.9, 0.6, 0.3)[seed]

    async def run(ctx: Any) -> None:
        for inside in (True, False):
            bench.left = [
                [arrival for _ in range(40) for arrival in bench.packet(side, inside=inside)] for side in range(2)
            ]
            while any(bench.left) or any(bench.offered):
                await bench.cycle(ctx, rate)
        await bench.cycle(ctx, rate)

    simulate(bench.dut, run)
    assert bench.error
    assert bench.tokens


def test_response_goes_first_and_other_memories_do_not_clash() -> None:
    chip = default_chip(4, CORE)
    dut = Inbound(core=CORE, chip=chip)

    def data(space: Space, addr: int) -> Any:
        return packet_flits(chip, {"kind": Kind.DATA, "space": space, "addr": addr, "lanes": 16}, [addr])[0]

    async def bench(ctx) -> None:
        for port, addr in ((dut.response, 1), (dut.request, 2)):
            ctx.set(port.valid, 1)
            ctx.set(port.payload, data(Space.ACT, addr))
        assert ctx.get(dut.response.ready)
        assert not ctx.get(dut.request.ready)
        assert ctx.get(dut.act.valid)
        assert ctx.get(dut.act.addr) == 1
        ctx.set(dut.request.payload, data(Space.WEIGHT, 3))
        assert ctx.get(dut.response.ready)
        assert ctx.get(dut.request.ready)
        assert ctx.get(dut.act.addr) == 1
        assert ctx.get(dut.weight.addr) == 3

    simulate(dut, bench)


@pytest.mark.parametrize("side", ["response", "request"])
@pytest.mark.parametrize(
    ("space", "flits", "code"),
    [
        (Space.ACT, 128, ErrorCode.ACT_RANGE),
        (Space.WEIGHT, 64, ErrorCode.WEIGHT_RANGE),
        (Space.PARAM, 32, ErrorCode.PARAM_RANGE),
    ],
)
def test_a_flit_beyond_its_memory_is_not_written(side: str, space: Space, flits: int, code: ErrorCode) -> None:
    chip = default_chip(4, CORE)
    dut = Inbound(core=CORE, chip=chip)
    port = getattr(dut, side)
    written = {Space.ACT: dut.act.valid, Space.WEIGHT: dut.weight.valid, Space.PARAM: dut.param_valid}[space]
    header = {"kind": Kind.DATA, "space": space, "addr": flits - 1, "lanes": 16}

    async def bench(ctx) -> None:
        ctx.set(port.valid, 1)
        for index, flit in enumerate(packet_flits(chip, header, [1, 2])):
            ctx.set(port.payload, flit)
            assert ctx.get(written) == (index == 0)
            assert ctx.get(dut.error) == 0
            assert ctx.get(port.ready)
            await ctx.tick()
        assert ctx.get(dut.error) == code
        for bit in range(exact_log2(flits), 32):
            ctx.set(port.payload, packet_flits(chip, header | {"addr": 1 << bit}, [1])[0])
            assert not ctx.get(written), f"addr[{bit}]"

    simulate(dut, bench)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(2), ids=lambda s: f"seed{s}")
def test_packets_leave_whole(stall: float, seed: int) -> None:
    rng = random.Random(seed)
    chip = default_chip(4, CORE)
    dut = Outbound(chip=chip, n_sources=4)
    bits = 8 * chip.link_bytes
    packets = [  # of each source, its number in the lowest two bits of each payload
        [
            packet_flits(
                chip,
                {"dest": rng.getrandbits(chip.n_nodes), **header_of(rng.getrandbits(16))},
                [rng.getrandbits(bits) & ~3 | index for _ in range(rng.randint(1, 5))],
            )
            for _ in range(25)
        ]
        for index in range(4)
    ]
    sink = Sink(dut.o, rng, stall)

    def feed(index: int) -> Any:
        async def bench(ctx) -> None:
            for number, flits in enumerate(packets[index]):
                await send(ctx, dut.i[index], flits, random.Random(4 * number + index), 0.5)
            await ctx.tick().repeat(5)

        return bench

    async def watch(ctx) -> None:
        """The lowest source that offers goes first, and keeps the way to the end of its packet."""
        held: int | None = None
        valids, readies = Cat(s.valid for s in dut.i), Cat(s.ready for s in dut.i)
        watched = ctx.tick().sample(valids, readies, dut.o.valid, dut.o.ready, dut.o.payload.last)
        async for _, _, valid, ready, o_valid, o_ready, last in watched:
            lowest = (valid & -valid).bit_length() - 1 if valid else None
            choice = lowest if held is None else held
            assert o_valid == (choice is not None and valid >> choice & 1)
            assert ready == (0 if choice is None else o_ready << choice)
            if o_valid:
                held = None if o_ready and last else choice

    simulate(dut, *(feed(i) for i in range(4)), background=[sink.run, watch])
    out = [flit for _, flit in sink.words]
    assert len(packets_of(out)) == 100
    for index in range(4):
        mine = [flit.as_bits() for flit in out if flit.data & 3 == index]
        assert mine == [flit.as_bits() for packet in packets[index] for flit in packet]


def test_the_lowest_source_waits_for_one_packet_at_most() -> None:
    chip = default_chip(4, CORE)
    dut = Outbound(chip=chip, n_sources=2)
    long = packet_flits(chip, {}, list(range(6)))

    async def bench(ctx) -> None:
        ctx.set(dut.i[1].valid, 1)
        ctx.set(dut.o.ready, 1)
        for index, flit in enumerate(long):
            ctx.set(dut.i[1].payload, flit)
            if index == 1:
                ctx.set(dut.i[0].valid, 1)
                ctx.set(dut.i[0].payload, packet_flits(chip, {}, [99])[0])
            assert ctx.get(dut.o.payload).data == index
            assert not ctx.get(dut.i[0].ready)
            await ctx.tick()
        ctx.set(dut.i[1].payload, long[0])
        assert ctx.get(dut.o.payload).data == 99

    simulate(dut, bench)
