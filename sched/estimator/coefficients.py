"""Coefficients of the timing model: one versioned file, one frozen dataclass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

__all__ = ["DEFAULT_PATH", "Coefficients", "EngineCycles"]

DEFAULT_PATH = Path(__file__).with_name("coefficients.json")
VERSION = 2


@dataclass(frozen=True)
class EngineCycles:
    """Cycles of one engine; what grows with its size comes on top (`EngineTiming.way_cycles`).

    Attributes
    ----------
    start
        Cycles of a COMPUTE beyond its passes.
    drain
        Cycles from a COMPUTE's last pixel to signal 2.
    idle
        Cycles from a COMPUTE's last pixel to the first one of another engine.
    """

    start: float
    drain: float
    idle: float


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of the timing model, in cycles.

    Attributes
    ----------
    engines
        (name, cycles) of each engine.
    compute_issue
        Time of a SETUP, and of any instruction of which nothing else is known.
    store_start, store_drain
        Time from a STORE's tokens to its first accumulator entry; from the last entry to the last flit at the network.
    load_issue
        Time from one LOAD to the next.
    request_latency, hop_latency
        Time from a unit to its own router and from the last router to the node; time of each router on the way.
    read_latency
        Time from the request at the memory node to the first flit in the network, beyond the memory's own latency.
    signal_latency
        Time from one core to another, without hops.
    burst_gap
        Time lost at the memory with every burst.
    fetch_latency
        Time from the last flit of a block of instructions to the unit.
    launch_cycles
        Time from start to the first fetch, and from the last END to done, together.
    """

    engines: tuple[tuple[str, EngineCycles], ...]
    compute_issue: float
    store_start: float
    store_drain: float
    load_issue: float
    request_latency: float
    hop_latency: float
    read_latency: float
    signal_latency: float
    burst_gap: float
    fetch_latency: float
    launch_cycles: float
    origin: str = ""

    @staticmethod
    def load(path: Path = DEFAULT_PATH) -> Coefficients:
        """Read a coefficient file.

        Raises
        ------
        ValueError
            For another version, or missing or unknown coefficients.
        """
        return _load(path)

    def save(self, path: Path = DEFAULT_PATH) -> None:
        """Write a coefficient file."""
        engines = {name: asdict(cycles) for name, cycles in self.engines}
        path.write_text(json.dumps({"version": VERSION, **asdict(self), "engines": engines}, indent=2) + "\n")

    def of(self, engine: str, unmeasured: EngineCycles | None = None) -> EngineCycles:
        """Cycles of an engine; `unmeasured` if there are none for it.

        Raises
        ------
        ValueError
            If nobody measured or stated them.
        """
        for name, cycles in self.engines:
            if name == engine:
                return cycles
        if unmeasured is not None:
            return unmeasured
        known = ", ".join(name for name, _ in self.engines)
        raise ValueError(f"engine {engine!r} has no coefficients, only {known}: add them ({DEFAULT_PATH.name})")

    def with_engine(self, engine: str, cycles: EngineCycles) -> Coefficients:
        """Coefficients with other cycles for one engine, which may be new."""
        others = {**dict(self.engines), engine: cycles}
        return replace(self, engines=tuple(others.items()))

    def values(self) -> dict[str, float]:
        """All coefficients by name, those of an engine as ``engine.coefficient``."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in {"engines", "origin"}}
        of_engines = {
            f"{name}.{what}": value for name, cycles in self.engines for what, value in asdict(cycles).items()
        }
        return {**of_engines, **own}

    def with_values(self, values: Mapping[str, float]) -> Coefficients:
        """Coefficients of which some are changed, named as `values` names them."""
        every = {**self.values(), **values}
        engines = tuple(
            (name, EngineCycles(**{item.name: every.pop(f"{name}.{item.name}") for item in fields(EngineCycles)}))
            for name, _ in self.engines
        )
        return replace(self, engines=engines, **every)


@cache
def _load(path: Path) -> Coefficients:
    table = json.loads(path.read_text())
    version = table.pop("version", None)
    if version != VERSION:
        raise ValueError(f"{path}: version is {version}: it must be {VERSION}")
    _check_names(f"{path}: coefficients", table, Coefficients)
    for name, cycles in table["engines"].items():
        _check_names(f"{path}: coefficients of engine {name!r}", cycles, EngineCycles)
    engines = tuple((name, EngineCycles(**cycles)) for name, cycles in table.pop("engines").items())
    return Coefficients(engines=engines, **table)


def _check_names(what: str, table: Mapping[str, object], cls: type) -> None:
    known = {item.name for item in fields(cls)}
    if table.keys() - known or known - table.keys() - {"origin"}:
        raise ValueError(f"{what} are {', '.join(sorted(table))}: they must be {', '.join(sorted(known))}")
