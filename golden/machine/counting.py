"""Events that a program causes whatever the data and the timing: counted from its instructions, nothing is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from golden.machine.engines import find
from golden.machine.operands import Fields
from rtl.contract.isa import Opcode, Unit, decode
from rtl.contract.regs import CoreCounter

__all__ = ["COUNTED", "count_events"]

COUNTED = (CoreCounter.INSTRUCTIONS, CoreCounter.ARRAY_PIXELS, CoreCounter.TAP_PIXELS, CoreCounter.PASSES)
"""Counters that the instructions alone determine."""


def count_events(streams: Mapping[tuple[int, Unit], Sequence[bytes]]) -> dict[int, Counter[CoreCounter]]:
    """`COUNTED` of every core, for legal programs.

    Parameters
    ----------
    streams : dict of (core, Unit) to list of bytes
        Instructions, END last.
    """
    counts: dict[int, Counter[CoreCounter]] = {core: Counter() for core, _ in streams}
    for (core, unit), words in streams.items():
        counts[core][CoreCounter.INSTRUCTIONS] += len(words)
        if unit == Unit.COMPUTE:
            counts[core].update(_computed(words))
    return counts


def _computed(words: Sequence[bytes]) -> Counter[CoreCounter]:
    """Passes and pixels of one compute stream."""
    counts: Counter[CoreCounter] = Counter()
    geometry: Fields = {}
    for word in words:
        opcode, fields = decode(word)
        if opcode == Opcode.SETUP:
            geometry = fields
        elif opcode == Opcode.COMPUTE:
            engine = find(geometry["engine"])
            assert engine is not None, f"no engine {geometry['engine']} in a program that ran"
            passes, pixels = engine.extent(geometry, fields)
            counts[engine.counter] += passes * pixels
            counts[CoreCounter.PASSES] += passes
    return counts
