"""What the runs of a campaign add up to: a table in Markdown for readers, and JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tb.bench.campaign import Case, CaseResult
from tb.errors import BenchError
from tb.files import write_atomically
from tb.report.markdown import table
from tb.report.summary import CAUSES, largest_loss, percent, signed

__all__ = [
    "TARGETS",
    "TARGET_CORES",
    "markdown",
    "print_report",
    "record",
    "require_writable",
    "write_report",
]

TARGETS = {
    "vgg16": 0.92, "vgg11": 0.92, "alexnet": 0.92,
    "resnet18": 0.88, "resnet50": 0.88,
    "googlenet": 0.80, "squeezenet1_1": 0.80,
    "mobilenet_v1": 0.75, "mobilenet_v2": 0.75,
}  # fmt: skip
"""Least efficiency that the project promises layer by layer, on the chip of TARGET_CORES.

What stays on the chip lowers the bound, so that fused schedules have no such targets: they are to take fewer cycles.
"""
TARGET_CORES = 4

TIMED_WIDTH = 90
"""Width of a terminal that has room for the seconds of the simulation."""

_STEPS = ("build_s", "schedule_s", "golden_s", "sim_s")
_COLUMNS = (
    "network", "cores", "RTL cycles", "efficiency", "target", "utilisation", "estimate", "worst layer", "DRAM MB",
    "weights + ifmaps + ofmaps + psums + programs", "largest loss", "k cycles/s", "build + schedule + golden + sim, s",
    "bits",
)  # fmt: skip
_TEXT_COLUMNS = {"network", "worst layer", "largest loss", "bits"}


def record(result: CaseResult[Case]) -> dict[str, Any]:
    """One case: the figures of its summary, compared with the target, layers left out."""
    case, summary = result.case, result.summary
    facts: dict[str, Any] = {"net": case.net, "cores": case.cores, "failure": result.failure}
    if summary is None:
        return facts | {"bit_exact": False}
    promised = case.cores == TARGET_CORES and summary["schedule"].startswith("layer by layer")
    target = TARGETS.get(case.net) if promised else None
    loss = largest_loss(summary["compute_cycles"])
    on_chip = [layer for layer in summary["layers"] if layer["cycles"]]
    worst = max(on_chip, key=lambda layer: abs(layer["estimate_error"]), default=None)
    facts |= {
        name: summary[name]
        for name in (
            "bit_exact", "mismatches", "cycles", "lower_bound_cycles", "efficiency", "utilization", "macs",
            "dram_bytes", "compute_cycles", "estimated_cycles", "estimate_error", "sim_hz", *_STEPS, "processes",
            "simulation_s", "seed", "array", "memory", "sim", "schedule", "host_layers", "quantisation_error",
        )
    }  # fmt: skip
    return facts | {
        "target": target,
        "target_met": None if target is None or summary["efficiency"] is None else summary["efficiency"] >= target,
        "largest_loss": None if loss is None else {"cause": loss[0], "share": loss[1]},
        "worst_layer": None if worst is None else {key: worst[key] for key in ("name", "cycles", "estimate_error")},
    }


def markdown(records: Sequence[dict[str, Any]], revision: str) -> str:
    """The table, a line for each case in their order, and the failures below it."""
    note = (
        f"Commit {revision}. `make bench` made this table; efficiency: lower bound of cycles / RTL cycles; "
        "utilisation: MACs per PE and cycle; estimate and worst layer: its error, positive where too high; times: "
        "each step in seconds, simulation as the sum of all launches."
    )
    lines = [table(_COLUMNS, [_row(entry) for entry in records], _TEXT_COLUMNS), note]
    failed = [entry for entry in records if entry["failure"]]
    lines += ["", "Failed:", ""] if failed else []
    lines += [f"- {entry['net']}, {entry['cores']} cores: {entry['failure']}" for entry in failed]
    return "\n".join(lines) + "\n"


def print_report(records: Sequence[dict[str, Any]], console: Console) -> None:
    """What fits on a terminal; reasons of failures below the table."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("network", no_wrap=True)
    timed = ("sim s",) if console.width >= TIMED_WIDTH else ()
    for name in ("cores", "RTL cycles", "efficiency", "target", "estimate", *timed):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("bits", no_wrap=True)
    for entry in records:
        figures = [""] * (4 + len(timed))
        if "cycles" in entry:
            figures = [
                f"{entry['cycles']:,}", percent(entry["efficiency"]), _target(entry),
                signed(entry["estimate_error"]), *(f"{entry['sim_s']:.1f}" for _ in timed),
            ]  # fmt: skip
        shown.add_row(entry["net"], str(entry["cores"]), *figures, "equal" if entry["bit_exact"] else "FAILED")
    console.print(shown, highlight=False)
    for entry in records:
        if not entry["bit_exact"]:
            line = f"{entry['net']}, {entry['cores']} cores: FAILED: {entry['failure']}"
            console.print(line, markup=False, highlight=False)


def _row(entry: dict[str, Any]) -> list[str]:
    first = [entry["net"], str(entry["cores"])]
    if "cycles" not in entry:
        return [*first, *[""] * (len(_COLUMNS) - 3), "**failed**"]
    dram = entry["dram_bytes"]
    loss, worst = entry["largest_loss"], entry["worst_layer"]
    return [
        *first,
        f"{entry['cycles']:,}",
        percent(entry["efficiency"]),
        _target(entry),
        percent(entry["utilization"]),
        signed(entry["estimate_error"]),
        f"{worst['name']} {signed(worst['estimate_error'])}" if worst else "",
        f"{sum(dram.values()) / 1e6:.2f}",
        " + ".join(f"{count / 1e6:.2f}" for count in dram.values()),
        f"{CAUSES[loss['cause']]} {percent(loss['share'])}" if loss else "",
        f"{entry['sim_hz'] / 1e3:,.0f}",
        " + ".join(f"{entry[step]:.1f}" for step in _STEPS),
        "equal" if entry["bit_exact"] else "**failed**",
    ]


def _target(entry: dict[str, Any]) -> str:
    if entry["target"] is None:
        return ""
    verdict = {True: "met", False: "missed", None: "-"}[entry["target_met"]]
    return f"{100 * entry['target']:.0f} %: {verdict}"


def require_writable(out: Path) -> None:
    """Refuse, before anything runs, a place where the report cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"OUT={out}: {error.strerror or error}; choose another place") from error
    if not out.name or not os.access(out.parent, os.W_OK) or out.with_name(out.name + ".json").is_dir():
        raise BenchError(f"OUT={out} cannot be written: give the path of the files without .md and .json")


def write_report(out: Path, records: Sequence[dict[str, Any]], revision: str) -> tuple[Path, Path]:
    """Write OUT.md and OUT.json, each whole or not at all."""
    page, data = out.with_name(out.name + ".md"), out.with_name(out.name + ".json")
    write_atomically(page, markdown(records, revision).encode())
    write_atomically(data, (json.dumps({"commit": revision, "runs": list(records)}, indent=1) + "\n").encode())
    return page, data
