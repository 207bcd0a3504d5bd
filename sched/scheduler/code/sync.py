"""SYNC instructions: waits for many counters, signals to many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rtl.contract.codec import encode, signal_bits, wait_bits
from rtl.contract.isa import Opcode
from scheduler.map.budget import Range

__all__ = ["ranges_of", "signals", "wait", "waits"]

SIGNALS = WAITS = 3
"""Of an instruction: signals, and ranges of counters that it waits for."""


def wait(*ranges: Range, mark: int = 0) -> bytes:
    """For all counters of up to three ranges, and then perhaps a mark."""
    events = 0
    for number, counters in enumerate(ranges):
        events |= wait_bits(number, counters.first, counters.size)
    return encode(Opcode.SYNC, events, mark=mark)


def waits(ranges: Sequence[Range], mark: int = 0) -> Iterator[bytes]:
    """For all counters of any number of ranges, and then perhaps a mark."""
    for first in range(0, len(ranges), WAITS):
        some = ranges[first : first + WAITS]
        yield wait(*some, mark=mark if first + WAITS >= len(ranges) else 0)


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
    words = []
    for first in range(0, len(tokens), SIGNALS):
        events = 0
        for number, (token, core) in enumerate(tokens[first : first + SIGNALS]):
            events |= signal_bits(number, token, core)
        words.append(encode(Opcode.SYNC, events, fence=int(fence and not words)))
    return words
