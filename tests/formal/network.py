"""Proofs of the router's allocator."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Mux, Signal, Value

from rtl.contract.params import ChipParams
from rtl.noc.allocator import Allocator
from rtl.noc.buffer import N_PORTS
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

ONE_GRANT = "an output gets a flit from one input at most"
REQUESTED = "only to outputs that the packet wants, all of them at once"
KEPT = "an output serves nobody else from a packet's first flit to its last"
COUNTED = "the receiver's flits are counted, and never more than it has room for"
ROOM = "a multicast starts only with room for all of it, but at nodes that drain"
FAIR = "a waiting head of a unicast starts within 5 cycles"

CAPACITY = 2
PACKET = 2


def _one_hot(value: Value) -> Value:
    return (value & (value - 1)[: len(value)]) == 0


def _chip() -> ChipParams:
    return small_chip(2, 2, 1)  # five nodes: one behind each port


def allocator() -> Harness:
    """Packets of 1 and 2 flits, receivers with room for 2, any of them a node that drains."""
    h = Harness()
    m = h.m
    dut = Allocator(chip=_chip())
    inside = Inside(m, "dut", dut)
    route = inside.signal("route")
    m.d.comb += [dut.sink.eq(h.constant(N_PORTS, "sink")), *(capacity.eq(CAPACITY) for capacity in dut.capacity)]
    allowed = h.free(N_PORTS, "allowed")
    m.d.comb += dut.go.eq(dut.able & allowed)
    sent = [dut.going[N_PORTS * i : N_PORTS * (i + 1)] for i in range(N_PORTS)]

    held = []
    for o in range(N_PORTS):
        flits = Signal(4, name=f"at_receiver_{o}")
        leaves = Cat(one[o] for one in sent)
        h.assume(~dut.credit[o] | (flits != 0))
        m.d.sync += flits.eq(flits + leaves.any() - dut.credit[o])
        h.always(ONE_GRANT, _one_hot(leaves))
        h.always(COUNTED, (inside.signal(f"used_{o}") == flits) & (flits <= CAPACITY))
        held.append(flits)
    h.drive(dut.credit)

    claims = inside.signal("claims")
    packets = [_packets(h, dut, i) for i in range(N_PORTS)]
    for i, (busy, kept, waited, wanted) in enumerate(packets):
        front = dut.front[i]
        mine, claim = Mux(busy, kept, front.wants), claims[N_PORTS * i : N_PORTS * (i + 1)]
        h.always(REQUESTED, sent[i] == Mux(dut.go[i], mine, 0))
        h.always(REQUESTED, ~dut.go[i] | dut.present[i])
        others = reduce(or_, (sent[j] for j in range(N_PORTS) if j != i))
        h.always(KEPT, (others & kept) == 0)
        many = ~_one_hot(front.wants)
        starts = dut.go[i] & ~busy & many
        for o in range(N_PORTS):
            h.always(ROOM, ~(starts & front.wants[o] & ~dut.sink[o]) | (held[o] + front.flits <= CAPACITY))
            begun = (kept[o] & ~busy & ~_one_hot(kept)) & ~dut.sink[o]
            h.invariant(~begun | (held[o] + wanted[N_PORTS:] <= CAPACITY))
        # A packet that has its outputs and waits for the links only; a head that claims some.
        h.invariant(route[N_PORTS * i : N_PORTS * (i + 1)] == kept)
        h.invariant((kept == 0) | busy | (waited & (kept == wanted[:N_PORTS])))
        h.invariant(~busy | (kept != 0))
        h.invariant((claim == 0) | (waited & (kept == 0) & ((claim & ~wanted[:N_PORTS]) == 0)))
        for j in range(i):
            h.invariant((kept & packets[j][1]) == 0)
            h.invariant((claim & claims[N_PORTS * j : N_PORTS * (j + 1)]) == 0)
    h.cover(
        "a multicast starts while another packet is under way",
        (packets[0][0] & ~packets[1][0] & dut.go[1]) & ~_one_hot(dut.front[1].wants),
    )
    h.cover(
        "a head waits for an output that is held",
        dut.present[2] & ~packets[2][0] & packets[3][0] & ((dut.front[2].wants & packets[3][1]) != 0),
    )
    return h


def _packets(h: Harness, dut: Allocator, i: int) -> tuple[Signal, Signal, Signal, Signal]:
    """Drives an input with packets.

    Result: whether it is inside one; the outputs that it keeps; whether a flit waited, and what it wanted.
    """
    m, front = h.m, dut.front[i]
    present, wants, flits = h.free(1, f"present_{i}"), h.free(N_PORTS, f"wants_{i}"), h.free(2, f"flits_{i}")
    busy, kept = Signal(name=f"busy_{i}"), Signal(N_PORTS, name=f"kept_{i}")
    h.assume((flits >= 1) & (flits <= PACKET))
    m.d.comb += [
        dut.present[i].eq(present),
        front.wants.eq(Mux(present & ~busy, wants, 0)),
        front.single.eq(present & (busy | _one_hot(wants))),
        front.flits.eq(Mux(present, flits, 0)),
        front.last.eq(present & (busy | (flits == 1))),
    ]
    waited = h.past(dut.present[i] & ~dut.go[i], f"waited_{i}")
    before = h.past(Cat(wants, flits), f"before_{i}")
    h.assume(~waited | (present & (Cat(wants, flits) == before)))
    h.assume(busy | (wants != 0))
    with m.If(dut.able[i]):
        m.d.sync += kept.eq(Mux(dut.go[i] & front.last, 0, Mux(busy, kept, front.wants)))
    with m.If(dut.go[i]):
        m.d.sync += busy.eq(~front.last)
    return busy, kept, waited, before


def fair() -> Harness:
    """Unicasts of one flit from all inputs; neither receivers nor links stall."""
    h = Harness()
    m = h.m
    dut = Allocator(chip=_chip())
    inside = Inside(m, "dut", dut)
    m.d.comb += [dut.go.eq(dut.able), *(capacity.eq(CAPACITY) for capacity in dut.capacity)]
    sent = reduce(or_, (dut.going[N_PORTS * i : N_PORTS * (i + 1)] for i in range(N_PORTS)))
    m.d.sync += dut.credit.eq(sent)
    claims = inside.signal("claims")
    for i in range(N_PORTS):
        present, wants, waiting = (
            h.free(1, f"present_{i}"),
            h.free(N_PORTS, f"wants_{i}"),
            Signal(N_PORTS, name=f"w_{i}"),
        )
        waited = Signal(5, name=f"waited_{i}")
        h.assume((wants != 0) & _one_hot(wants) & ((waited == 0) | (present & (wants == waiting))))
        front = dut.front[i]
        m.d.comb += [
            dut.present[i].eq(present),
            front.wants.eq(Mux(present, wants, 0)),
            front.single.eq(_one_hot(wants)),
            front.flits.eq(1),
            front.last.eq(1),
        ]
        m.d.sync += [waiting.eq(wants), waited.eq(Mux(present & ~dut.go[i], waited + 1, 0))]
        h.always(FAIR, waited <= 5)
        mine = claims[N_PORTS * i : N_PORTS * (i + 1)]
        h.invariant(Mux(waited == 0, mine == 0, (mine & ~waiting) == 0))
        for j in range(i):
            h.invariant((mine & claims[N_PORTS * j : N_PORTS * (j + 1)]) == 0)
    for o in range(N_PORTS):
        h.invariant(inside.signal(f"used_{o}") == dut.credit[o])
    route = inside.signal("route")
    h.invariant(route == 0)
    h.cover("an input waits for three cycles", waited == 3)
    return h


def _allocator(old: str, new: str) -> Bug:
    return Bug("rtl.noc.allocator", old, new)


_COUNT_BUGS = [
    _allocator("Mux(sent[o], 1, -1)", "Mux(sent[o], 1, 0)"),
    _allocator("able[i].eq((held & full) == 0)", "able[i].eq(1)"),
]
_OWNER_BUG = _allocator("closed.eq(union(route) | full)", "closed.eq(full)")
PROOFS = [
    Proof(
        "Allocator",
        allocator,
        2,
        {
            ONE_GRANT: [_allocator("| (taken[i] & ~mine)", "| 0")],
            REQUESTED: [
                _allocator(
                    "m.d.comb += self.use[i].eq(front.wants)",
                    "m.d.comb += self.use[i].eq(front.wants & (~front.wants + 1))",
                )
            ],
            KEPT: [_OWNER_BUG],
            COUNTED: _COUNT_BUGS,
            ROOM: [_allocator("front.flits > self.capacity[o]", "front.flits > self.capacity[o] + 1")],
        },
        bug_steps=6,
        quick=False,
    ),
    Proof(
        "Allocator, fairness",
        fair,
        8,
        {FAIR: [_allocator("early[i] | (asked[i] & ~any_early)", "asked[i]")]},
        bug_steps=9,
    ),
]
