"""Estimates of launches: cycles, traffic and activity of one, and the fastest of several."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from math import inf
from typing import Protocol

from estimator.coefficients import Coefficients
from estimator.engines import TIMINGS, timing_of
from estimator.instructions import Compute, Instruction, Instructions, Load, Rates, Store, Streams, masked
from estimator.timeline import Estimate, OverLimit, Timeline, UnitState
from estimator.timing import MemoryTiming
from estimator.trace import Trace, TracedTimeline
from rtl.contract.activity import Activity, CoreActivity, by_class
from rtl.contract.engines import ENGINES
from rtl.contract.isa import INSTRUCTION_BYTES, TrafficClass, Unit
from rtl.contract.params import ChipParams

__all__ = ["Program", "Unrated", "activity", "estimate", "fastest"]


class Program(Protocol):
    """Launch of the scheduler, as far as an estimate looks at it."""

    @property
    def streams(self) -> Streams:
        """Instructions of every core and unit, END last."""
        ...

    @property
    def rates(self) -> Rates:
        """What is known of COMPUTEs on engines whose cycles depend on values."""
        ...


class Unrated:
    """Base of programs of which no such thing is known, or that have no such COMPUTEs."""

    @property
    def rates(self) -> Rates:
        return {}


def estimate(
    launch: Program,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
    trace: Trace | None = None,
) -> Estimate:
    """Predict cycles and traffic of a launch.

    Parameters
    ----------
    trace : Trace, optional
        Told of every instruction; such an estimate is made anew each time.

    Raises
    ------
    EstimateError
        If the program deadlocks.
    """
    estimator = _estimator_of(chip, memory, coefficients)
    if trace is None:
        return estimator.estimate(launch)
    timeline = TracedTimeline(trace, estimator.programs(launch), chip, estimator.memory, estimator.c)
    return timeline.run()


def activity(
    launch: Program,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
) -> Activity:
    """Predict what every core does in a launch, in the words of the hardware's counters.

    Raises
    ------
    EstimateError
        If the program deadlocks.
    """
    estimator = _estimator_of(chip, memory, coefficients)
    programs = estimator.programs(launch)
    timeline = Timeline(programs, chip, estimator.memory, estimator.c)
    cycles = timeline.run().cycles
    cores = (
        _core_activity(params.engines, [programs[core, unit] for unit in Unit], timeline.units[core], cycles)
        for core, params in enumerate(chip.cores)
    )
    read, write = by_class([0] * len(TrafficClass)), by_class([0] * len(TrafficClass))
    read["program"] = timeline.bytes["program"]
    for program in programs.values():
        for instruction in program:
            if isinstance(instruction, Load):
                read[instruction.traffic] += instruction.nbytes
            elif isinstance(instruction, Store) and instruction.memory is not None:
                write[instruction.traffic] += instruction.nbytes
    return Activity(cycles, tuple(cores), read, write)


def _core_activity(
    engines: Sequence[str], programs: Sequence[Sequence[Instruction]], units: Sequence[UnitState], cycles: float
) -> CoreActivity:
    pixels = dict.fromkeys(engines, 0)
    passes = 0
    for instruction in programs[Unit.COMPUTE]:
        if isinstance(instruction, Compute):
            pixels[timing_of(instruction.engine).name] += instruction.pixels
            passes += instruction.passes
    causes = units[Unit.COMPUTE].causes
    done = max(0.0, cycles - sum(value for cause, value in causes.items() if cause != "done"))
    return CoreActivity(pixels, passes, sum(map(len, programs)), {**causes, "done": done})


def fastest(
    launches: Sequence[Program],
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    coefficients: Coefficients | None = None,
    alike: float = 0.0,
) -> int:
    """Number of the launch that takes fewest cycles, or fewest bytes among those of as many; the first of equals.

    An estimate ends as soon as the launch can no longer be as fast as the best before it.

    Parameters
    ----------
    alike : float
        Launches that take up to this share of cycles more than the fastest one count as those of as many.

    Raises
    ------
    EstimateError
        If a program deadlocks that might have been the fastest.
    """
    estimator = _estimator_of(chip, memory, coefficients)
    found: list[tuple[int, Estimate]] = []
    limit = inf
    for number, launch in enumerate(launches):
        with suppress(OverLimit):
            estimated = estimator.estimate(launch, limit)
            found.append((number, estimated))
            limit = min(limit, (1 + alike) * estimated.cycles)
    best, _ = min(
        ((number, estimated) for number, estimated in found if estimated.cycles <= limit),
        key=lambda item: (sum(item[1].dram_bytes.values()), item[1].cycles),
    )
    return best


def _estimator_of(chip: ChipParams, memory: MemoryTiming | None, coefficients: Coefficients | None) -> _Estimator:
    engines = TIMINGS.changes, ENGINES.changes
    return _estimator(chip, memory or MemoryTiming(), coefficients or Coefficients.load(), engines)


@lru_cache(maxsize=4)
def _estimator(chip: ChipParams, memory: MemoryTiming, c: Coefficients, _engines: tuple[int, int]) -> _Estimator:
    """Estimator that knows what was estimated with the engines that there are."""
    return _Estimator(chip, memory, c)


class _Estimator:
    """Estimates on one chip with one memory, each kept: networks repeat their layers at other addresses."""

    def __init__(self, chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> None:
        self.chip, self.memory, self.c = chip, memory, c
        self.places = [(core, unit) for core in range(chip.n_cores) for unit in Unit]
        self.instructions = Instructions(chip, c)
        self.kept: dict[bytes, Estimate] = {}

    def estimate(self, launch: Program, limit: float = inf) -> Estimate:
        """Estimate of a launch, kept; `OverLimit` if it takes more cycles, perhaps only if it takes many more."""
        sizes, raw = self._masked(launch)
        key = blake2b(raw + repr((sizes, launch.rates)).encode()).digest()
        if key not in self.kept:
            programs = self._programs(sizes, raw, launch.rates)
            self.kept[key] = Timeline(programs, self.chip, self.memory, self.c).run(limit)
        return self.kept[key]

    def programs(self, launch: Program) -> dict[tuple[int, Unit], list[Instruction]]:
        """Instructions of every core and unit, as a timeline runs them."""
        return self._programs(*self._masked(launch), launch.rates)

    def _masked(self, launch: Program) -> tuple[list[int], bytes]:
        """Number of instructions in each place, and the instructions of all."""
        streams = [launch.streams[place] for place in self.places]
        return [len(stream) for stream in streams], masked(streams, with_addresses=self.c.burst_gap > 0)

    def _programs(self, sizes: list[int], raw: bytes, rates: Rates) -> dict[tuple[int, Unit], list[Instruction]]:
        words = (raw[start : start + INSTRUCTION_BYTES] for start in range(0, len(raw), INSTRUCTION_BYTES))
        return {
            (core, unit): self.instructions.program(
                core, islice(words, size), rates.get(core, ()) if unit == Unit.COMPUTE else ()
            )
            for (core, unit), size in zip(self.places, sizes, strict=True)
        }
