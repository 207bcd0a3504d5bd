"""What the runs of a campaign add up to: a table in Markdown for readers, and records for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tb.bench.campaign import Case, CaseResult
from tb.bench.records import keep, write_records
from tb.errors import BenchError
from tb.files import named, write_atomically
from tb.report.markdown import table
from tb.report.summary import CAUSES, Summary, largest_loss, percent, signed

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
"""Least efficiency that the project promises on the chip of TARGET_CORES with TARGET_KIND, layer by layer.

What stays on the chip lowers the bound, so that fused schedules have no such targets: they are to take fewer cycles.
"""
TARGET_CORES, TARGET_KIND = 4, "layers"

WIDE = 100
"""Width of a terminal that has room for every column; on others the seconds are left out, and the kind of schedule
if all have the same, or else the estimate."""

_STEPS = ("build_s", "schedule_s", "golden_s", "sim_s")
_COLUMNS = (
    "network", "cores", "schedule", "RTL cycles", "efficiency", "target", "utilisation", "estimate", "worst layer",
    "DRAM MB", "weights + ifmaps + ofmaps + psums + programs", "largest loss", "k cycles/s",
    "build + schedule + golden + sim, s", "bits",
)  # fmt: skip
_TEXT_COLUMNS = {"network", "schedule", "worst layer", "largest loss", "bits"}


def record(result: CaseResult[Case]) -> dict[str, Any]:
    """One case: the figures of its summary and of its layers, compared with the target."""
    case, summary = result.case, result.summary
    facts: dict[str, Any] = {"name": case.name, "net": case.net, "cores": case.cores, "failure": result.failure}
    if summary is None:
        return facts | {"kind": case.request.options.described, "bit_exact": False}
    target = TARGETS.get(case.net) if case.cores == TARGET_CORES and summary["kind"] == TARGET_KIND else None
    loss = largest_loss(summary["compute_cycles"])
    on_chip = [row for row in Summary.from_dict(summary).rows if row.cycles]
    worst = max(on_chip, key=lambda row: abs(row.estimate_error or 0.0), default=None)
    facts |= keep(summary) | facts | {
        name: summary[name]
        for name in (
            "mismatches", "lower_bound_cycles", "efficiency", "utilization", "macs", "compute_cycles",
            "estimate_error", "seed", "array", "schedule", "host_layers", "quantisation_error",
        )
    }  # fmt: skip
    return facts | {
        "times": {name: round(summary[name], 3) for name in (*_STEPS, "simulation_s", "sim_hz", "processes")},
        "target": target,
        "target_met": None if target is None or summary["efficiency"] is None else summary["efficiency"] >= target,
        "largest_loss": None if loss is None else {"cause": loss[0], "share": loss[1]},
        "worst_layer": None
        if worst is None
        else {key: getattr(worst, key) for key in ("name", "cycles", "estimate_error")},
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
    lines += [f"- {entry['name']}: {entry['failure']}" for entry in failed]
    return "\n".join(lines) + "\n"


def print_report(records: Sequence[dict[str, Any]], console: Console) -> None:
    """What fits on a terminal; reasons of failures below the table."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    wide, several = console.width >= WIDE, len({entry["kind"] for entry in records}) > 1
    shown.add_column("network", no_wrap=True)
    shown.add_column("cores", justify="right", no_wrap=True)
    if wide or several:
        shown.add_column("kind", no_wrap=True)
    estimate = ("estimate",) if wide or not several else ()
    timed = ("sim s",) if wide else ()
    for name in ("RTL cycles", "efficiency", "target", *estimate, *timed):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("bits", no_wrap=True)
    for entry in records:
        figures = [""] * (3 + len(estimate) + len(timed))
        if "cycles" in entry:
            figures = [
                f"{entry['cycles']:,}", percent(entry["efficiency"]), _target(entry),
                *(signed(entry["estimate_error"]) for _ in estimate),
                *(f"{entry['times']['sim_s']:.1f}" for _ in timed),
            ]  # fmt: skip
        kind = [entry["kind"]] if wide or several else []
        bits = "equal" if entry["bit_exact"] else "FAILED"
        shown.add_row(entry["net"], str(entry["cores"]), *kind, *figures, bits)
    console.print(shown, highlight=False)
    for entry in records:
        if not entry["bit_exact"]:
            line = f"{entry['name']}: FAILED: {entry['failure']}"
            console.print(line, markup=False, highlight=False)


def _row(entry: dict[str, Any]) -> list[str]:
    first = [entry["net"], str(entry["cores"]), entry["kind"]]
    if "cycles" not in entry:
        return [*first, *[""] * (len(_COLUMNS) - len(first) - 1), "**failed**"]
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
        f"{entry['times']['sim_hz'] / 1e3:,.0f}",
        " + ".join(f"{entry['times'][step]:.1f}" for step in _STEPS),
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
    if not out.name or not os.access(out.parent, os.W_OK) or named(out, ".json").is_dir():
        raise BenchError(f"OUT={out} cannot be written: give the path of the files without .md and .json")


def write_report(out: Path, records: Sequence[dict[str, Any]], revision: str) -> tuple[Path, Path]:
    """Write OUT.md and OUT.json, each whole or not at all."""
    page, data = named(out, ".md"), named(out, ".json")
    write_atomically(page, markdown(records, revision).encode())
    write_records(data, records, revision)
    return page, data
