"""The page of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tb.report.html.charts.causes import causes_chart
from tb.report.html.charts.chart import Chart, Table, op_styles
from tb.report.html.charts.estimate import estimate_chart
from tb.report.html.charts.heat import heat_chart
from tb.report.html.charts.roofline import roofline_chart
from tb.report.html.charts.traffic import bytes_chart, energy_chart
from tb.report.html.page import Cell, Grid, Page
from tb.report.layers import LayerColumn, LayerRow, layer_columns, layer_rows, layers_csv
from tb.report.record import RunRecord
from tb.report.summary import CAUSES, CLASSES, Summary, largest_loss, percent, signed
from tb.report.terminal import notes, troubles

__all__ = ["run_facts", "run_page"]

SHOWN_ELSEWHERE = {
    *(f"{cause}_cycles" for cause in CAUSES), *(f"{kind}_bytes" for kind in CLASSES),
    "on_host", "host_bytes",
}  # fmt: skip
"""Columns that figures have, or that the texts of others say: the CSV has all of them."""


def run_page(record: RunRecord) -> Page:
    """Of a run that has come to its end, well or not."""
    summary, mesh = record.summary, record.mesh
    every = layer_rows(summary, mesh)
    rows = [row for row in every if row.layer.cycles]
    first, below = list[Chart](), list[Chart]()
    if rows:
        styles = op_styles(rows)
        launches = [layer for layer in summary.layers if layer.cycles]
        first = [
            causes_chart(rows), roofline_chart(rows, styles, summary.pe_count, summary.dram_rate),
            heat_chart(summary, mesh), estimate_chart(rows, styles, launches),
        ]  # fmt: skip
        below = [bytes_chart(rows), energy_chart(rows, summary.energy_units)]
    verdict = f"{summary.cycles:,} cycles, {summary.verdict}" if summary.bit_exact else summary.verdict
    return Page(
        summary.title, summary.bit_exact, verdict, list(run_facts(summary)),
        [*(f"{what}: {told}" for what, told in troubles(summary)), *notes(summary)],
        first, below, _grid(record, every), [("Provenance", Table(["what", ""], list(_provenance(record)), texts=2))],
    )  # fmt: skip


def run_facts(summary: Summary) -> Iterator[tuple[str, str]]:
    """Figures of the whole run."""
    yield "schedule", summary.schedule
    if summary.batch > 1:
        yield "cycles a picture", f"{summary.cycles_per_picture:,.0f}"
    yield "of the lower bound", percent(summary.efficiency)
    yield "PEs used", percent(summary.utilization)
    interval = summary.estimated_interval
    limits = f", 90 %: {interval[0]:,.0f} to {interval[1]:,.0f}" if interval else ""
    yield "estimate", f"{signed(summary.estimate_error)} ({summary.estimated_cycles:,}{limits})"
    yield "DRAM MB", f"{sum(summary.dram_bytes.values()) / 1e6:.2f}"
    loss = largest_loss(summary.compute_cycles)
    if loss:
        yield "largest loss", f"{CAUSES[loss[0]]} {percent(loss[1])}"
    if summary.provenance:
        yield "commit", summary.provenance["commit"]


def _grid(record: RunRecord, rows: Sequence[LayerRow]) -> Grid:
    columns = [column for column in layer_columns(record.summary) if column.key not in SHOWN_ELSEWHERE]
    columns = [column for column in columns if any(column.value(row) is not None for row in rows)]
    return Grid(
        "Layers",
        [column.header for column in columns],
        [[_cell(column, row) for column in columns] for row in rows],
        f"{record.name}-layers.csv",
        layers_csv(record.summary, record.mesh),
    )


def _cell(column: LayerColumn, row: LayerRow) -> Cell:
    value = column.value(row)
    return Cell(column.cell(row), int(value) if isinstance(value, bool) else value)


def _provenance(record: RunRecord) -> Iterator[tuple[str, str]]:
    summary = record.summary
    facts = {
        "run": record.name, **summary.provenance, "simulator": f"{summary.sim} ({summary.model})", "seed": summary.seed,
        "memory": summary.memory, "chip": summary.chip,
        "times": {
            "build": f"{summary.build_s:.1f} s", "schedule": f"{summary.schedule_s:.1f} s",
            "golden": f"{summary.golden_s:.1f} s",
            "simulation": f"{summary.sim_s:.1f} s at {summary.sim_hz / 1e3:.0f} k cycles/s",
        },
    }  # fmt: skip
    yield from _flat(facts)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values, those of inner tables behind the names of these."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield prefix + name, "; ".join(_words(each) for each in value)
        else:
            yield prefix + name, str(value)


def _words(value: object) -> str:
    return " ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, Mapping) else str(value)
