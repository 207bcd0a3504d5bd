"""SYNC instructions: waits for many counters, signals to many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rtl.contract.codec import encode, signal_bits, wait_bits
from rtl.contract.isa import Opcode
from scheduler.map.budget import Range

__all__ = ["ranges_of", "signals", "syncs", "wait", "waits"]

SIGNALS = WAITS = 3
"""Of an instruction: signals, and ranges of counters that it waits for."""


def syncs(
    ranges: Sequence[Range] = (), tokens: Sequence[tuple[int, int]] = (), *, fence: bool = False, mark: int = 0
) -> list[bytes]:
    """Wait for all counters of these ranges, and then send tokens (counter, core).

    Tokens begin in the last one that waits; a fence is in the first one, a mark in the last that waits.
    """
    waits = [ranges[first : first + WAITS] for first in range(0, len(ranges), WAITS)] or [ranges]
    sent = [tokens[first : first + SIGNALS] for first in range(0, len(tokens), SIGNALS)] or [tokens]
    both = [*((some, ()) for some in waits[:-1]), (waits[-1], sent[0]), *(((), some) for some in sent[1:])]
    words = []
    for place, (counters, some) in enumerate(both):
        events = 0
        for number, (first, end) in enumerate(counters):
            events |= wait_bits(number, first, end - first)
        for number, (token, core) in enumerate(some):
            events |= signal_bits(number, token, core)
        marked = mark if place == len(waits) - 1 else 0
        words.append(encode(Opcode.SYNC, events, fence=int(fence and not place), mark=marked))
    return words


def wait(*ranges: Range) -> bytes:
    """For all counters of up to three ranges."""
    (word,) = syncs(ranges)
    return word


def waits(ranges: Sequence[Range]) -> list[bytes]:
    """For all counters of any number of ranges."""
    return syncs(ranges) if ranges else []


def ranges_of(counters: Iterable[int]) -> list[Range]:
    """Counters that follow each other, together."""
    ranges: list[Range] = []
    for counter in sorted(counters):
        if ranges and ranges[-1].end == counter:
            ranges[-1] = Range(ranges[-1].first, counter + 1)
        else:
            ranges.append(Range(counter, counter + 1))
    return ranges


def signals(tokens: Sequence[tuple[int, int]], fence: bool = False) -> list[bytes]:
    """Tokens (counter, core); with a fence, once all writes are acknowledged."""
    return syncs(tokens=tokens, fence=fence) if tokens else []
