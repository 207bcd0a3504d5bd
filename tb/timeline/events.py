"""What a timeline consists of, whoever made it: slices on tracks, arrows between slices, and counts over time.

Times are cycles from the start of the run on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from rtl.contract.isa import Unit

__all__ = [
    "ESTIMATE", "RTL", "Arrow", "Count", "Facts", "Slice", "Timeline", "Track", "core_track", "memory_track",
    "untangle", "wait_track", "whole_track",
]  # fmt: skip

Facts = Mapping[str, int | str]
"""What else there is to say, by name."""
RTL, ESTIMATE = "RTL", "estimate"
"""The two groups of processes."""


@dataclass(frozen=True)
class Track:
    """A row of a process.

    Attributes
    ----------
    group : str
        `RTL` or `ESTIMATE`.
    process : str
        'core 0', 'memory 1', ... in its group.
    name : str
    unit : str
        Of a row of counts, what they count.
    """

    group: str
    process: str
    name: str
    unit: str = ""


@dataclass(slots=True, eq=False)
class Slice:
    """Something that lasts. Slices of a track follow one another, or lie within each other."""

    track: Track
    begin: int
    end: int
    name: str
    facts: Facts = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Arrow:
    """From what sends a token, or asks for data, to what waited for that.

    Attributes
    ----------
    source, target : Slice
    released : int
        Cycle in which it is sent, or comes.
    waited_until : int
        Cycle in which the wait is over.
    """

    source: Slice
    target: Slice
    released: int
    waited_until: int


@dataclass(slots=True, eq=False)
class Count:
    """A value from a cycle on, until the next one of its track."""

    track: Track
    at: int
    value: float


@dataclass
class Timeline:
    """All of them, in any order."""

    slices: list[Slice] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)

    def add(self, other: Timeline) -> None:
        """Take in what another one has."""
        self.slices += other.slices
        self.arrows += other.arrows
        self.counts += other.counts

    @property
    def tracks(self) -> list[Track]:
        """Those with anything on them, in the order in which a viewer should show them."""
        return sorted({event.track for event in (*self.slices, *self.counts)}, key=_place)


def untangle(slices: Iterable[Slice]) -> None:
    """Give those that would cross others of their row, and so end in the wrong place in a viewer, rows behind it.

    Parameters
    ----------
    slices : iterable of Slice
        All of their rows.
    """
    ends: defaultdict[Track, list[int]] = defaultdict(list)
    for one in sorted(slices, key=lambda one: (one.begin, -one.end)):
        row = one.track
        for number in count(2):
            open_ = ends[one.track]
            while open_ and open_[-1] <= one.begin:
                open_.pop()
            if not open_ or one.end <= open_[-1]:
                break
            one.track = replace(row, name=f"{row.name} ({number})")
        ends[one.track].append(one.end)


_PROCESSES = ("chip", "core", "memory", "links")
_ROWS = ("launches", "layers", "load", "load waits", "compute", "store", "store waits")


def _place(track: Track) -> tuple[object, ...]:
    """RTL first; the chip, cores, memories, links; in each the rows of slices, then those of counts; by numbers."""
    kind, _, number = track.process.partition(" ")
    row = _ROWS.index(track.name) if track.name in _ROWS else len(_ROWS)
    name = tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", track.name))
    group = (RTL, ESTIMATE).index(track.group)
    return group, _PROCESSES.index(kind), int(number or 0), bool(track.unit), row, name


def whole_track(group: str, name: str, unit: str = "") -> Track:
    """A row of the whole chip."""
    return Track(group, "chip", name, unit)


def core_track(group: str, core: int, name: str) -> Track:
    """A row of a core."""
    return Track(group, f"core {core}", name)


def wait_track(group: str, core: int, unit: Unit) -> Track:
    """The row of a unit's waits: that of its work, but of load and store units, which wait while they work."""
    return core_track(group, core, "compute" if unit == Unit.COMPUTE else f"{unit.name.lower()} waits")


def memory_track(group: str, memory: int, name: str, unit: str = "") -> Track:
    """A row of a memory node."""
    return Track(group, f"memory {memory}", name, unit)
