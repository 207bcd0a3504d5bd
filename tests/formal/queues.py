"""Proofs of the queues: `Fifo`, the router's `InputBuffer`, the ports' two halves."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal

from rtl.lib.fifo import Fifo
from rtl.noc.buffer import N_PORTS, InputBuffer
from tests.formal.harness import Harness, Inside, follow
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]


def fifo(depth: int) -> Harness:
    """Words of 2 bits."""
    h = Harness()
    dut = Fifo(shape=2, depth=depth)
    inside = Inside(h.m, "dut", dut)
    h.drive(dut.i.valid, dut.i.payload, dut.o.ready)
    push, pop = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
    count = Signal(range(depth + 1))
    h.m.d.sync += count.eq(count + push - pop)
    followed, word, ahead = follow(h, "word", push=push, payload=dut.i.payload, pop=pop, level=count)
    h.always("nothing is lost or invented", dut.level == count)
    h.always("words come out unchanged and in order", ~(followed & (ahead == 0)) | (dut.o.payload == word))
    room = (count != depth) | (dut.o.ready if depth == 1 else 0)
    h.always(
        "ready while there is room, valid while there is a word", (dut.i.ready == room) & (dut.o.valid == (count != 0))
    )
    waited = h.past(dut.o.valid & ~dut.o.ready, "waited")
    before = h.past(dut.o.payload, "before")
    h.always("an offered word stays", ~waited | (dut.o.valid & (dut.o.payload == before)))
    h.invariant(count <= depth)
    h.invariant(~followed | (ahead < count))
    if depth > 1:
        read_at = inside.signal("read_at")
        slot = Signal(8)
        if depth & (depth - 1) == 0:
            h.m.d.comb += slot.eq((read_at + ahead)[: (depth - 1).bit_length()])
        else:
            write_at = inside.signal("write_at")
            sum_at = read_at + ahead
            h.m.d.comb += slot.eq(Mux(sum_at >= depth, sum_at - depth, sum_at))
            fill = read_at + count
            h.invariant((read_at < depth) & (write_at == Mux(fill >= depth, fill - depth, fill)))
        stored = inside.word(slot[: (depth - 1).bit_length()], 2, "words")
        h.invariant(~followed | (stored == word))
        front = inside.word(read_at[: (depth - 1).bit_length()], 2, "words")
        h.invariant(~waited | ((count != 0) & (front == before)))
    else:
        h.invariant(~followed | (ahead == 0))
    h.cover("it is full, and streams", (count == depth) & push & pop if depth == 1 else (count == depth))
    h.cover("a followed word leaves", followed & (ahead == 0) & pop)
    return h


def _fifo_bugs(depth: int) -> dict[str, list[Bug]]:
    def bug(old: str, new: str) -> list[Bug]:
        return [Bug("rtl.lib.fifo", old, new)]

    power = depth & (depth - 1) == 0
    if depth == 1:
        lost = bug("m.d.sync += self.level.eq(push)", "m.d.sync += self.level.eq(0)")
        order = bug("m.d.sync += word.eq(i_word)", "m.d.sync += word.eq(i_word | 1)")
        ready = bug("~self.level | self.o.ready", "~self.level")
        stays = bug("with m.If(push):\n                m.d.sync += word", "if True:\n                m.d.sync += word")
    elif power:
        lost = bug("(write_at - read_at)[: len(write_at)]", "(write_at - read_at)[: len(write_at) - 1]")
        order = bug("(step, at) in ((push, write_at)", "(step, at) in ((push, write_at)")
        order = bug("write.data.eq(i_word)", "write.data.eq(i_word & 1)")
        ready = bug("(write_at ^ read_at) != self._depth", "(write_at - read_at)[: len(write_at)] < self._depth - 1")
        stays = bug("write.en.eq(push)", "write.en.eq(self.i.valid)")
    else:
        lost = bug("with m.If(push & ~pop)", "with m.If(push)")
        order = bug("at == self._depth - 1, 0", "at == self._depth, 0")
        ready = bug("self.level != self._depth)", "self.level < self._depth - 1)")
        stays = bug("((push, write_at), (pop, read_at))", "((push, write_at), (self.o.valid, read_at))")
    return {
        "nothing is lost or invented": lost,
        "words come out unchanged and in order": order,
        "ready while there is room, valid while there is a word": ready,
        "an offered word stays": stays,
    }


IN_ORDER = "flits of a channel come to its front in order, with their outputs"
COUNTED = "no flit is lost or invented, and a sender that obeys credits never overfills a queue"
CREDIT = "a credit goes back for each flit that leaves"
POPPED = "the flit that left is the one that was sent, in its channel"
DEPTH = 8


def buffer() -> Harness:
    """Two queues of 8 flits with a sender that obeys credits; payload of 2 bits, five nodes."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 2, 1)
    own = 2
    dut = InputBuffer(chip=chip, own=own)
    inside = Inside(m, "dut", dut)
    link = dut.link
    flit = link.flit
    channel, chosen = h.free(1, "channel"), h.constant(1, "chosen")
    valid, first, last = h.free(1, "valid"), h.free(1, "first"), h.free(1, "last")
    dest, data, allowed = h.free(N_PORTS, "dest"), h.free(2, "data"), h.free(2, "allowed")
    m.d.comb += [
        link.valid.eq(valid),
        link.vc.eq(channel),
        flit.first.eq(first),
        flit.last.eq(last),
        flit.header.dest.eq(dest),
        flit.data.eq(data),
        *(mask.eq(1 << port) for port, mask in enumerate(dut.reach)),
        dut.pop.eq(dut.present & allowed),
    ]
    h.assume(allowed != 3)
    wants = Signal(N_PORTS)
    m.d.comb += wants.eq(Mux(first, dest & ~(1 << own), 0))
    ways = []
    for v in range(2):
        write_at, read_at = inside.signal(f"write_at_{v}"), inside.signal(f"read_at_{v}")
        ways.append((write_at, read_at))
        push = valid & (channel == v)
        count, room = Signal(5, name=f"count_{v}"), Signal(5, name=f"room_{v}", init=DEPTH)
        h.assume(~push | (room != 0))
        m.d.sync += [count.eq(count + push - dut.pop[v]), room.eq(room - push + link.credit[v])]
        h.always(COUNTED, (dut.present[v] == (count != 0)) & ((write_at - read_at)[:4] == count) & (count <= DEPTH))
        h.always(CREDIT, link.credit[v] == h.past(dut.pop[v], f"popped_{v}"))
        h.invariant(room + count + link.credit[v] == DEPTH)
    write_at, read_at = (Mux(chosen, b, a) for a, b in zip(*ways, strict=True))
    push, pop = valid & (channel == chosen), dut.pop.bit_select(chosen, 1)
    front = Mux(chosen, dut.front[1].as_value(), dut.front[0].as_value())
    incoming = Cat(last, (wants & (wants - 1)[:N_PORTS]) == 0, flit.header.flits, wants)
    word = Cat(incoming, data)
    level = Signal(4)
    m.d.comb += level.eq(write_at - read_at)
    followed, kept, ahead = follow(h, "flit", push=push, payload=word, pop=pop, level=level)
    width = len(incoming)
    h.always(IN_ORDER, ~(followed & (ahead == 0)) | (front == kept[:width]))
    leaves = h.past(followed & (ahead == 0) & pop, "leaves")
    left = h.past(kept[width:], "left")
    h.always(POPPED, ~leaves | ((dut.flit.data == left) & (dut.vc == chosen)))
    slot = Signal(4)
    m.d.comb += slot.eq(Cat((read_at + ahead)[:3], chosen))
    stored = inside.word(slot, width, "fronts")
    payload = inside.word(slot, len(dut.flit.as_value()), "flits", "ram")
    h.invariant(
        ~followed | ((ahead < level) & (stored == kept[:width]) & (payload[: 8 * chip.link_bytes] == kept[width:]))
    )
    h.cover("a queue is full", level == DEPTH)
    h.cover("a followed head for two outputs leaves", followed & (ahead == 0) & pop & ~kept[1])
    return h


def _buffer(old: str, new: str) -> list[Bug]:
    return [Bug("rtl.noc.buffer", old, new)]


_BUFFER_BUGS = {
    IN_ORDER: _buffer("C(0, 1) if o == self._own else", "C(0, 1) if o is None else"),
    COUNTED: _buffer(
        "m.d.sync += write_at[v].eq(write_at[v] + 1)", "m.d.sync += write_at[v].eq(write_at[v] + ~link.flit.first)"
    ),
    CREDIT: _buffer("m.d.sync += link.credit.eq(self.pop)", "m.d.sync += link.credit.eq(self.pop & 1)"),
    POPPED: _buffer("flits.read_addr.eq(address(read_at, source))", "flits.read_addr.eq(write.addr)"),
}

PROOFS = [
    *(Proof(f"Fifo, depth {depth}", lambda d=depth: fifo(d), 2, _fifo_bugs(depth)) for depth in (1, 3, 4)),
    Proof("InputBuffer", buffer, 2, _BUFFER_BUGS, bug_steps=10),
]
