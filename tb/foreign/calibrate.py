"""Outputs of a tool beside runs on the RTL: which layers belong together, and the correction that they give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from golden.layer_lists import LAYER_LISTS
from tb.errors import BenchError
from tb.foreign.correction import TERMS, Correction
from tb.foreign.export import MANIFEST
from tb.foreign.fit import Measured, fit_classes
from tb.foreign.read.files import read_json
from tb.foreign.tool import Manifest
from tb.foreign.tools import find_tool
from tb.report.summary import percent, signed
from tb.report.terminal import PIPE_WIDTH

__all__ = ["calibrate_tool", "print_correction"]


@dataclass(frozen=True)
class _Run:
    """Layers of one run on the RTL."""

    folder: Path
    cycles: Mapping[str, int]


def calibrate_tool(name: str, results: Sequence[Path], runs: Path, console: Console) -> Correction:
    """Read a tool's outputs, find the RTL's cycles of the same layers, and fit.

    Parameters
    ----------
    results : sequence of path
        Folders in which, at any depth, inputs were written and the tool was run.
    runs : path
        Folder of the runs on the RTL; the one of a network that has most of the layers counts.

    Raises
    ------
    BenchError
        If there are no outputs, no run of a network on the chip, or nothing to compare.
    """
    tool = find_tool(name)
    layers: list[Measured] = []
    chips: list[Mapping[str, Any]] = []
    for folder, manifest in _manifests(name, results):
        run = _best_run(manifest, runs)
        rows = tool.read(folder, manifest)
        probe = Path(manifest.net).suffix in LAYER_LISTS
        found = [Measured(row, run.cycles[row.layer], probe) for row in rows if row.layer in run.cycles]
        apart = len(rows) - len(found)
        with_pools = f"; {apart} are launches with others, which SCHEDULE=layers FUSE=0 runs apart" if apart else ""
        console.print(
            f"{manifest.net}: {len(found)} layers of {tool.title} beside {run.folder}{with_pools}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        layers += found
        if manifest.chip not in chips:
            chips.append(dict(manifest.chip))
    classes, held = fit_classes(layers)
    rows = [
        {
            "network": layer.row.net, "layer": layer.row.layer, "kind": layer.row.kind, "rtl": layer.cycles,
            "raw": layer.row.cycles, "corrected": classes[layer.row.kind].cycles(layer.row),
            "held_out": held.get((layer.row.net, layer.row.layer)),
        }
        for layer in layers
    ]  # fmt: skip
    nets = list(dict.fromkeys(layer.row.net for layer in layers))
    return Correction(name, tool.version, chips, nets, classes, rows)


def _manifests(name: str, results: Sequence[Path]) -> list[tuple[Path, Manifest]]:
    """Folders of a tool's inputs, each network of a chip once."""
    found: dict[str, tuple[Path, Manifest]] = {}
    for root in results:
        if not root.is_dir():
            raise BenchError(f"RESULTS={root} is no folder; give one of make export, in which the tool was run")
        for path in sorted(root.rglob(MANIFEST)):
            facts = read_json(path)
            if isinstance(facts, dict) and facts.get("tool") == name:
                manifest = Manifest.of(facts, str(path))
                found.setdefault(f"{manifest.net} {json.dumps(manifest.chip)}", (path.parent, manifest))
    if not found:
        raise BenchError(
            f"RESULTS={','.join(map(str, results))} holds no inputs of {name}; write them with make export TOOL={name}"
        )
    return list(found.values())


def _best_run(manifest: Manifest, runs: Path) -> _Run:
    """The run of a network on the chip that has most of the layers."""
    best: _Run | None = None
    names = {entry.layer.name for entry in manifest.entries}
    for path in sorted(runs.glob("*/summary.json")):
        cycles = _layer_cycles(read_json(path), manifest)
        if best is None or len(names & cycles.keys()) > len(names & best.cycles.keys()):
            best = _Run(path.parent, cycles)
    if best is None or not names & best.cycles.keys():
        chip = manifest.chip
        raise BenchError(
            f"{runs} holds no run of {manifest.net}, layer by layer, on {chip['cores']} cores of "
            f"{chip['rows']}x{chip['cols']}; make sim NET={manifest.net} CORES={chip['cores']} SCHEDULE=layers FUSE=0"
        )
    return best


def _layer_cycles(summary: Any, manifest: Manifest) -> dict[str, int]:
    """Cycles of launches by name; none of another network, chip or memory, or of a run that is not equal or whole."""
    if not isinstance(summary, dict):
        return {}
    chip = manifest.chip
    memory = {name: chip[name] for name in ("latency_cycles", "bytes_per_cycle", "nodes")}
    same = (
        Path(summary.get("net", "")).name == Path(manifest.net).name
        and summary.get("cores") == chip["cores"]
        and summary.get("array") == f"{chip['rows']}x{chip['cols']}"
        and summary.get("memory") == memory
        and summary.get("batch") == 1
        and summary.get("bit_exact") is True
        and str(summary.get("schedule", "")).startswith("layer by layer")
        and "one after the other" not in summary["schedule"]
    )
    return {layer["name"]: layer["cycles"] for layer in summary["layers"] if not layer["on_host"]} if same else {}


def print_correction(correction: Correction, console: Console) -> None:
    """Errors by class, raw and corrected, with the factors."""
    tool = find_tool(correction.tool)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    table = Table(title=f"{tool.title} {correction.version} against the RTL", box=box.SIMPLE, title_justify="left")
    for column in ("class", "layers", "raw MAE", "held out: MAE", "bias", "worst", "of", "cycles", "factors"):
        table.add_column(column, justify="left" if column in ("class", "of", "factors") else "right")
    for kind, of in correction.classes.items():
        held = of.held_out
        factors = of.why_raw or ", ".join(f"{name} {of.factors[name]:.3g}" for name in TERMS if name in of.factors)
        errors = (
            (percent(held.raw_mae), percent(held.mae), signed(held.bias), signed(held.worst), held.worst_layer)
            if held
            else ("-",) * 5
        )
        table.add_row(kind, str(of.layers), *errors, f"{of.least:,.0f}..{of.most:,.0f}", factors)
    console.print(table)
    for net in correction.networks:
        rows = [row for row in correction.rows if row["network"] == net and row["held_out"] is not None]
        if rows:
            rtl = sum(row["rtl"] for row in rows)
            raw, held = (sum(row[name] for row in rows) / rtl - 1 for name in ("raw", "held_out"))
            console.print(
                f"{net}, left out of the fit: {rtl:,} cycles; raw {signed(raw)}, corrected {signed(held)}",
                markup=False, highlight=False,
            )  # fmt: skip
