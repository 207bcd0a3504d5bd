"""Proofs of what joins the router's buffers and allocators: who gets the links, and what is on them.

Buffers and allocators are replaced by stand-ins that do anything which their own proofs (`tests.formal.queues`,
`tests.formal.network`) allow; so what holds here, and what holds there, holds in the router.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any
from unittest.mock import patch

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from rtl.contract.params import ChipParams, Direction
from rtl.contract.routing import CLAIM_ORDER
from rtl.noc.allocator import Allocator
from rtl.noc.buffer import N_PORTS, InputBuffer
from rtl.noc.router import Router
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

ONE_POP = "an input gives up a flit of one channel at most"
ONE_FLIT = "an output gets one flit at most, over all inputs and channels"
CARRIED = "a popped flit is next cycle on all of its outputs, unchanged, in its channel, and nothing else is"
REDUCED = "a flit's destinations lie behind the link that it is on"
TURNS = "a channel is passed over once at most for each other channel"
ALONE = "a channel without rivals gets all it wants"
WIRED = "each port's link, credits and constants are those of its own buffer and output"
CLEARED = "nothing is on a link in the cycle after clear"

PAYLOAD = 2


class _Buffer(InputBuffer):
    """Holds any flits: what is popped is on ``flit`` in the next cycle, and stays."""

    def __init__(self, *, chip: ChipParams, own: int | None) -> None:
        super().__init__(chip=chip, own=own)
        self.own = own
        self.offered = [Signal(self.flit.shape(), name=f"offered_{v}") for v in range(chip.n_vcs)]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for v, offered in enumerate(self.offered):
            with m.If(self.pop[v]):
                m.d.sync += [self.flit.eq(offered), self.vc.eq(v)]
        return m


class _Allocator(Allocator):
    """Any flits may have any outputs."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += [
            self.wanted.eq(reduce(or_, (Mux(self.able[i], self.use[i], 0) for i in range(N_PORTS)))),
            self.going.eq(Cat(Mux(self.go[i], self.use[i], 0) for i in range(N_PORTS))),
        ]
        return m


def _one_hot(value: Value) -> Value:
    return (value & (value - 1)[: len(value)]) == 0


