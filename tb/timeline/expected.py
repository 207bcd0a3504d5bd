"""The timeline of a launch as the estimator expects it: the same rows as the RTL's, but for counts and writes."""

from __future__ import annotations

from collections import defaultdict

from estimator import Estimate, MemoryTiming, Place, Trace, estimate
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from scheduler.plan.program import Launch
from tb.report.summary import CAUSES
from tb.timeline.events import (
    ESTIMATE,
    Arrow,
    Facts,
    Slice,
    Timeline,
    Track,
    core_track,
    memory_track,
    untangle,
    wait_track,
)
from tb.timeline.programs import Programs

__all__ = ["expected_timeline"]


def expected_timeline(
    launch: Launch, chip: ChipParams, memory: MemoryTiming, offset: int = 0
) -> tuple[Timeline, Estimate]:
    """Slices and arrows, and the estimate itself.

    Parameters
    ----------
    offset : int
        Cycle of the run in which the launch starts.
    """
    listener = _Listener(Programs(launch, chip), chip, offset)
    found = estimate(launch, chip, memory, trace=listener)
    listener.finish(found.cycles)
    return listener.timeline, found


class _Listener(Trace):
    def __init__(self, programs: Programs, chip: ChipParams, offset: int) -> None:
        self.programs, self.chip, self.offset = programs, chip, offset
        self.timeline = Timeline()
        self.begun: dict[Place, float] = {}
        self.streams: dict[Place, tuple[float, float]] = {}
        self.over: defaultdict[tuple[int, Unit], float] = defaultdict(float)
        """Time at which the last instruction of a unit was over."""
        self.slices: dict[Place, Slice] = {}
        self.loads: dict[Place, Slice] = {}
        """Of each LOAD, its data as a memory node sends them."""
        self.reads: list[Slice] = []
        """All data that memory nodes send; those of several requests may be under way at once."""
        self.tokens: list[tuple[Place, Place, float]] = []

    def begin(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        self.begun[core, unit, number] = time

    def end(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        if opcode != Opcode.LOAD:  # its request, which is what takes the unit, was told of before
            self._instruction((core, unit, number), time)

    def sent(self, core: int, number: int, time: float) -> None:
        self._instruction((core, Unit.LOAD, number), time)

    def stream(self, core: int, number: int, streaming: float, overhead: float) -> None:
        self.streams[core, Unit.COMPUTE, number] = streaming, overhead

    def wait(self, core: int, unit: Unit, cause: str, begin: float, end: float) -> None:
        self.timeline.slices.append(self._slice(wait_track(ESTIMATE, core, unit), begin, end, CAUSES[cause]))

    def served(self, memory: int, core: int, number: int | None, begin: float, end: float) -> None:
        if number is None:
            track = memory_track(ESTIMATE, memory, "reads: program")
            one = self._slice(track, begin, end, f"instructions of core {core}")
        else:
            place = core, Unit.LOAD, number
            track = memory_track(ESTIMATE, memory, f"reads: {self.programs.traffic(place)}")
            one = self._slice(track, begin, end, self.programs.name(place), self.programs.facts(place))
            self.loads[place] = one
        self.reads.append(one)
        self.timeline.slices.append(one)

    def released(self, source: Place, waits: Place, time: float) -> None:
        self.tokens.append((source, waits, time))

    def finish(self, cycles: float) -> None:
        """Enter what is known at the end."""
        for core in range(self.chip.n_cores):
            for unit in Unit:
                track = wait_track(ESTIMATE, core, unit)
                self.timeline.slices.append(self._slice(track, self.over[core, unit], cycles, CAUSES["done"]))
        untangle(self.reads)
        asked: set[Place] = set()
        for source, waits, time in self.tokens:
            served, at = self.loads.get(source), self._cycle(time)
            if served is not None and source not in asked:
                asked.add(source)
                self._arrow(self.slices.get(source), served, served.begin, served.begin)
            self._arrow(served or self.slices.get(source), self.slices.get(waits), at, at)

    def _instruction(self, place: Place, time: float) -> None:
        core, unit, _ = place
        begin = max(self.begun[place], self.over[core, unit]) if unit == Unit.STORE else self.begun[place]
        self.over[core, unit] = max(time, begin)
        facts = self.programs.facts(place)
        if place in self.streams:
            streaming, overhead = (round(cycles) for cycles in self.streams[place])
            facts |= {CAUSES["stream"]: streaming, CAUSES["overhead"]: overhead}
        track = core_track(ESTIMATE, core, unit.name.lower())
        self.slices[place] = self._slice(track, begin, max(time, begin), self.programs.name(place), facts)
        self.timeline.slices.append(self.slices[place])

    def _arrow(self, source: Slice | None, target: Slice | None, released: int, until: int) -> None:
        if source is not None and target is not None:
            self.timeline.arrows.append(Arrow(source, target, released, until))

    def _slice(self, track: Track, begin: float, end: float, name: str, facts: Facts | None = None) -> Slice:
        return Slice(track, self._cycle(begin), self._cycle(end), name, facts or {})

    def _cycle(self, time: float) -> int:
        return self.offset + round(time)
