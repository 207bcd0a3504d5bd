"""Estimates of launches: cycles and traffic of one, and the fastest of several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from math import inf
from typing import Protocol

from estimator.coefficients import Coefficients
from estimator.engines import EngineTiming, registered
from estimator.instructions import Instructions, Streams, masked
from estimator.timeline import Estimate, OverLimit, Timeline
from estimator.timing import MemoryTiming
from rtl.contract.isa import INSTRUCTION_BYTES, Unit
from rtl.contract.params import ChipParams

__all__ = ["Program", "estimate", "fastest"]


class Program(Protocol):
    """What is estimated: a launch of the scheduler."""

    @property
    def streams(self) -> Streams:
        """Instructions of every core and unit, END last."""
        ...


def estimate(
    launch: Program,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
) -> Estimate:
    """Predict cycles and traffic of a launch.

    Raises
    ------
    EstimateError
        If the program deadlocks.
    """
    return _estimator_of(chip, memory, coefficients).estimate(launch)


def fastest(
    launches: Sequence[Program],
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
) -> int:
    """Number of the launch that takes fewest cycles, the first of equals.

    An estimate ends as soon as the launch can no longer be faster than the best before it.

    Raises
    ------
    EstimateError
        If a program deadlocks that might have been the fastest.
    """
    estimator = _estimator_of(chip, memory, coefficients)
    best, least = 0, inf
    for number, launch in enumerate(launches):
        try:
            cycles = estimator.estimate(launch, least).cycles
        except OverLimit:
            continue
        if cycles < least:
            best, least = number, cycles
    return best


def _estimator_of(chip: ChipParams, memory: MemoryTiming | None, coefficients: Coefficients | None) -> _Estimator:
    return _estimator(chip, memory or MemoryTiming(), coefficients or Coefficients.load(), registered())


@lru_cache(maxsize=4)
def _estimator(
    chip: ChipParams, memory: MemoryTiming, c: Coefficients, engines: tuple[tuple[int, EngineTiming], ...]
) -> _Estimator:
    """What was estimated with these engines."""
    return _Estimator(chip, memory, c)


class _Estimator:
    """Estimates on one chip with one memory, each kept: networks repeat their layers at other addresses."""

    def __init__(self, chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> None:
        self.chip, self.memory, self.c = chip, memory, c
        self.instructions = Instructions(chip, c)
        self.kept: dict[bytes, Estimate] = {}

    def estimate(self, launch: Program, limit: float = inf) -> Estimate:
        """Raise `OverLimit` if it takes more cycles, perhaps only if it takes many more."""
        places = [(core, unit) for core in range(self.chip.n_cores) for unit in Unit]
        sizes = [len(launch.streams[place]) for place in places]
        raw = masked([launch.streams[place] for place in places], with_addresses=self.c.burst_gap > 0)
        key = blake2b(raw + repr(sizes).encode()).digest()
        if key not in self.kept:
            words = (raw[start : start + INSTRUCTION_BYTES] for start in range(0, len(raw), INSTRUCTION_BYTES))
            programs = {
                place: self.instructions.program(place[0], islice(words, size))
                for place, size in zip(places, sizes, strict=True)
            }
            self.kept[key] = Timeline(programs, self.chip, self.memory, self.c).run(limit)
        return self.kept[key]
