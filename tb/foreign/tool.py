"""What the project knows of a tool: its version, how its inputs are written, how its outputs are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtl.contract.params import ChipParams
from tb.errors import BenchError
from tb.foreign.shapes import LayerShape, Missing
from tb.sim.settings import MemorySettings

__all__ = ["Entry", "Manifest", "Prediction", "Target", "Tool", "strict"]

FORMAT = 1
"""Of a manifest."""


@dataclass(frozen=True)
class Target:
    """A chip and its memory."""

    chip: ChipParams
    memory: MemorySettings

    @property
    def rate(self) -> float:
        """Bytes a cycle of a memory node."""
        return self.memory.rate(self.chip.link_bytes)

    def facts(self) -> dict[str, Any]:
        """What must agree between the tool's inputs and a run on the RTL; and what corrections are valid for."""
        core = self.chip.cores[0]
        return {
            "cores": self.chip.n_cores, "rows": core.rows, "cols": core.cols, "link_bytes": self.chip.link_bytes,
            "nodes": len(self.chip.memory_nodes), "latency_cycles": self.memory.latency_cycles,
            "bytes_per_cycle": self.rate,
        }  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """Where the tool's inputs hold a layer.

    Attributes
    ----------
    layer : LayerShape
    line : int
        Which of the tool's layers it is, from 0; layers alike may be one.
    times : int
        How often that one is to be counted.
    """

    layer: LayerShape
    line: int
    times: int = 1


@dataclass(frozen=True)
class Manifest:
    """What was written for a tool; `layers.json` in the folder of its inputs."""

    tool: str
    version: str
    net: str
    chip: Mapping[str, Any]
    """`Target.facts`."""
    entries: Sequence[Entry]
    """Layers that the tool's inputs hold, in the network's order."""

    def prediction(self, entry: Entry, compute: float, fill: float, waiting: float) -> Prediction:
        """Of a layer, given what the tool says of its line."""
        layer, chip, times = entry.layer, self.chip, entry.times
        memory = layer.least_bytes(chip["link_bytes"]) / (chip["bytes_per_cycle"] * chip["nodes"])
        return Prediction(
            self.net, layer.name, layer.kind, times * compute, times * fill, times * waiting, memory,
            layer.array_cycles(chip["rows"], chip["cols"]) / chip["cores"],
            layer.sum_cycles(chip["cols"]) / chip["cores"],
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        layers = [{"line": each.line, "times": each.times, **each.layer.as_dict()} for each in self.entries]
        facts = {"tool": self.tool, "version": self.version, "net": self.net, "chip": dict(self.chip)}
        return {"format": FORMAT, **facts, "layers": layers}

    @classmethod
    def of(cls, facts: Mapping[str, Any], where: str) -> Manifest:
        """Of a file.

        Raises
        ------
        BenchError
            If that is no manifest.
        """
        try:
            if facts["format"] != FORMAT:
                raise BenchError(f"{where} has format {facts['format']}, not {FORMAT}; write the inputs again")
            entries = []
            for layer in facts["layers"]:
                sizes = {name: value for name, value in layer.items() if name not in ("line", "times")}
                entries.append(Entry(LayerShape.of(sizes), layer["line"], layer["times"]))
            return cls(facts["tool"], facts["version"], facts["net"], facts["chip"], entries)
        except (KeyError, TypeError) as error:
            raise BenchError(f"{where} is no list of layers of make export ({error}); write it again") from None


@dataclass(frozen=True)
class Prediction:
    """What a tool says of one layer, and what the layer's sizes say beside, in cycles.

    Attributes
    ----------
    compute, fill, waiting : float
        Of the tool: computation; pipelines filled and drained; units waiting. What it does not tell apart is
        computation.
    memory : float
        What the layer's least bytes take at the memory's rate.
    array : float
        `LayerShape.array_cycles`: tools pack taps and channels together on the rows of an array, the chip does not.
    sums : float
        `LayerShape.sum_cycles`: no tool is told of residuals.
    """

    net: str
    layer: str
    kind: str
    compute: float
    fill: float
    waiting: float
    memory: float = 0.0
    array: float = 0.0
    sums: float = 0.0

    @property
    def cycles(self) -> float:
        """As the tool has it."""
        return self.compute + self.fill + self.waiting

    def __post_init__(self) -> None:
        parts = (self.compute, self.fill, self.waiting, self.memory, self.array, self.sums)
        if not all(math.isfinite(part) and part >= 0 for part in parts) or not self.cycles:
            raise BenchError(f"layer {self.layer} of {self.net}: {parts} are no cycles; run the tool again")


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes
    ----------
    title : str
    version : str
        The one whose formats these are.
    write : callable
        (target, net, layers, folder) writes the inputs; what it returns are the layers that they hold, and what they
        cannot say.
    read : callable
        (folder, manifest) reads the outputs; one prediction a layer.
    run : str
        How the tool is run there, for people.
    packages : tuple of str
        Of PyPI, with versions, the tool itself first, and the folder has a `run.py`; empty where it is no such package.
    """

    title: str
    version: str
    write: Callable[[Target, str, Sequence[LayerShape], Path], tuple[list[Entry], list[Missing]]]
    read: Callable[[Path, Manifest], list[Prediction]]
    run: str
    packages: tuple[str, ...] = ()


def strict(where: str, found: Sequence[str], known: Sequence[str], what: str = "column") -> None:
    """Refuse names that are not known, and miss none.

    Raises
    ------
    BenchError
        With the name.
    """
    for name in found:
        if name not in known:
            raise BenchError(f"{where}: unknown {what} {name!r}; known are {', '.join(map(repr, known))}")
    for name in known:
        if name not in found:
            raise BenchError(f"{where}: {what} {name!r} is missing; take the tool's own output")