def links(vcs_per_class: int) -> Harness:
    """Five ports with a node behind each; payload of 2 bits; clear at any time."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 2, 1, vcs_per_class=vcs_per_class)
    ports, channels = range(N_PORTS), range(chip.n_vcs)
    dut = Router(chip=chip)
    buffers: list[_Buffer] = []
    allocators: list[_Allocator] = []

    def buffer_of(**parameters: Any) -> _Buffer:
        buffers.append(_Buffer(**parameters))
        return buffers[-1]

    def allocator_of(**parameters: Any) -> _Allocator:
        allocators.append(_Allocator(**parameters))
        return allocators[-1]

    with patch.dict(Router.elaborate.__globals__, InputBuffer=buffer_of, Allocator=allocator_of):
        leader = Inside(m, "dut", dut).signal("leader")
    clear = h.free(1, "clear")
    m.d.comb += [dut.clear.eq(clear), dut.sink.eq(h.free(N_PORTS, "sink"))]
    for p in ports:
        m.d.comb += [dut.capacity[p].eq(h.free(4, f"capacity_{p}")), dut.reach[p].eq(1 << p)]

    for i, (port, buffer) in enumerate(zip(CLAIM_ORDER, buffers, strict=True)):
        for v, offered in enumerate(buffer.offered):
            data, dest = h.free(PAYLOAD, f"data_{i}_{v}"), h.free(chip.n_nodes, f"dest_{i}_{v}")
            m.d.comb += [offered.data.eq(data), offered.header.dest.eq(dest)]
        link = dut.i[port]
        m.d.comb += link.flit.data.eq(h.free(PAYLOAD, f"in_{i}"))
        h.drive(link.valid, link.vc, buffer.link.credit, buffer.present, *buffer.front)
        incoming = Cat(link.valid, link.vc, link.flit, buffer.link.credit, clear)
        h.always(WIRED, Cat(buffer.link.valid, buffer.link.vc, buffer.link.flit, link.credit, buffer.clear) == incoming)
        h.always(WIRED, Cat(buffer.reach) == Cat(Const(1 << order, chip.n_nodes) for order in CLAIM_ORDER))
        h.always(WIRED, Const(buffer.own == (None if port == Direction.LOCAL else i)))
        h.always(ONE_POP, _one_hot(buffer.pop))

    sent: list[tuple[Signal, Signal]] = []
    moves = [[Signal(N_PORTS, name=f"moves_{i}_{v}") for v in channels] for i in ports]
    for v, allocator in enumerate(allocators):
        able, use = allocator.able, allocator.use
        h.drive(able, *use)
        for i in ports:
            others = reduce(or_, (Mux(able[j], use[j], 0) for j in ports if j != i))
            h.assume(~able[i] | ((use[i] & others) == 0))
            m.d.comb += moves[i][v].eq(Mux(buffers[i].pop[v], use[i], 0))
            h.always(ONE_POP, buffers[i].pop[v] == allocator.go[i])
            h.always(
                WIRED, Cat(allocator.present[i], allocator.front[i]) == Cat(buffers[i].present[v], buffers[i].front[v])
            )
        for o, port in enumerate(CLAIM_ORDER):
            outside = Cat(dut.capacity[port], dut.sink[port], dut.o[port].credit[v])
            h.always(WIRED, Cat(allocator.capacity[o], allocator.sink[o], allocator.credit[o]) == outside)
        h.always(WIRED, allocator.clear == clear)
        waits = able & ~allocator.go
        rivals = Cat(other.able for other in allocators if other is not allocator)
        h.always(ALONE, ((allocator.go & ~able) == 0) & ((waits == 0) | rivals.any()))
        distance = (v - leader)[: len(leader)]
        for i in ports:
            passed = Signal(range(chip.n_vcs + 1), name=f"passed_{i}_{v}")
            m.d.sync += passed.eq(Mux(waits[i] & ~clear, passed + 1, 0))
            h.always(TURNS, ~waits[i] | (passed < chip.n_vcs - 1))
            h.invariant(passed + distance < chip.n_vcs)

    h.cover("the last channel is passed over as often as may be", passed == chip.n_vcs - 1)

    for o, port in enumerate(CLAIM_ORDER):
        link = dut.o[port]
        h.drive(link.credit)
        h.always(ONE_FLIT, _one_hot(Cat(moves[i][v][o] for i in ports for v in channels)))
        arrives = []
        for i in ports:
            for v in channels:
                arrives.append(h.past(moves[i][v][o] & ~clear, f"arrives_{i}_{v}_{o}"))
                data, dest = buffers[i].offered[v].data[:PAYLOAD], buffers[i].offered[v].header.dest
                if o == 0:
                    sent.append((h.past(data, f"sent_{i}_{v}"), h.past(dest, f"to_{i}_{v}")))
                data, dest = sent[i * chip.n_vcs + v]
                h.always(CARRIED, ~arrives[-1] | ((link.vc == v) & (link.flit.data == data)))
                h.always(REDUCED, ~arrives[-1] | (link.flit.header.dest == (dest & (1 << port))))
        h.always(CARRIED, link.valid == Cat(arrives).any())
        h.always(CLEARED, ~h.past(clear, f"cleared_{o}") | ~link.valid)
    h.always(CLEARED, ~h.past(clear, "cleared") | (leader == 0))
    h.cover("a flit of the local input is on all five links", h.past(moves[-1][1], "local").all() & dut.progress)
    return h


def _router(old: str, new: str) -> Bug:
    return Bug("rtl.noc.router", old, new)


_BUGS = {
    WIRED: [
        _router("self.capacity[CLAIM_ORDER[o]]", "self.capacity[o]"),
        _router("credit[v] for port in CLAIM_ORDER", "credit[v] for port in Direction"),
    ],
    ONE_POP: [_router("able[v] & ~inputs &", "able[v] &")],
    ALONE: [_router("m.d.comb += allocators[v].go.eq(able[v])", "m.d.comb += allocators[v].go.eq(0)")],
    TURNS: [_router("leader.eq(leader + 1)", "leader.eq(leader)")],
    ONE_FLIT: [_router("(allocators[v].use[i] & outputs) == 0", "(allocators[v].use[i] & 0) == 0")],
    CARRIED: [
        _router("output.vc.eq(buffers[i].vc)", "output.vc.eq(0)"),
        _router("crossing[N_PORTS * i + o]", "crossing[N_PORTS * o + i]"),
    ],
    REDUCED: [_router("flit.header.dest & self.reach[port]", "flit.header.dest")],
    CLEARED: [_router("m.d.sync += crossing.eq(0)", "m.d.sync += crossing.eq(crossing)")],
}
PROOFS = [
    Proof(f"Router, links, {n} channels a class", lambda n=n: links(n), 1, _BUGS, bug_steps=5, quick=n == 1)
    for n in (1, 2)
]
