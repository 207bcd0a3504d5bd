"""Proofs of the queues: `Fifo`, the router's `InputBuffer`, the ports' two halves."""

from __future__ import annotations

from amaranth.hdl import Mux, Signal

from rtl.fifo import Fifo
from tests.formal.harness import Harness, Inside, follow
from tests.formal.prover import Bug, Proof

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
        return [Bug("rtl.fifo", old, new)]

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


PROOFS = [Proof(f"Fifo, depth {depth}", lambda d=depth: fifo(d), 2, _fifo_bugs(depth)) for depth in (1, 3, 4)]
