"""Counters of a launch against the events that its instructions determine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from estimator.events import Events, predict_parts
from rtl.contract.engines import ENGINES
from rtl.contract.isa import TrafficClass, Unit
from rtl.contract.params import ChipParams
from rtl.contract.regs import STATIC_COUNTERS, CoreCounter, router_counters
from scheduler.plan.program import Launch

__all__ = ["LaunchEvents", "check_counts"]


@dataclass(frozen=True, eq=False)
class LaunchEvents:
    """Events of a launch.

    Attributes
    ----------
    parts : sequence of Events
        Of the instructions of each part.
    """

    parts: Sequence[Events]

    @classmethod
    def of(cls, chip: ChipParams, launch: Launch) -> LaunchEvents:
        """Of a launch, which need not say where its parts end if it has one."""
        borders: Mapping[tuple[int, Unit], Sequence[int]] = launch.borders or {
            place: [len(words)] for place, words in launch.streams.items()
        }
        return cls(predict_parts(launch.streams, borders, chip))

    @cached_property
    def whole(self) -> Events:
        """Those of all parts together."""
        return Events.together(self.parts[0].chip, self.parts)


def check_counts(events: Events, counters: Mapping[str, Any]) -> str:
    """What is wrong with the counters of a launch that its instructions determine, in words; '' if nothing is.

    All that do not depend on time are compared, of cores, routers and memory nodes, for equality, and those that data
    decide if the events have them. Blocks of instructions that a fetch unit read behind an END, which depend on time,
    are found from the flits that came to its core; what they add to other counters must then be there as well.

    Parameters
    ----------
    counters : dict
        As `tb.sim.driver.Driver.counters` reads them.
    """
    return next(_wrong(events, counters), "")


def _wrong(events: Events, counters: Mapping[str, Any]) -> Iterator[str]:
    chip, of_cores = events.chip, counters["core"]
    for core, params in enumerate(chip.cores):
        numbers = ENGINES.counters(params.engines, events=chip.counters)
        wanted = {name: events.counts[core][number] for name, number in numbers.items() if number in STATIC_COUNTERS}
        yield from _unlike(f"core {core}", of_cores[core], wanted, "its program has")
        wanted = {name: events.counts[core][number] for name, number in numbers.items() if number in events.told}
        yield from _unlike(f"core {core}", of_cores[core], wanted, "its program and data have")
    ahead = []
    for core, got in enumerate(of_cores):
        blocks = events.ahead(core, got["flits_in"])
        if blocks is None:
            yield (
                f"core {core} counted {got['flits_in']} flits in, its program has {events.flits_in(core)}, "
                "and no blocks of instructions behind it make up for the rest"
            )
        ahead.append(blocks or 0)
    events = events.fetching(ahead)
    for core, got in enumerate(of_cores):
        yield from _unlike(f"core {core}", got, {CoreCounter.FLITS_OUT.name: events.flits_out(core)}, "its program has")
    for core, got in enumerate(counters["router"]):
        names = router_counters(events=chip.counters)
        wanted = {name: count for name, count in events.router(core).items() if name in names}
        yield from _unlike(f"router {core}", got, wanted, "the programs have")
    for node, got in enumerate(counters["memory"]):
        directions = (("READ", events.read_bytes), ("WRITE", events.write_bytes))
        wanted = dict(
            chain.from_iterable(
                ((f"{direction}_{traffic.name}_BYTES", moved[node, traffic]) for traffic in TrafficClass)
                for direction, moved in directions
            )
        )
        yield from _unlike(f"memory node {node}", got, wanted, "the programs have")


def _unlike(where: str, got: Mapping[str, int], wanted: Mapping[str, int], source: str) -> Iterator[str]:
    """Counters of a block that are not as wanted, in words."""
    for name, count in wanted.items():
        if got[name.lower()] != count:
            yield f"{where} counted {got[name.lower()]} {name.lower().replace('_', ' ')}, {source} {count}"
