"""What records keep of the layers of a run: enough to tell convolutions from the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from tb.experiment.records import RTL, Record

__all__ = ["conv_cycles", "conv_figures", "layer_errors", "layers_of", "of_layer"]


def layers_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Layers of a summary or a check, launches in their parts, and what sparse engines did in all."""
    return {"layers": [_kept(row) for layer in summary["layers"] for row in _rows(layer)],
            "sparse": summary.get("sparse", {})}  # fmt: skip


def _rows(layer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of a launch if their cycles are known, otherwise itself."""
    name = "cycles" if layer.get("cycles") else "estimated_cycles"
    apart = [part for part in layer["parts"] if part.get(name)]
    yield from apart if layer["parts"] and len(apart) == len(layer["parts"]) else [layer]


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of a layer; energies in all, without their classes."""
    energy = {name: sum(of.values()) for name, of in row.get("energy", {}).items()}
    names = ("name", "op", "cycles", "estimated_cycles", "macs", "sparse")
    return {name: row[name] for name in names if name in row} | {"energy": energy}


def _cycles(record: Record) -> str:
    return "cycles" if record.source == RTL else "estimated_cycles"


def _convolutions(record: Record) -> list[Mapping[str, Any]]:
    return [layer for layer in record.facts["layers"] if layer["op"].startswith("conv") and layer["macs"]]


def of_layer(record: Record, layer: str) -> Mapping[str, float] | None:
    """Cycles of a layer with weights (``cycles``), and its figures of the sparse engines; None where it is not apart.

    A layer is called after its first node, whatever joins it; strips of one are added up.
    """
    found = [each for each in record.facts["layers"] if each["name"].split("+")[0] == layer and each["macs"]]
    if not found:
        return None
    names = set[str].intersection(*(set(each.get("sparse", ())) for each in found))
    figures = {name: sum(each["sparse"][name] for each in found) for name in names}
    return {"cycles": sum(each[_cycles(record)] for each in found), **figures}


def layer_errors(record: Record) -> dict[str, float]:
    """Errors of the estimate of layers with weights, estimate / RTL - 1; strips of a layer are added up."""
    measured, estimated = (defaultdict[str, float](float) for _ in range(2))
    for layer in record.facts["layers"]:
        if layer["macs"] and layer["cycles"]:
            measured[layer["name"]] += layer["cycles"]
            estimated[layer["name"]] += layer["estimated_cycles"]
    return {name: estimated[name] / cycles - 1 for name, cycles in measured.items()}


def conv_cycles(record: Record) -> float:
    """Of all convolutions of a run, with the sums and pools that are computed in their parts."""
    return sum(layer[_cycles(record)] for layer in _convolutions(record))


def conv_figures(record: Record, name: str) -> float:
    """The sum of a figure of the sparse engines (`tb.report.summary.SPARSE`) over the convolutions."""
    return sum(layer["sparse"][name] for layer in _convolutions(record) if layer.get("sparse"))
