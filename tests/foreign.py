"""A small network with a layer of every class, and outputs of tools for it, written by hand from their formats."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import yaml

from golden.int8.qgraph import QGraph
from golden.int8.quant import quantize
from golden.layer_lists.zigzag import read_workload
from golden.net.weights import seeded
from rtl.contract.params import default_chip
from tb.foreign.export import export
from tb.foreign.read.maestro import COLUMNS
from tb.foreign.tool import Manifest, Target
from tb.sim.settings import MemorySettings
from tests.unit.golden.layer_lists.test_zigzag import network

__all__ = ["TARGET", "answer", "exported", "small_graph"]

TARGET = Target(default_chip(1), MemorySettings())


@cache
def small_graph() -> QGraph:
    """conv, pool, depthwise with its sum apart, pool, fc."""
    listed = read_workload(yaml.safe_dump(network()), "small.yaml")
    return quantize(listed.graph, seeded(listed.graph, 1), listed.image(0), fold_sums=False)


def exported(tool: str, folder: Path, target: Target = TARGET) -> Manifest:
    """Its inputs for the small network in a folder."""
    return export(tool, target, "small", small_graph(), folder)[0]


def answer(manifest: Manifest, folder: Path) -> None:
    """Outputs as the tool would write them there, with figures that are easy to tell."""
    _ANSWERS[manifest.tool](manifest, folder)


def _lines(manifest: Manifest) -> list[int]:
    return sorted({entry.line for entry in manifest.entries})


def _scalesim(manifest: Manifest, folder: Path) -> None:
    """No stalls; 100 cycles of reads and writes around each layer."""
    rows = ["LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, "
            "Compute Util %,"]  # fmt: skip
    for line in _lines(manifest):
        layer = next(entry.layer for entry in manifest.entries if entry.line == line)
        filters = layer.filters // (layer.channels if layer.kind == "depthwise" else 1)
        total = math.ceil(layer.depth / 16) * math.ceil(filters / 16) * (46 + layer.pixels) - 1
        rows.append(f"{line}, {total + 100}, {total}, 0, 50.0, 90.0, 48.0,")
    place = folder / "results" / "systomesh"
    place.mkdir(parents=True)
    (place / "COMPUTE_REPORT.csv").write_text("\n".join(rows) + "\n")


def _zigzag(manifest: Manifest, folder: Path) -> None:
    """Computation of 1,000 cycles, of which a fifth is waiting; 30 before and 20 behind."""
    (folder / "results").mkdir()
    for line in _lines(manifest):
        outputs = {
            "memory": {}, "energy": {}, "latency": {"data_onloading": 30, "computation": 1000.0, "data_offloading": 20},
            "spatial": {
                "mac_utilization": {
                    "ideal": 0.5, "stalls": 0.4, "stalls_onloading": 0.39, "stalls_onloading_offloading": 0.38,
                }
            },
        }  # fmt: skip
        text = json.dumps({"outputs": outputs, "inputs": {}})
        (folder / "results" / f"L{line}_complete.json").write_text(text)


def _stream(manifest: Manifest, folder: Path) -> None:
    for line in _lines(manifest):
        (folder / f"L{line}" / "summary.yaml").write_text("total_latency: 1234\n")


def _timeloop(manifest: Manifest, folder: Path) -> None:
    """The multipliers take 1,000 cycles, DRAM 1,200."""
    levels = [
        f"Level {number}\n-------\n=== {name} ===\n\n    SPECS\n    -----\n    Word bits : 8\n\n    STATS\n    -----\n"
        f"    Cycles               : {1200 if name == 'DRAM' else 1000}\n    Bandwidth throttling : 1.00\n"
        for number, name in enumerate(("mac", "weight_reg", "accumulators", "weights", "activations", "DRAM"))
    ]
    text = "Buffer and Arithmetic Levels\n" + "\n".join(levels) + "\nNetworks\n--------\n=== other ===\n"
    for line in _lines(manifest):
        (folder / f"L{line}" / "timeloop-mapper.stats.txt").write_text(text)


def _onnxim(manifest: Manifest, folder: Path) -> None:
    """Of 1,500 cycles 900 are products and 200 bubbles; figures so far come before those of the whole."""
    text = (
        "[info] Core [0] : MatMul active cycle 400 Vector active cycle 0 \n"
        "[info] Simulation Finished at 1500 cycle 1.5 us\n"
        "[info] Core [0] : MatMul active cycle 900 Vector active cycle 0 \n"
        "[info] Core [0] : Systolic bubble cycle 200 \n"
        "[info] Core [0] : Memory unit idle cycle 300 Core idle cycle 100 \n"
        "[info] Core [0] : Systolic Array Utilization(%) 60.00, Vector Unit Utilization(%) 0.00, Total cycle: 1500\n"
    )
    for line in _lines(manifest):
        (folder / f"L{line}" / "log.txt").write_text(text)


def _maestro(manifest: Manifest, folder: Path) -> None:
    header = ", ".join(COLUMNS).replace("Compute Delay (Max)", "Compute Delay (Min)")
    cells = ["systomesh", "", *["1"] * (len(COLUMNS) - 2)]
    rows = []
    for line in _lines(manifest):
        cells[1], cells[3] = f"L{line}", "1700"
        rows.append(", ".join(cells))
    (folder / "mapping.csv").write_text("\n".join([header, *rows]) + "\n")


_ANSWERS = {
    "scalesim": _scalesim, "zigzag": _zigzag, "stream": _stream, "timeloop": _timeloop, "onnxim": _onnxim,
    "maestro": _maestro,
}  # fmt: skip
