"""Marks of a launch: which a program has, what the compute units had done at each, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtl.contract.activity import Activity, by_cause
from rtl.contract.codec import decode, opcode_of
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import START_CYCLES

__all__ = ["Interval", "Mark", "ends_of", "intervals_of", "marks_of"]


@dataclass(frozen=True)
class Mark:
    """A core at one of its marks.

    Attributes
    ----------
    number : int
        The SYNC's field ``mark``, from 1 on.
    cycles : float
        Of the launch up to there, counted as register CYCLES is.
    compute_cycles : dict of str to float
        What the compute unit had done by then, by the names of `rtl.contract.activity.CoreActivity`.
    """

    number: int
    cycles: float
    compute_cycles: Mapping[str, float]

    @classmethod
    def from_counters(cls, number: int, counters: Mapping[str, int]) -> Mark:
        """Mark of its entry's words (`rtl.contract.regs.CoreTrace`), by the names of the eight COMPUTE counters."""
        return cls(number, START_CYCLES + sum(counters.values()), by_cause(counters))


@dataclass(frozen=True)
class Interval:
    """What happened in a launch up to a mark, since the mark before it.

    Attributes
    ----------
    mark : int
        Number of the mark at its end; 0 of a launch without marks, which is one part.
    cycles : float
    cores : tuple of dict of str to float
        What the compute unit of each core did, up to its own mark.
    """

    mark: int
    cycles: float
    cores: tuple[Mapping[str, float], ...]

    @property
    def compute_cycles(self) -> dict[str, float]:
        """What the compute units did, mean over the cores."""
        names = {name: None for core in self.cores for name in core}
        return {name: sum(core.get(name, 0) for core in self.cores) / len(self.cores) for name in names}


def marks_of(chip: ChipParams, streams: Mapping[tuple[int, Unit], Sequence[bytes]]) -> tuple[tuple[int, ...], ...]:
    """Marks that each core passes, in the order of its compute stream; none of cores without a trace memory.

    Parameters
    ----------
    streams : dict of (core, Unit) to list of bytes
        Instructions of every core and unit.
    """
    return tuple(
        tuple(_marks(streams.get((index, Unit.COMPUTE), ()))) if core.marks else ()
        for index, core in enumerate(chip.cores)
    )


def _marks(stream: Sequence[bytes]) -> list[int]:
    syncs = (decode(word)[1]["mark"] for word in stream if opcode_of(word) == Opcode.SYNC)
    return [mark for mark in syncs if mark]


def ends_of(cycles: float, marks: Sequence[Sequence[Mark]]) -> dict[int, float]:
    """Cycle of a launch at which each part ends, by the number of its mark; the last one ends with the launch.

    Parameters
    ----------
    cycles : float
        Of the launch.
    marks : sequence of sequence of Mark
        Of each core.
    """
    ends: dict[int, float] = {}
    for mark in (mark for some in marks for mark in some):
        ends[mark.number] = max(mark.cycles, ends.get(mark.number, 0))
    latest: float = 0
    for number in sorted(ends):
        latest = ends[number] = max(latest, ends[number])
    if ends:
        ends[max(ends)] = cycles
    return dict(sorted(ends.items()))


def intervals_of(activity: Activity, marks: Sequence[Sequence[Mark]]) -> tuple[Interval, ...]:
    """Parts of a launch, by the marks of all its cores, in the order of their numbers.

    A part ends with the latest of its marks, the last one with the launch; so their cycles add up to those of the
    launch, and what the compute units did to `Activity.compute_cycles`. Where a core lacks a mark that others have,
    what it does goes to the part of its next mark.

    Parameters
    ----------
    activity : Activity
        Of the whole launch, with time.
    marks : sequence of sequence of Mark
        Of each core, each number at most once.

    Raises
    ------
    ValueError
        If the activity has no time.
    """
    if activity.cycles is None:
        raise ValueError("an activity without time has no parts: nobody looked at its cycles")
    whole = tuple(core.compute_cycles for core in activity.cores)
    if not any(marks):
        return (Interval(0, activity.cycles, whole),)
    of_core = [{mark.number: mark for mark in some} for some in marks]
    began: float = 0
    before: Sequence[Mapping[str, float]] = [dict.fromkeys(core, 0) for core in whole]
    parts: list[Interval] = []
    ends = ends_of(activity.cycles, marks)
    for number, end in ends.items():
        done = whole
        if number != max(ends):
            done = [
                some[number].compute_cycles if number in some else old
                for some, old in zip(of_core, before, strict=True)
            ]
        parts.append(Interval(number, end - began, tuple(map(_since, done, before))))
        began, before = end, done
    return tuple(parts)


def _since(done: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What was done since something was."""
    return {name: done.get(name, 0) - count for name, count in before.items()}
