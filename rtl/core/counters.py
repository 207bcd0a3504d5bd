"""Performance counters and debug words of a core, read one at a time."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.engines import ENGINES
from rtl.contract.isa import MARK_BITS
from rtl.contract.params import CoreParams
from rtl.contract.regs import COUNTER_BITS, CoreCounter, CoreDebug, CoreTrace, EventCounter, compute_counters
from rtl.engines import counter_bits

__all__ = ["DEBUG_WORDS", "SNAPSHOT", "CoreCounters", "events_layout", "unit_state"]

WIDE = {
    CoreCounter.FLITS_IN: 2, CoreCounter.ACC_READS: 2, CoreCounter.INSTRUCTIONS: 2, EventCounter.TAP_MACS: 4,
    EventCounter.TAP_MAXIMA: 4,
}  # fmt: skip
"""Bits of the step, where a counter may grow by more than one in a cycle."""

SNAPSHOT = data.ArrayLayout(unsigned(COUNTER_BITS), len(compute_counters()))
"""The COMPUTE counters at one time, in the order of their numbers."""

DEBUG_WORDS = data.StructLayout({word.name: unsigned(COUNTER_BITS) for word in CoreDebug})


def events_layout(core: CoreParams, *, events: bool = False) -> data.StructLayout:
    """What each counter grows by this cycle; `events`: with those of `ChipParams.counters`."""
    counters = ENGINES.counters(core.engines, events=events)
    wide: dict[int, int] = {**WIDE, **counter_bits(core)}
    return data.StructLayout({name: unsigned(wide.get(number, 1)) for name, number in counters.items()})


def unit_state(*, opcode: Value, state: Value, unmet: Value, done: Value) -> Value:
    """The debug word of a unit (`rtl.contract.regs.CoreDebug`)."""
    return Cat(opcode[:4], Value.cast(state)[:2], Const(0, 2), unmet[:3], Const(0, 5), done[:32])


class CoreCounters(wiring.Component):
    """One 48-bit counter for each that a core with these engines has, and a multiplexer over them and the debug words.

    Latency: none from ``index`` to ``value``.

    Parameters
    ----------
    events
        With the counters of `ChipParams.counters`.

    Members
    -------
    running
        Counters count.
    events : `events_layout`
    debug : DEBUG_WORDS
    index, value
        Number of the counter (`CoreCounter`), debug word (`CoreDebug`) or word of the trace memory (`CoreTrace`), and
        its value; 0 for any other.
    now : SNAPSHOT
        The COMPUTE counters; only of a core with marks, like the next two.
    entry : SNAPSHOT
    passed
        From `rtl.core.trace.TraceMemory`: the entry that is read, and the marks passed.
    """

    def __init__(self, *, core: CoreParams, events: bool = False) -> None:
        self.core = core
        self._numbers = ENGINES.counters(core.engines, events=events)
        trace = {"now": Out(SNAPSHOT), "entry": In(SNAPSHOT), "passed": In(MARK_BITS)}
        super().__init__(
            {
                "running": In(1),
                "events": In(events_layout(core, events=events)),
                "debug": In(DEBUG_WORDS),
                "index": In(6),
                "value": Out(COUNTER_BITS),
                **(trace if core.marks else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        words: dict[int, Any] = {}
        with m.If(self.running):
            for name, number in self._numbers.items():
                count = Signal(COUNTER_BITS, name=name.lower())
                words[number] = count
                step = self.events[name]
                with m.If(step.any()):
                    m.d.sync += count.eq(count + step)
        if self.core.marks:
            m.d.comb += [self.now[counter].eq(words[counter]) for counter in compute_counters()]
            words |= {CoreTrace.COMPUTE + counter: self.entry[counter] for counter in compute_counters()}
            words[CoreTrace.PASSED] = self.passed
        words |= {word: self.debug[word.name] for word in CoreDebug}
        with m.Switch(self.index):
            for number, word in words.items():
                with m.Case(int(number)):
                    m.d.comb += self.value.eq(word)
        return m
