"""Proof of the trace memory: every entry holds the counters of its last mark."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Signal

from rtl.contract.isa import MARK_BITS
from rtl.contract.regs import COUNTER_BITS
from rtl.core.counters import SNAPSHOT
from rtl.core.trace import TraceMemory
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof

__all__ = ["PROOFS"]

LAST = "an entry holds the counters in the cycle behind its last mark, and no other mark changes it"
KEPT = "the entry that was read stays until the next read"
COUNTED = "each mark is counted once, in the cycle in which it is written"
MARKS = 4
BITS = 2
"""Of a counter, those that are not zero."""


def trace() -> Harness:
    """Four entries; marks and reads at any time, of any entry. Of the counters the first and last have 2 bits."""
    h = Harness()
    m = h.m
    dut = TraceMemory(marks=MARKS)
    inside = Inside(m, "dut", dut)
    h.drive(dut.mark.valid, dut.mark.entry, dut.read_enable, dut.read_entry)
    low, high = h.free(BITS, "first_counter"), h.free(BITS, "last_counter")
    now = Cat(low, Const(0, SNAPSHOT.size - COUNTER_BITS - BITS), high, Const(0, COUNTER_BITS - BITS))
    m.d.comb += dut.now.as_value().eq(now)

    entry = h.constant(2, "entry")
    under_way = h.past(dut.mark.valid & (dut.mark.entry == entry), "under_way")
    written, expected = Signal(), Signal(2 * BITS)
    with m.If(under_way):
        m.d.sync += [written.eq(1), expected.eq(Cat(low, high))]
    seen = dut.read.as_value()
    words = Cat(seen[:BITS], seen[SNAPSHOT.size - COUNTER_BITS :][:BITS])
    # A read of the cycle before gives what was there before that cycle's write.
    read = h.past(dut.read_enable & (dut.read_entry == entry) & written, "read")
    h.always(LAST, ~read | (words == h.past(expected, "before")))
    first = ~h.past(Const(1), "begun")
    h.always(KEPT, first | h.past(dut.read_enable, "reads") | (seen == h.past(seen, "seen")))
    marked = h.past(dut.mark.valid, "marked")
    h.always(COUNTED, dut.passed == (h.past(dut.passed, "passed") + h.past(marked, "counts"))[:MARK_BITS])

    stored = inside.word(entry, SNAPSHOT.size, "ram", "ram")
    kept = Cat(stored[:BITS], stored[SNAPSHOT.size - COUNTER_BITS :][:BITS])
    h.invariant(~written | (kept == expected))
    writes, at = inside.signal("writes"), inside.signal("entry")
    h.invariant(under_way == (writes & (at == entry)))
    h.invariant(writes == marked)
    changes = under_way & (expected != Cat(low, high))
    h.cover("an entry is read while it is written again", read & h.past(changes, "changes"))
    return h


def _bug(old: str, new: str) -> Bug:
    return Bug("rtl.core.trace", old, new)


PROOFS = [
    Proof(
        "TraceMemory, 4 entries",
        trace,
        2,
        {
            LAST: [
                _bug("ram.write_addr.eq(entry)", "ram.write_addr.eq(self.mark.entry)"),
                _bug("ram.write_enable.eq(writes)", "ram.write_enable.eq(writes & self.mark.valid)"),
                _bug("ram.read_addr.eq(self.read_entry)", "ram.read_addr.eq(self.read_entry & entry)"),
            ],
            KEPT: [_bug("ram.read_enable.eq(self.read_enable)", "ram.read_enable.eq(1)")],
            COUNTED: [_bug("with m.If(writes):", "with m.If(writes & ~self.mark.valid):")],
        },
        bug_steps=6,
    ),
]
