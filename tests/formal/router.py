"""Bounded proof of a whole router: real buffers and allocators, from its links in to its links out."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Mux, Signal, Value

from rtl.contract.params import ChipParams, Direction
from rtl.noc.router import Router
from tests.formal.harness import Harness, follow
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

IN_ORDER = "flits of an input and channel come to each of their outputs once, in order and unchanged"
NOT_LOST = "a slot is given back only when its flit is on all of its outputs"
WHOLE = "packets on a link are whole within their channel"
CREDITS = "credits go back for flits that came, and no more flits leave than credits allow"

DEPTH = 2
PACKET = 2
REACH = {Direction.LOCAL: 0b0001, Direction.EAST: 0b0110, Direction.WEST: 0b1000}


def _chip() -> ChipParams:
    chip = small_chip(3, 1, 1)  # four nodes
    object.__setattr__(chip, "vc_depth", DEPTH)  # fewer than a chip may have, to keep the proof small
    return chip


def _chosen(port: Value, values: dict[Direction, Value]) -> Value:
    chosen = Const(0)
    for p, value in values.items():
        chosen = Mux(port == p, value, chosen)
    return chosen


def router() -> Harness:
    """Three ports, two channels, packets of 1 and 2 flits, queues of 2 at the router and behind it."""
    h = Harness()
    m = h.m
    chip = _chip()
    m.submodules.dut = dut = Router(chip=chip)
    m.d.comb += dut.sink.eq(1 << Direction.LOCAL)
    for port, reach in REACH.items():
        m.d.comb += [dut.reach[port].eq(reach), dut.capacity[port].eq(DEPTH)]
    # One flit is followed, any one, from any input to any of its outputs.
    start, end, channel = h.constant(3, "start"), h.constant(3, "end"), h.constant(1, "channel")
    inputs = {p: _send(h, dut, p, end, channel) for p in REACH}
    outputs = {p: _receive(h, dut, p, start, channel) for p in REACH}
    push, sent, stored = (_chosen(start, {p: values[n] for p, values in inputs.items()}) for n in range(3))
    pop, came = (_chosen(end, {p: values[n] for p, values in outputs.items()}) for n in range(2))
    level = Signal(3)
    m.d.sync += level.eq(level + push - pop)
    followed, word, ahead = follow(h, "flit", push=push, payload=sent, pop=pop, level=level)
    leaves = followed & (ahead == 0) & pop
    h.always(IN_ORDER, (~pop | (level != 0)) & (~leaves | (came == word)))
    h.always(NOT_LOST, level <= stored)
    h.cover("a followed flit leaves behind another", leaves & h.past(followed & (ahead == 1) & pop, "second"))
    h.cover("all three links at once", Cat(dut.o[p].valid for p in REACH).all())
    return h


def _send(h: Harness, dut: Router, p: Direction, end: Value, channel: Value) -> tuple[Value, Value, Value]:
    """Drives an input with packets in both channels, within credits.

    Result: whether a flit of the ``channel`` to output ``end`` comes; it; and how many of the channel are stored.
    """
    m, link, flit = h.m, dut.i[p], dut.i[p].flit
    valid, vc, data = h.free(1, f"valid_{p.name}"), h.free(1, f"vc_{p.name}"), h.free(1, f"data_{p.name}")
    dest, flits = h.free(4, f"dest_{p.name}"), h.free(2, f"flits_{p.name}")
    busy = Array(Signal(name=f"busy_{p.name}_{v}") for v in range(2))
    kept = Array(Signal(4, name=f"kept_{p.name}_{v}") for v in range(2))
    room = Array(Signal(range(2 * DEPTH), name=f"room_{p.name}_{v}", init=DEPTH) for v in range(2))
    to = Signal(4, name=f"to_{p.name}")
    own = 0 if p == Direction.LOCAL else REACH[p]
    m.d.comb += [
        link.valid.eq(valid),
        link.vc.eq(vc),
        flit.first.eq(~busy[vc]),
        flit.last.eq(busy[vc] | (flits == 1)),
        flit.header.dest.eq(dest),
        flit.header.flits.eq(flits),
        flit.data.eq(Cat(Const(p, 3), data)),
        to.eq(Mux(busy[vc], kept[vc], dest & ~own)),
    ]
    h.assume((flits >= 1) & (flits <= PACKET))
    h.assume(~valid | (room[vc] != 0))
    for v in range(2):
        arrives = valid & (vc == v)
        m.d.sync += room[v].eq(room[v] - arrives + link.credit[v])
        h.always(CREDITS, room[v] + link.credit[v] - arrives <= DEPTH)
        with m.If(arrives):
            m.d.sync += [busy[v].eq(~flit.last), kept[v].eq(to)]
    behind = _chosen(end, {o: Const(reach, 4) for o, reach in REACH.items()})
    push = valid & (vc == channel) & ((to & behind) != 0)
    return push, Cat(flit.first, flit.last, data, Mux(flit.first, dest & behind, 0)), DEPTH - room[channel]


def _receive(h: Harness, dut: Router, p: Direction, start: Value, channel: Value) -> tuple[Value, Value]:
    """Takes flits at an output and gives credits back at any time.

    Result: whether a flit of the ``channel`` from input ``start`` comes, and it.
    """
    m, link, flit = h.m, dut.o[p], dut.o[p].flit
    source = flit.data[:3]
    back = h.free(2, f"back_{p.name}")
    m.d.comb += link.credit.eq(back)
    for v in range(2):
        busy, owner = Signal(name=f"out_{p.name}_{v}"), Signal(3, name=f"owner_{p.name}_{v}")
        leaves = link.valid & (link.vc == v)
        with m.If(leaves):
            m.d.sync += [busy.eq(~flit.last), owner.eq(source)]
        h.always(WHOLE, ~leaves | ((flit.first == ~busy) & (~busy | (source == owner))))
        held = Signal(range(2 * DEPTH), name=f"held_{p.name}_{v}")
        h.assume(~back[v] | (held != 0))
        m.d.sync += held.eq(held + leaves - back[v])
        h.always(CREDITS, held + leaves <= DEPTH)
    pop = link.valid & (link.vc == channel) & (source == start)
    return pop, Cat(flit.first, flit.last, flit.data[3], Mux(flit.first, flit.header.dest, 0))


_BUGS = {
    IN_ORDER: [Bug("rtl.noc.buffer", "flits.read_addr.eq(address(read_at, source))", "flits.read_addr.eq(write.addr)")],
    NOT_LOST: [Bug("rtl.noc.router", "(allocators[v].use[i] & outputs) == 0", "(allocators[v].use[i] & 0) == 0")],
    WHOLE: [Bug("rtl.noc.allocator", "closed.eq(union(route) | full)", "closed.eq(full)")],
    CREDITS: [Bug("rtl.noc.allocator", "able[i].eq((held & full) == 0)", "able[i].eq(1)")],
}
PROOFS = [Proof("Router, whole, 3 ports", router, 6, _BUGS, bug_steps=6, induction=False, quick=False)]
