"""What cores, links and memory nodes did, launch by launch and layer by layer: what mesh.json holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from tb.files import write_atomically
from tb.report.summary import CAUSES

__all__ = ["LaunchLoad", "Load", "Mesh", "MeshLink", "MeshMemory"]


@dataclass(frozen=True)
class MeshMemory:
    """A memory node, on a port of the router at (x, y); y grows southwards."""

    x: int
    y: int
    side: str


@dataclass(frozen=True)
class MeshLink:
    """One direction of a link, at a port of the router at (x, y).

    Attributes
    ----------
    outward : bool
        Out of that router. Links between routers are those out of one; those into one come from a core or a memory
        node.
    source, target : str
        From where to where it goes, in words.
    """

    x: int
    y: int
    port: str
    outward: bool
    source: str
    target: str


@dataclass(frozen=True)
class Load:
    """What was done in some cycles.

    Attributes
    ----------
    cores : sequence of sequence of float
        Cycles of each core's compute unit by cause, in the order of `CAUSES`.
    flits : sequence of int
        That passed each link of the mesh.
    read_bytes, write_bytes : sequence of int
        That crossed each memory node.
    blocked : sequence of int or None
        Cycles in which some flit waited for an output of each router; None of a layer that shares its launch with
        others, for routers count by launch.
    """

    cycles: float
    cores: Sequence[Sequence[float]]
    flits: Sequence[int]
    read_bytes: Sequence[int]
    write_bytes: Sequence[int]
    blocked: Sequence[int] | None = None

    def __add__(self, other: Load) -> Load:
        known = self.blocked is not None and other.blocked is not None
        return Load(
            self.cycles + other.cycles,
            [_sum(a, b) for a, b in zip(self.cores, other.cores, strict=True)],
            _sum(self.flits, other.flits),
            _sum(self.read_bytes, other.read_bytes),
            _sum(self.write_bytes, other.write_bytes),
            _sum(self.blocked or (), other.blocked or ()) if known else None,
        )

    @property
    def streaming(self) -> list[float]:
        """Share of the cycles in which each core issues a pixel."""
        place = list(CAUSES).index("stream")
        return [core[place] / self.cycles if self.cycles else 0.0 for core in self.cores]

    @property
    def busiest_flits(self) -> int:
        """Flits of the busiest link: as many cycles at least it takes."""
        return max(self.flits, default=0)


@dataclass(frozen=True)
class LaunchLoad:
    """A launch, and its layers, if their cycles are known apart."""

    whole: Load
    parts: Sequence[Load] = ()

    @property
    def rows(self) -> Sequence[Load]:
        """Of each row that `tb.report.summary.LayerSummary.rows` gives."""
        return self.parts or [self.whole]


@dataclass(frozen=True)
class Mesh:
    """The mesh of a run, and its loads.

    Attributes
    ----------
    launches : sequence of LaunchLoad or None
        Of each layer of the summary; None of what the host computed.
    """

    width: int
    height: int
    memory_nodes: Sequence[MeshMemory]
    links: Sequence[MeshLink]
    launches: Sequence[LaunchLoad | None] = ()

    @property
    def whole(self) -> Load | None:
        """Of all launches together; None without any."""
        loads = [launch.whole for launch in self.launches if launch]
        return reduce(Load.__add__, loads) if loads else None

    @property
    def rows(self) -> Iterator[Load | None]:
        """Of each row of the summary."""
        for launch in self.launches:
            yield from launch.rows if launch else (None,)

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        write_atomically(path, (json.dumps(asdict(self), separators=(",", ":")) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Mesh:
        """Read what `save` has written."""
        facts = json.loads(path.read_text())
        return cls(
            facts["width"],
            facts["height"],
            [MeshMemory(**node) for node in facts["memory_nodes"]],
            [MeshLink(**link) for link in facts["links"]],
            [launch and _launch(launch) for launch in facts["launches"]],
        )


def _launch(facts: dict[str, Any]) -> LaunchLoad:
    return LaunchLoad(Load(**facts["whole"]), [Load(**part) for part in facts["parts"]])


def _sum(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    return [x + y for x, y in zip(a, b, strict=True)]
