"""Outputs of SCALE-Sim 3.0.0: ``COMPUTE_REPORT.csv``, a line a layer."""

from __future__ import annotations

import math
from pathlib import Path

from tb.errors import BenchError
from tb.foreign.read.files import number, read_table
from tb.foreign.tool import Entry, Manifest, Prediction
from tb.foreign.write.scalesim import RUN_NAME

__all__ = ["read_scalesim"]

COLUMNS = (
    "LayerID", "Total Cycles (incl. prefetch)", "Total Cycles", "Stall Cycles", "Overall Util %",
    "Mapping Efficiency %", "Compute Util %",
)  # fmt: skip
"""Of version 3; version 2 lacks the second."""


def read_scalesim(folder: Path, manifest: Manifest) -> list[Prediction]:
    """One prediction a layer.

    Computation without stalls is ceil(K/R) ceil(N/C) (2 R + C + T - 2) - 1 cycles for K products of a sum, N filters
    and T pixels (checked). Of a fold's cycles T are computation, the rest fills and drains. Waiting are the stalls, and
    what reads and writes take before and behind.

    Raises
    ------
    BenchError
        If the report is not there or no report; for an unknown column, or a figure that the sizes contradict.
    """
    path = folder / "results" / RUN_NAME / "COMPUTE_REPORT.csv"
    rows = read_table(path, COLUMNS)
    wanted = 1 + max((entry.line for entry in manifest.entries), default=-1)
    if len(rows) != wanted:
        raise BenchError(f"{path} has {len(rows)} layers, its inputs {wanted}; run SCALE-Sim again")
    return [_prediction(entry, rows[entry.line], manifest, path) for entry in manifest.entries]


def _prediction(entry: Entry, row: dict[str, str], manifest: Manifest, path: Path) -> Prediction:
    layer, chip = entry.layer, manifest.chip
    whole, total, stall = (number(row, name, path) for name in COLUMNS[1:4])
    depth, filters = layer.depth, layer.filters
    if layer.kind == "depthwise":
        filters //= layer.channels
    folds = math.ceil(depth / chip["rows"]) * math.ceil(filters / chip["cols"])
    closed = folds * (2 * chip["rows"] + chip["cols"] + layer.pixels - 2) - 1
    if total - stall != closed:
        raise BenchError(
            f"{path}: layer {layer.name} has {total - stall:g} cycles without stalls, its sizes {closed}; run "
            "SCALE-Sim with the inputs of this folder"
        )
    compute = folds * layer.pixels
    return manifest.prediction(entry, compute, closed - compute, stall + max(0.0, whole - total))
