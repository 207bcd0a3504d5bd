"""Coefficients of the timing model: one versioned file, one frozen dataclass."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

__all__ = ["DEFAULT_PATH", "Coefficients"]

DEFAULT_PATH = Path(__file__).with_name("coefficients.json")
VERSION = 1


@dataclass(frozen=True)
class Coefficients:
    """Cycles.

    Attributes
    ----------
    array_start, tap_start
        Of a COMPUTE, beyond its pixels.
    array_drain, tap_drain
        From a COMPUTE's last pixel to signal 2; the array's R + C come on top.
    array_idle, tap_idle
        From a COMPUTE's last pixel to the first one of the other engine; the array's R + C come on top.
    compute_issue
        Of a SETUP, and of any instruction of which nothing else is known.
    store_start, store_drain
        From a STORE's tokens to its first accumulator entry; from the last entry to the last flit at the network.
    load_issue
        From one LOAD to the next.
    request_latency, hop_latency
        From a unit to its own router and from the last router to the node; for each router on the way.
    read_latency
        From the request at the memory node to the first flit in the network, beyond the memory's own latency.
    signal_latency
        From one core to another, without hops.
    burst_gap
        Lost at the memory with every burst.
    fetch_latency
        From the last flit of a block of instructions to the unit.
    launch_cycles
        From start to the first fetch, and from the last END to done, together.
    """

    array_start: float
    array_drain: float
    tap_start: float
    tap_drain: float
    array_idle: float
    tap_idle: float
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
        path.write_text(json.dumps({"version": VERSION, **asdict(self)}, indent=2) + "\n")


@cache
def _load(path: Path) -> Coefficients:
    table = json.loads(path.read_text())
    version = table.pop("version", None)
    if version != VERSION:
        raise ValueError(f"{path}: version is {version}: it must be {VERSION}")
    known = {item.name for item in fields(Coefficients)}
    if table.keys() - known or known - table.keys() - {"origin"}:
        raise ValueError(f"{path}: coefficients must be {', '.join(sorted(known))}")
    return Coefficients(**table)
