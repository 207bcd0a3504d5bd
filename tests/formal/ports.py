"""Proofs of the network port: credits, turns, and packets kept whole."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream

from rtl.core.interface import Outbound
from rtl.noc.flit import flit_layout
from rtl.noc.port import NetworkPort, receive_depth
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

CREDITS = "credits and flits at the receiver add up to its buffer"
WITHIN = "the receiver never holds more flits than it has room for"
PASSED_ON = "a taken flit, and nothing else, is on the link in the next cycle, in its channel"
TURNS = "a class that could send is passed over once at most"
TAKEN = "a credit goes back for each flit taken, when it is taken"
NO_OVERFLOW = "a flit never finds its queue full"
WHOLE = "packets are never mixed"
STAYS = "an offered flit stays"
FROM_SOURCE = "what comes out is what a source offers, and is taken from that source alone"


def send(vcs_per_class: int) -> Harness:
    """Queues of 8 flits behind the link; the receiver gives back what it holds; payload of 2 bits."""
    h = Harness()
    chip = small_chip(2, 1, 1, vcs_per_class=vcs_per_class)
    dut = NetworkPort(chip=chip)
    inside = Inside(h.m, "dut", dut)
    streams = [dut.send_request, dut.send_response]
    source = h.constant(1, "source")
    h.m.d.comb += dut.source.eq(source)
    for one in streams:
        h.drive(one.valid)
        h.m.d.comb += one.payload.data.eq(h.free(2, "payload"))
    link = dut.link_out
    for kind, one in enumerate(streams):
        channel = Cat(kind, source) if vcs_per_class > 1 else kind
        arriving = link.valid & (link.vc == channel)
        back = h.free(1, f"back_{kind}")
        for v in range(kind, chip.n_vcs, 2):
            h.m.d.comb += link.credit[v].eq(back & (channel == v))
        held = Signal(range(2 * chip.vc_depth), name=f"held_{kind}")
        h.assume(~back | (held != 0))
        h.m.d.sync += held.eq(held + arriving - back)
        credits = inside.signal(f"credits_{kind}")
        h.always(CREDITS, credits + held + arriving == chip.vc_depth)
        h.always(WITHIN, held + arriving <= chip.vc_depth)
        go = one.valid & one.ready
        went = h.past(go, f"went_{kind}")
        payload = h.past(one.payload.data[:2], f"payload_{kind}")
        h.always(PASSED_ON, ~went | (link.valid & (link.vc == channel) & (link.flit.data == payload)))
        h.always(PASSED_ON, went | ~arriving)
        other = streams[1 - kind]
        passed = Signal(2, name=f"passed_{kind}")
        could = one.valid & (held + arriving != chip.vc_depth)
        h.m.d.sync += passed.eq(Mux(could & ~go & (passed != 3), passed + 1, 0))
        h.always(TURNS, ~could | go | (passed == 0))
        h.invariant(passed <= 1)
        h.invariant(~((passed != 0) & (inside.signal("leader") != kind)))
        h.cover(f"class {kind} runs out of credits", one.valid & (held == chip.vc_depth))
        h.cover(f"class {kind} waits for the other", could & ~go & other.valid & other.ready)
    return h


def receive(vcs_per_class: int) -> Harness:
    """Queues of 8 flits; a sender that obeys credits; payload of 1 bit beside first and last."""
    h = Harness()
    chip = small_chip(2, 1, 1, vcs_per_class=vcs_per_class)
    depth = receive_depth(chip)
    dut = NetworkPort(chip=chip)
    inside = Inside(h.m, "dut", dut)
    link = dut.link_in
    h.drive(link.valid, link.vc, dut.receive_request.ready, dut.receive_response.ready)
    h.m.d.comb += link.flit.last.eq(h.free(1, "last"))
    for kind, sink in enumerate([dut.receive_request, dut.receive_response]):
        took = h.past(sink.valid & sink.ready, f"took_{kind}")
        given = Cat(link.credit[v] for v in range(kind, chip.n_vcs, 2))
        h.always(TAKEN, sum(given[i] for i in range(len(given))) == took)
    for v in range(chip.n_vcs):
        room = Signal(range(2 * depth), init=depth, name=f"room_{v}")
        arriving = link.valid & (link.vc == v)
        h.assume(~arriving | (room != 0))
        h.m.d.sync += room.eq(room - arriving + link.credit[v])
        level = Signal(range(2 * depth), name=f"level_{v}")
        write_at, read_at = inside.signal("write_at", f"queue_{v}"), inside.signal("read_at", f"queue_{v}")
        h.m.d.comb += level.eq((write_at - read_at)[: len(write_at)])
        h.always(NO_OVERFLOW, (level <= depth) & ~(arriving & (level == depth)))
        h.invariant(room + level + link.credit[v] == depth)
    h.cover("a queue fills up", level == depth)
    return h


def merge() -> Harness:
    """Two streams of whole packets of any length; payload of 2 bits."""
    h = Harness()
    chip = small_chip(2, 1, 1, vcs_per_class=2)
    flits = stream.Signature(flit_layout(chip))
    sources = [flits.create(path=(f"source{i}",)) for i in range(2)]
    sink = flits.create(path=("sink",))
    merged = Module()
    NetworkPort._merge(merged, sources, sink, "merged")
    inside = Inside(h.m, "dut", merged)
    locked, current = inside.signal("merged_locked"), inside.signal("merged_current")
    _whole_packets(h, sources, sink, locked, 1 << current)
    return h


def outbound() -> Harness:
    """Three sources of whole packets of any length; payload of 2 bits."""
    h = Harness()
    chip = small_chip(2, 1, 1)
    dut = Outbound(chip=chip, n_sources=3)
    inside = Inside(h.m, "dut", dut)
    _whole_packets(h, list(dut.i), dut.o, inside.signal("locked"), inside.signal("held"))
    return h


def _whole_packets(h: Harness, sources: list, sink: Any, locked: Signal, held: Value) -> None:
    """Properties of whatever merges streams packet by packet; while ``locked`` it serves source ``held``."""
    m = h.m
    inputs = [h.free(4, f"input{i}") for i in range(len(sources))]
    m.d.comb += sink.ready.eq(h.free(1, "ready"))
    taken, was = [], []
    open_source = [Signal(name=f"open_{i}") for i in range(len(sources))]
    for i, (source, given) in enumerate(zip(sources, inputs, strict=True)):
        payload = source.payload
        m.d.comb += [source.valid.eq(given[0]), payload.last.eq(given[1]), payload.data.eq(given[2:])]
        m.d.comb += payload.first.eq(~open_source[i])
        go = source.valid & source.ready
        taken.append(go)
        with m.If(go):
            m.d.sync += open_source[i].eq(~payload.last)
        waited = h.past(source.valid & ~source.ready, f"waited_{i}")
        was.append(waited)
        before = h.past(given, f"before_{i}")
        h.assume(~waited | (given == before))
    go = sink.valid & sink.ready
    inside_packet, owner = Signal(), Signal(len(sources))
    with m.If(go):
        m.d.sync += [inside_packet.eq(~sink.payload.last), owner.eq(Cat(taken))]
    h.always(WHOLE, ~go | ((sink.payload.first == ~inside_packet) & (~inside_packet | (Cat(taken) == owner))))
    out = Cat(sink.payload.first, sink.payload.last, sink.payload.data[:2])
    waited, before = h.past(sink.valid & ~sink.ready, "sink_waited"), h.past(out, "sink_before")
    h.always(STAYS, ~waited | (sink.valid & (out == before)))
    count = sum(taken)
    same = Cat(
        one & (Cat(source.payload.first, source.payload.last, source.payload.data[:2]) == out)
        for one, source in zip(taken, sources, strict=True)
    )
    h.always(FROM_SOURCE, (count == go) & (~go | same.any()))
    for i, one in enumerate(open_source):
        h.invariant(one == (inside_packet & owner[i]))
    h.invariant(~inside_packet | ((owner != 0) & locked & (held == owner)))
    h.invariant(~locked | ((held != 0) & ((held & (held - 1)[: len(sources)]) == 0)))
    h.invariant(~waited | (locked & (Cat(was) & held).any()))
    h.invariant(~locked | inside_packet | waited)
    h.invariant((owner & (owner - 1)[: len(owner)]) == 0)
    h.cover("a packet waits in the middle of another", inside_packet & ~owner[0] & sources[0].valid & go)
    h.cover("a second packet follows at once", h.past(go & sink.payload.last, "ended") & go & sink.payload.first)


def _port(old: str, new: str) -> Bug:
    return Bug("rtl.noc.port", old, new)


def _outbound(old: str, new: str) -> Bug:
    return Bug("rtl.core.interface", old, new)


_SEND_BUGS = {
    CREDITS: [_port("with m.If(go ^ back):", "with m.If(go | back):")],
    WITHIN: [_port("source.valid & (credits != 0)", "source.valid")],
    PASSED_ON: [_port("m.d.sync += flit.eq(source.payload)", "m.d.sync += flit.eq(streams[0].payload)")],
    TURNS: [_port("m.d.sync += leader.eq(~leader)", "m.d.sync += leader.eq(0)")],
}
_RECEIVE_BUGS = {
    TAKEN: [_port("link.credit[v].eq(queue.o.valid & queue.o.ready)", "link.credit[v].eq(queue.o.valid)")],
    NO_OVERFLOW: [_port("queue.o.valid & queue.o.ready", "queue.o.ready")],
}
PROOFS = [
    *(
        Proof(f"NetworkPort sends, {n} channels a class", lambda n=n: send(n), 2, _SEND_BUGS, bug_steps=13, quick=False)
        for n in (1, 2)
    ),
    *(
        Proof(
            f"NetworkPort receives, {n} channels a class",
            lambda n=n: receive(n),
            1,
            _RECEIVE_BUGS,
            bug_steps=13,
            quick=False,
        )
        for n in (1, 2)
    ),
    Proof(
        "NetworkPort merges channels",
        merge,
        2,
        {
            WHOLE: [_port("done = sink.ready & sink.payload.last", "done = sink.ready")],
            STAYS: [_port("current.eq(choice ^ done)", "current.eq(~choice)")],
            FROM_SOURCE: [_port("first.ready.eq(sink.ready & ~choice)", "first.ready.eq(sink.ready)")],
        },
    ),
    Proof(
        "Outbound, 3 sources",
        outbound,
        2,
        {
            WHOLE: [_outbound("(self.o.ready & self.o.payload.last)", "self.o.ready")],
            STAYS: [
                _outbound(
                    "locked.eq(~(self.o.ready & self.o.payload.last))", "locked.eq(self.o.ready & ~self.o.payload.last)"
                )
            ],
            FROM_SOURCE: [_outbound("source.ready.eq(self.o.ready)", "source.ready.eq(1)")],
        },
    ),
]
