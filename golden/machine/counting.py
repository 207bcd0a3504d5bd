"""Events that a program causes whatever the data and the timing: counted from its instructions, nothing is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from golden.machine.engines import engine_of
from golden.machine.operands import Fields
from rtl.contract.codec import decode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.regs import ENGINE_PIXELS, CoreCounter

__all__ = ["COUNTED", "count_events"]

COUNTED = (CoreCounter.INSTRUCTIONS, CoreCounter.PASSES, *ENGINE_PIXELS)
"""Counters that the instructions alone determine."""


def count_events(streams: Mapping[tuple[int, Unit], Sequence[bytes]]) -> dict[int, Counter[int]]:
    """`COUNTED` of every core, for legal programs.

    Parameters
    ----------
    streams : dict of (core, Unit) to list of bytes
        Instructions, END last.
    """
    counts: dict[int, Counter[int]] = {core: Counter() for core, _ in streams}
    for (core, unit), words in streams.items():
        counts[core][CoreCounter.INSTRUCTIONS] += len(words)
        if unit == Unit.COMPUTE:
            counts[core].update(_computed(words))
    return counts


def _computed(words: Sequence[bytes]) -> Counter[int]:
    """Passes and pixels of one compute stream."""
    counts: Counter[int] = Counter()
    geometry: Fields = {}
    for word in words:
        opcode, fields = decode(word)
        if opcode == Opcode.SETUP:
            geometry = fields
        elif opcode == Opcode.COMPUTE:
            spec, engine = engine_of(geometry["engine"])
            passes, pixels = engine.extent(geometry, fields)
            counts[spec.pixels_counter] += passes * pixels
            counts[CoreCounter.PASSES] += passes
    return counts
