"""Events that a program causes whatever the data and the timing: counted from its instructions, nothing is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rtl.contract.isa import Engine, Opcode, Unit, decode
from rtl.contract.regs import CoreCounter

__all__ = ["COUNTED", "count_events", "count_work"]

COUNTED = (CoreCounter.INSTRUCTIONS, CoreCounter.ARRAY_PIXELS, CoreCounter.TAP_PIXELS, CoreCounter.PASSES)
"""Counters that the instructions alone determine."""

Fields = Mapping[str, int]


def count_work(geometry: Fields, fields: Fields) -> tuple[int, int]:
    """Passes of a COMPUTE under the SETUP in force, and pixels of each pass.

    With a window, a pass is a whole kernel row, and its pixels are the input columns that the windows go over.
    """
    columns, width = geometry["kernel_w"], geometry["out_w"]
    if geometry["window"]:
        columns, width = 1, (width - 1) * geometry["stride_w"] + columns
    return fields["blocks"] * geometry["kernel_h"] * columns, fields["out_h"] * width


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
            passes, pixels = count_work(geometry, fields)
            engine = CoreCounter.TAP_PIXELS if geometry["engine"] == Engine.TAP else CoreCounter.ARRAY_PIXELS
            counts[engine] += passes * pixels
            counts[CoreCounter.PASSES] += passes
    return counts
