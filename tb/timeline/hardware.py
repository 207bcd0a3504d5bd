"""The timeline of a launch in the RTL, from the events that its recorder kept (`tb.sim.trace`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estimator import Place
from rtl.contract.activity import by_cause
from rtl.contract.isa import Engine, TrafficClass, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import RouterCounter, compute_counters
from scheduler.plan.program import Launch
from tb.report.summary import CAUSES
from tb.sim.trace import EventKind, TokenSource
from tb.timeline.events import (
    RTL,
    Arrow,
    Count,
    Slice,
    Timeline,
    Track,
    core_track,
    memory_track,
    wait_track,
    whole_track,
)
from tb.timeline.programs import SLICED, Programs

__all__ = ["hardware_timeline"]

_CAUSES = [*by_cause({counter.name.lower(): 0 for counter in compute_counters()})]
"""Names of the COMPUTE counters, by number."""
_BUSY = whole_track(RTL, "busy PEs", "PEs")
_DIRECTIONS = [c.name.removeprefix("FLITS_").lower() for c in RouterCounter if c.name.startswith("FLITS_")]


def hardware_timeline(events: np.ndarray, launch: Launch, chip: ChipParams, cycles: int, offset: int = 0) -> Timeline:
    """Slices, arrows and counts.

    Parameters
    ----------
    events : EVENT[N]
    cycles : int
        Of the launch.
    offset : int
        Cycle of the run in which it starts.
    """
    return _Reader(Programs(launch, chip), chip, cycles, offset).read(events)


@dataclass
class _Lane:
    """One unit of one core, as its events are read."""

    issued: list[int] = field(default_factory=list)
    """Cycle behind the one in which each instruction left the queue."""
    done: int = 0
    """Instructions of those that take time that are over."""
    end: int = 0
    """Cycle in which the last of these was over."""
    waited: int = 0
    """Cycle in which its last wait ended."""
    slices: dict[int, Slice] = field(default_factory=dict)
    """Of each instruction, by number."""
    sliced: list[int] = field(default_factory=list)
    """Numbers of the instructions that take time."""


@dataclass
class _Token:
    """One that ended a wait."""

    waits: Place
    source: TokenSource
    node: int
    token: int
    number: int
    released: int
    waited_until: int


class _Reader:
    def __init__(self, programs: Programs, chip: ChipParams, cycles: int, offset: int) -> None:
        self.programs, self.chip, self.cycles, self.offset = programs, chip, cycles, offset
        self.timeline = Timeline()
        self.lanes = {(core, unit): _Lane() for core in range(chip.n_cores) for unit in Unit}
        for (core, unit), lane in self.lanes.items():
            lane.sliced = programs.numbers(core, unit, SLICED[unit])
        self.tokens: list[_Token] = []
        self.served: defaultdict[int, list[tuple[Place, Slice]]] = defaultdict(list)
        """Of each memory node, its LOADs in order."""
        self.asked: dict[tuple[int, int], Iterator[Place]] = {}
        self.streamed: defaultdict[int, list[tuple[tuple[int, int], int]]] = defaultdict(list)
        """Of each core, intervals and pixels in them, of the COMPUTE under way."""
        self.counted: defaultdict[Track, Counter[tuple[int, int]]] = defaultdict(Counter)
        """What came in each interval, from cycle to cycle."""

    def read(self, events: np.ndarray) -> Timeline:
        handlers = {
            EventKind.WORK: self._work, EventKind.WAIT: self._wait, EventKind.ISSUED: self._issued,
            EventKind.ENDED: self._ended, EventKind.RELEASED: self._released, EventKind.READ: self._read,
            EventKind.WRITTEN: self._written, EventKind.STREAMED: self._streamed, EventKind.MOVED: self._moved,
            EventKind.PASSED: self._passed,
        }  # fmt: skip
        for begin, end, kind, place, unit, what, first, second in events.tolist():
            handlers[kind](begin, end, place, unit, what, first, second)
        self._arrows()
        self._counts()
        return self.timeline

    def _slice(self, track: Track, begin: int, end: int, name: str, facts: Mapping[str, Any] | None = None) -> Slice:
        one = Slice(track, self.offset + begin, self.offset + end, name, facts or {})
        self.timeline.slices.append(one)
        return one

    # --- units ---------------------------------------------------------------------------------------------------

    def _work(self, begin: int, end: int, core: int, unit: int, whole: int, stream: int, stall: int) -> None:
        lane, track = self.lanes[core, Unit.COMPUTE], core_track(RTL, core, "compute")
        rest = end - begin - stream - stall
        if not whole or lane.done == len(lane.sliced):
            self._slice(track, begin, end, CAUSES["overhead"], {"cycles": rest})
            return
        place = core, Unit.COMPUTE, lane.sliced[lane.done]
        lane.done += 1
        facts = self.programs.facts(place) | {
            CAUSES["stream"]: stream, CAUSES["weight_stall"]: stall, CAUSES["overhead"]: rest
        }  # fmt: skip
        lane.slices[place[2]] = self._slice(track, begin, end, self.programs.name(place), facts)
        params, streamed = self.chip.cores[core], self.streamed.pop(core, [])
        for interval, pixels in streamed if self.programs.engine(place) == Engine.ARRAY else ():
            self.counted[_BUSY][interval] += pixels * params.rows * params.cols

    def _wait(self, begin: int, end: int, core: int, unit: int, cause: int, *_: int) -> None:
        lane = self.lanes[core, Unit(unit)]
        lane.waited = end
        place = core, Unit(unit), len(lane.issued)
        facts = {} if place[2] >= len(self.programs.launch.streams[place[:2]]) else {"next": self.programs.name(place)}
        self._slice(wait_track(RTL, core, Unit(unit)), begin, end, CAUSES[_CAUSES[cause]], facts)

    def _issued(self, begin: int, end: int, core: int, unit: int, *_: int) -> None:
        lane = self.lanes[core, Unit(unit)]
        place = core, Unit(unit), len(lane.issued)
        lane.issued.append(end)
        if self.programs.opcode(place) not in SLICED[place[1]]:
            track = core_track(RTL, core, Unit(unit).name.lower())
            facts = self.programs.facts(place)
            lane.slices[place[2]] = self._slice(track, begin, end, self.programs.name(place), facts)

    def _ended(self, _: int, end: int, core: int, unit: int, *__: int) -> None:
        lane = self.lanes[core, Unit(unit)]
        number = lane.sliced[lane.done]
        lane.done += 1
        place, track = (core, Unit(unit), number), core_track(RTL, core, Unit(unit).name.lower())
        begin = max(lane.issued[number], lane.end)
        lane.end = end
        lane.slices[number] = self._slice(track, begin, end, self.programs.name(place), self.programs.facts(place))

    def _released(self, released: int, _: int, core: int, unit: int, source: int, sender: int, number: int) -> None:
        lane = self.lanes[core, Unit(unit)]
        waits = core, Unit(unit), len(lane.issued)
        node, token = sender >> 8, sender & 255
        if self.programs.waits_for(waits, token):
            self.tokens.append(_Token(waits, TokenSource(source), node, token, number, released, lane.waited))

    # --- memory --------------------------------------------------------------------------------------------------

    def _read(self, begin: int, end: int, node: int, program: int, traffic: int, core: int, flits: int) -> None:
        memory, nbytes = node - self.chip.n_cores, flits * self.chip.link_bytes
        track = memory_track(RTL, memory, f"reads: {TrafficClass(traffic).name.lower()}")
        if program:
            self._slice(track, begin, end, f"instructions of core {core}", {"bytes": nbytes, "core": core})
            return
        if (memory, core) not in self.asked:
            self.asked[memory, core] = iter(self.programs.loads(memory, core))
        place = next(self.asked[memory, core])
        facts = {"bytes": nbytes, "core": core, "instruction": place[2]}
        self.served[memory].append((place, self._slice(track, begin, end, self.programs.name(place), facts)))

    def _written(self, begin: int, end: int, node: int, _: int, traffic: int, core: int, nbytes: int) -> None:
        track = memory_track(RTL, node - self.chip.n_cores, "writes")
        name = f"{TrafficClass(traffic).name.lower()} of core {core}"
        self._slice(track, begin, end, name, {"bytes": nbytes, "core": core})

    # --- counts --------------------------------------------------------------------------------------------------

    def _streamed(self, begin: int, end: int, core: int, _: int, __: int, pixels: int, ___: int) -> None:
        self.streamed[core].append(((begin, end), pixels))

    def _moved(self, begin: int, end: int, node: int, _: int, writes: int, amount: int, __: int) -> None:
        name, size = ("DRAM bytes written", 1) if writes else ("DRAM bytes read", self.chip.link_bytes)
        track = memory_track(RTL, node - self.chip.n_cores, name, "bytes")
        self.counted[track][begin, end] = amount * size

    def _passed(self, begin: int, end: int, router: int, _: int, output: int, flits: int, __: int) -> None:
        self.counted[Track(RTL, "links", f"core {router} {_DIRECTIONS[output]}", "flits")][begin, end] = flits

    # --- what is known at the end --------------------------------------------------------------------------------

    def _arrows(self) -> None:
        arrivals: defaultdict[tuple[int, int], list[tuple[Place, Slice]]] = defaultdict(list)
        for memory, loads in self.served.items():
            for load, served in loads:
                for core in self.programs.told(load):
                    arrivals[memory, core].append((load, served))
        asked: set[Place] = set()
        for token in self.tokens:
            core, unit, _ = token.waits
            target = self.lanes[core, unit].slices.get(token.waits[2])
            if token.source == TokenSource.LOAD_DATA:
                load, source = arrivals[token.node - self.chip.n_cores, core][token.number]
                if load not in asked:
                    asked.add(load)
                    self._arrow(self._sliced(load), source, source.begin - self.offset, source.begin - self.offset)
            else:
                sender = self.programs.sender(token.source, token.node, token.number, core)
                source = self._sliced(sender) if sender is not None else None
            self._arrow(source, target, token.released, token.waited_until)

    def _sliced(self, place: Place) -> Slice | None:
        return self.lanes[place[:2]].slices.get(place[2])

    def _arrow(self, source: Slice | None, target: Slice | None, released: int, waited_until: int) -> None:
        if source is not None and target is not None:
            arrow = Arrow(source, target, self.offset + released, self.offset + waited_until)
            self.timeline.arrows.append(arrow)

    def _counts(self) -> None:
        """Counts are of whole intervals, those of busy PEs the mean; the last one is cut with the launch."""
        for track, found in self.counted.items():
            until = 0
            for (begin, end), amount in sorted(found.items()):
                if begin > until:
                    self._count(track, until, 0)
                until = min(end, self.cycles)
                self._count(track, begin, amount / max(1, until - begin) if track == _BUSY else amount)
            self._count(track, until, 0)

    def _count(self, track: Track, at: int, value: float) -> None:
        self.timeline.counts.append(Count(track, self.offset + at, value))
