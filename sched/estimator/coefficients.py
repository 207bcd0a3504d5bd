"""Coefficients of the timing model: one versioned file, one frozen dataclass; and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from estimator.bands import Bands

__all__ = ["DEFAULT_PATH", "Coefficients", "EngineCycles", "Evidence", "Provenance"]

DEFAULT_PATH = Path(__file__).with_name("coefficients.json")
VERSION = 3


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
class Evidence:
    """What is known of the value of one coefficient.

    Attributes
    ----------
    design : float or None
        The value that was read off the design, where every fit begins; None of a coefficient that nobody read off.
    interval : (float, float) or None
        Of 95 %, by bootstrap over the kernels; None of a value that was not fitted.
    kernels : tuple of str
        Effects of the kernels that constrain it, the strongest first. None constrains it if there are none: its value
        is the one that it had.
    """

    design: float | None = None
    interval: tuple[float, float] | None = None
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Where the values of a coefficient file come from.

    Attributes
    ----------
    hardware : str
        Fingerprint of the hardware that was measured; empty if none was.
    commit : str
    seed : int
        Of the bootstrap, and of the division of the networks.
    chips : tuple of str
        Whose kernels were fitted.
    held_out : tuple of tuple of str
        Networks in groups; the bands of each were checked with those of the others.
    evidence : dict of str to Evidence
        By coefficient.
    bands : Bands
        Within which layers that were never fitted lie.
    """

    hardware: str = ""
    commit: str = ""
    seed: int = 0
    chips: tuple[str, ...] = ()
    held_out: tuple[tuple[str, ...], ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    bands: Bands = field(default_factory=Bands)

    @property
    def unconstrained(self) -> list[str]:
        """Coefficients on which no kernel says anything."""
        return [name for name, evidence in self.evidence.items() if not evidence.kernels]

    def designed(self, coefficients: Coefficients) -> Coefficients:
        """The coefficients as read off the design."""
        known = {name: each.design for name, each in self.evidence.items() if each.design is not None}
        return replace(coefficients.with_values(known), origin="read off the design")

    @staticmethod
    def load(path: Path = DEFAULT_PATH) -> Provenance:
        """Read it from a coefficient file; errors as of `Coefficients.load`."""
        return _load(path)[1]


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
        Time from one LOAD to the next, beyond the flits of its request.
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
        return _load(path)[0]

    def save(self, path: Path = DEFAULT_PATH, provenance: Provenance | None = None) -> None:
        """Write a coefficient file, with where the values come from if that is known."""
        provenance = provenance or Provenance()
        whole = asdict(provenance)
        evidence = whole.pop("evidence")
        none = asdict(Evidence())
        values = {name: {"value": value, **evidence.get(name, none)} for name, value in self.values().items()}
        head = {"version": VERSION, "origin": self.origin, "coefficients": values}
        path.write_text(json.dumps({**head, **whole}, indent=1) + "\n")
        _load.cache_clear()

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
def _load(path: Path) -> tuple[Coefficients, Provenance]:
    table = json.loads(path.read_text())
    version = table.pop("version", None)
    if version != VERSION:
        raise ValueError(f"{path}: version is {version}: it must be {VERSION}")
    known = {"origin", "coefficients", *(item.name for item in fields(Provenance))} - {"evidence"}
    _require_names(f"{path}: entries", set(table), known)
    entries: dict[str, dict[str, Any]] = table.pop("coefficients")
    origin = table.pop("origin")
    own = {item.name for item in fields(Coefficients)} - {"engines", "origin"}
    of_engines = [name.partition(".")[::2] for name in entries if "." in name]
    engines = tuple(dict.fromkeys(engine for engine, _ in of_engines))
    cycles = [f"{engine}.{item.name}" for engine in engines for item in fields(EngineCycles)]
    _require_names(f"{path}: coefficients", set(entries), own | set(cycles))
    values = {name: float(entry["value"]) for name, entry in entries.items()}
    coefficients = Coefficients(
        engines=tuple(
            (engine, EngineCycles(**{item.name: values[f"{engine}.{item.name}"] for item in fields(EngineCycles)}))
            for engine in engines
        ),
        origin=origin,
        **{name: values[name] for name in own},
    )
    evidence = {
        name: Evidence(entry["design"], entry["interval"] and tuple(entry["interval"]), tuple(entry["kernels"]))
        for name, entry in entries.items()
    }
    return coefficients, Provenance(
        hardware=table["hardware"], commit=table["commit"], seed=table["seed"], chips=tuple(table["chips"]),
        held_out=tuple(map(tuple, table["held_out"])), evidence=evidence, bands=Bands.read(table["bands"]),
    )  # fmt: skip


def _require_names(what: str, found: set[str], known: set[str]) -> None:
    if found != known:
        raise ValueError(f"{what} are {', '.join(sorted(found))}: they must be {', '.join(sorted(known))}")
