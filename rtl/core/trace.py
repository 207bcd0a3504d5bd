"""Trace memory: the compute counters of a core at each mark of its program."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.isa import MARK_BITS
from rtl.core.counters import SNAPSHOT
from rtl.lib.ram import Ram

__all__ = ["TraceMemory", "mark_signature"]


def mark_signature(marks: int) -> wiring.Signature:
    """A mark: ``valid`` in the cycle in which its SYNC executes, and its entry among ``marks``."""
    return wiring.Signature({"valid": Out(1), "entry": Out(exact_log2(marks))})


class TraceMemory(wiring.Component):
    """One RAM as wide as the eight counters, with an entry for each of ``marks`` marks.

        mark -> register -> write enable and address -+
        now --------------> write data ---------------+-> RAM -> read
                            read_entry --------------/

    Latency: a mark of cycle t is written in cycle t + 1, with ``now`` of that cycle, in which cycle t is counted;
    an entry is at ``read`` in the cycle after it was asked for, and stays. Throughput: one mark per cycle.
    Only the marks under way and their count are cleared by a reset, entries are not.

    Members
    -------
    mark : In(`mark_signature`)
    now : SNAPSHOT
        The COMPUTE counters before this cycle.
    read_enable, read_entry
        Read this entry; of one that is written in the same cycle the old words.
    read : SNAPSHOT
        The entry that was read last.
    passed
        Marks written since the reset, modulo 256.
    """

    def __init__(self, *, marks: int) -> None:
        self.marks = marks
        super().__init__(
            {
                "mark": In(mark_signature(marks)),
                "now": In(SNAPSHOT),
                "read_enable": In(1),
                "read_entry": In(exact_log2(marks)),
                "read": Out(SNAPSHOT),
                "passed": Out(MARK_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.ram = ram = Ram(width=SNAPSHOT.size, depth=self.marks)
        writes = Signal()
        entry = Signal.like(self.mark.entry, reset_less=True)
        m.d.sync += [writes.eq(self.mark.valid), entry.eq(self.mark.entry)]
        with m.If(writes):
            m.d.sync += self.passed.eq(self.passed + 1)
        m.d.comb += [
            ram.write_enable.eq(writes),
            ram.write_addr.eq(entry),
            ram.write_data.eq(self.now),
            ram.read_enable.eq(self.read_enable),
            ram.read_addr.eq(self.read_entry),
            self.read.eq(ram.read_data),
        ]
        return m
