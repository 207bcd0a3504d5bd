"""When, by the estimator, each part of a plan runs, and what it moves to and from DRAM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estimator import MemoryTiming, estimate
from scheduler.plan.program import Launch, Part, Plan
from scheduler.plan.traffic import part_bytes
from tb.errors import BenchError

__all__ = ["TimedPart", "timetable"]


@dataclass(frozen=True)
class TimedPart:
    """A part of a launch.

    Attributes
    ----------
    launch : int
        Number of its launch, among those of the chip.
    number : int
        Its own, within the launch.
    part : Part
    begin, end : float
        Cycles from the begin of the first launch on; launches follow each other.
    dram_bytes : dict of str to int
        By traffic class.
    """

    launch: int
    number: int
    part: Part
    begin: float
    end: float
    dram_bytes: dict[str, int]

    @property
    def cycles(self) -> float:
        return self.end - self.begin


def timetable(plan: Plan, memory: MemoryTiming) -> list[TimedPart]:
    """All parts of all launches, in order; the host takes no time.

    Raises
    ------
    BenchError
        If a launch has more parts than the trace memories of the cores have room for.
    """
    found: list[TimedPart] = []
    for number, launch in enumerate(plan.launches):
        found += _of_launch(plan, number, launch, found[-1].end if found else 0.0, memory)
    return found


def _of_launch(plan: Plan, number: int, launch: Launch, begin: float, memory: MemoryTiming) -> Iterator[TimedPart]:
    estimated = estimate(launch, plan.chip, memory)
    cycles = estimated.part_cycles or [estimated.cycles]
    if len(cycles) != len(launch.parts):
        raise BenchError(
            f"launch {launch.name} has {len(launch.parts)} layers, for which the cores have {plan.chip.marks} marks; "
            "raise core.marks, or give more LAUNCHES"
        )
    for place, (part, some) in enumerate(zip(launch.parts, cycles, strict=True)):
        traffic = part_bytes(launch, place, plan.chip.link_bytes)
        yield TimedPart(number, place, part, begin, begin + some, traffic)
        begin += some
