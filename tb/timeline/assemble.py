"""The timeline of a run: its launches one behind the other, and beside each what the estimator expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from estimator import MemoryTiming
from rtl.contract.marks import Mark, ends_of
from rtl.contract.params import ChipParams
from scheduler.plan.program import Launch
from tb.timeline.events import ESTIMATE, RTL, Slice, Timeline, whole_track
from tb.timeline.expected import expected_timeline
from tb.timeline.hardware import hardware_timeline

__all__ = ["RecordedLaunch", "run_timeline"]


@dataclass(frozen=True, eq=False)
class RecordedLaunch:
    """A launch that ran.

    Attributes
    ----------
    launch : Launch
    cycles : int
    marks : sequence of sequence of Mark
        Of each core.
    events : EVENT[N]
        What the recorder kept (`tb.sim.trace`).
    """

    launch: Launch
    cycles: int
    marks: Sequence[Sequence[Mark]]
    events: np.ndarray


def run_timeline(launches: Sequence[RecordedLaunch], chip: ChipParams, memory: MemoryTiming) -> Timeline:
    """Everything on one axis; a launch starts when the one in front is over in the RTL and in the estimate."""
    timeline, offset = Timeline(), 0
    for recorded in launches:
        launch = recorded.launch
        expected, found = expected_timeline(launch, chip, memory, offset)
        cycles = {RTL: recorded.cycles, ESTIMATE: round(found.cycles)}
        marks = {RTL: recorded.marks, ESTIMATE: list(found.marks.values())}
        timeline.add(hardware_timeline(recorded.events, launch, chip, recorded.cycles, offset))
        timeline.add(expected)
        for group, length in cycles.items():
            facts = {f"cycles, {name}": count for name, count in cycles.items()}
            track = whole_track(group, "launches")
            timeline.slices.append(Slice(track, offset, offset + length, launch.name, facts))
            timeline.slices += _layers(launch, group, offset, length, marks[group])
        offset += max(cycles.values())
    return timeline


def _layers(launch: Launch, group: str, offset: int, cycles: int, marks: Sequence[Sequence[Mark]]) -> list[Slice]:
    """The parts of a launch, from mark to mark; nothing where no marks tell them apart."""
    ends = [round(end) for end in ends_of(cycles, marks).values()]
    if len(launch.parts) == 1:
        ends = [cycles]
    if len(ends) != len(launch.parts):
        return []
    track = whole_track(group, "layers")
    return [
        Slice(track, offset + begin, offset + end, part.name, {"mapping": part.mapping})
        for part, (begin, end) in zip(launch.parts, pairwise([0, *ends]), strict=True)
    ]
