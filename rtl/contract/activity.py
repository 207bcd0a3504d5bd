"""What a launch did: one record, whoever saw it: the counters of the hardware, the machine, or the estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rtl.contract.engines import ENGINES
from rtl.contract.isa import TrafficClass
from rtl.contract.regs import CoreCounter

__all__ = ["Activity", "CoreActivity", "by_cause", "by_class"]

_CAUSE, _PIXELS = "compute_", "_pixels"
"""Parts of the names of counters: what the compute unit does in a cycle, and pixels through an engine."""


@dataclass(frozen=True)
class CoreActivity:
    """What one core did.

    Attributes
    ----------
    pixels : dict of str to int
        That streamed through each engine, over all passes; by its name.
    passes : int
        Of all engines.
    instructions : int
        Of all units, END included.
    compute_cycles : dict of str to float
        What the compute unit did in each cycle; empty where nobody looked at time.
    """

    pixels: Mapping[str, int]
    passes: int
    instructions: int
    compute_cycles: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_counts(cls, counts: Mapping[int, int], engines: Sequence[str]) -> CoreActivity:
        """Activity without time, of the numbers of counters, in a core with these engines."""
        return cls(
            pixels={name: counts[ENGINES[name].pixels_counter] for name in engines},
            passes=counts[CoreCounter.PASSES],
            instructions=counts[CoreCounter.INSTRUCTIONS],
        )


@dataclass(frozen=True)
class Activity:
    """What a launch did.

    Attributes
    ----------
    cycles : float or None
        From start to done; None where nobody looked at time.
    cores : tuple of CoreActivity
    read_bytes, write_bytes : dict of str to int
        That crossed the memory nodes, by traffic class. Bytes of programs depend on how far fetches run ahead of END:
        the machine, which has no fetch, leaves them out, and the estimator counts whole blocks.
    """

    cycles: float | None
    cores: tuple[CoreActivity, ...]
    read_bytes: Mapping[str, int]
    write_bytes: Mapping[str, int]

    @classmethod
    def from_counters(cls, cycles: int, counters: Mapping[str, Sequence[Mapping[str, int]]]) -> Activity:
        """Activity that the hardware counted, as a host reads it.

        Parameters
        ----------
        counters : dict
            {'core': [{name of a CoreCounter: value} per core], 'memory': [{read_weight_bytes, ...: value} per node]}.
        """
        return cls(
            cycles=cycles,
            cores=tuple(_of_core(core) for core in counters["core"]),
            read_bytes=_bytes(counters["memory"], "read"),
            write_bytes=_bytes(counters["memory"], "write"),
        )

    @property
    def pixels(self) -> dict[str, int]:
        """Pixels through each engine, over all cores."""
        names = {name: None for core in self.cores for name in core.pixels}
        return {name: sum(core.pixels.get(name, 0) for core in self.cores) for name in names}

    @property
    def passes(self) -> int:
        return sum(core.passes for core in self.cores)

    @property
    def instructions(self) -> int:
        return sum(core.instructions for core in self.cores)

    @property
    def dram_bytes(self) -> dict[str, int]:
        """Reads and writes together, by traffic class."""
        return {name: count + self.write_bytes[name] for name, count in self.read_bytes.items()}

    @property
    def compute_cycles(self) -> dict[str, float]:
        """What the compute units did, mean over the cores."""
        names = {name: None for core in self.cores for name in core.compute_cycles}
        return {name: sum(core.compute_cycles.get(name, 0) for core in self.cores) / len(self.cores) for name in names}


def by_class(counts: Sequence[int]) -> dict[str, int]:
    """Counts in the order of `TrafficClass`, by its names."""
    return {traffic.name.lower(): int(counts[traffic]) for traffic in TrafficClass}


def by_cause(counters: Mapping[str, int]) -> dict[str, int]:
    """What a compute unit did in each cycle, of a core's counters by name."""
    return {name.removeprefix(_CAUSE): value for name, value in counters.items() if name.startswith(_CAUSE)}


def _of_core(counters: Mapping[str, int]) -> CoreActivity:
    return CoreActivity(
        pixels={name.removesuffix(_PIXELS): value for name, value in counters.items() if name.endswith(_PIXELS)},
        passes=counters[CoreCounter.PASSES.name.lower()],
        instructions=counters[CoreCounter.INSTRUCTIONS.name.lower()],
        compute_cycles=by_cause(counters),
    )


def _bytes(nodes: Sequence[Mapping[str, int]], direction: str) -> dict[str, int]:
    return by_class([sum(node[f"{direction}_{item.name.lower()}_bytes"] for node in nodes) for item in TrafficClass])
