"""Outputs of ZigZag 3.9.1: ``results/<layer>_complete.json``."""

from __future__ import annotations

from pathlib import Path

from tb.errors import BenchError
from tb.foreign.read.files import read_json, value_at
from tb.foreign.tool import Entry, Manifest, Prediction, strict

__all__ = ["read_zigzag"]

OUTPUTS = ("memory", "energy", "latency", "spatial")
LATENCY = ("data_onloading", "computation", "data_offloading")
UTILISATION = ("ideal", "stalls", "stalls_onloading", "stalls_onloading_offloading")


def read_zigzag(folder: Path, manifest: Manifest) -> list[Prediction]:
    """One prediction a layer.

    Computation without stalls is ``computation * stalls / ideal``, both utilisations of the multipliers; the rest of it
    is waiting, on- and offloading fill and drain.

    Raises
    ------
    BenchError
        If a file is not there or no such file; for an unknown key.
    """
    return [_prediction(entry, folder, manifest) for entry in manifest.entries]


def _prediction(entry: Entry, folder: Path, manifest: Manifest) -> Prediction:
    path = folder / "results" / f"L{entry.line}_complete.json"
    data = read_json(path)
    if not isinstance(data, dict):
        raise BenchError(f"{path} is no result of a layer; take ZigZag's own output")
    strict(str(path), list(data), ("outputs", "inputs"), "key")
    outputs = data["outputs"]
    strict(f"{path}, outputs", list(outputs), OUTPUTS, "key")
    strict(f"{path}, latency", list(outputs["latency"]), LATENCY, "key")
    strict(f"{path}, mac_utilization", list(outputs["spatial"]["mac_utilization"]), UTILISATION, "key")
    onloading, computation, offloading = (value_at(outputs, ("latency", name), path) for name in LATENCY)
    ideal, stalls = (value_at(outputs, ("spatial", "mac_utilization", name), path) for name in UTILISATION[:2])
    if not 0 < stalls <= ideal * (1 + 1e-9):
        raise BenchError(f"{path}: utilisation {stalls} with stalls, {ideal} without; run ZigZag again")
    compute = computation * min(1.0, stalls / ideal)
    return manifest.prediction(entry, compute, onloading + offloading, computation - compute)
