"""The page of several runs side by side: the same layers aligned, and what changed against the first."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tb.report.colours import CAUSE_COLOURS, PALETTE
from tb.report.html.charts.chart import Chart, Table, axis, layer_layout, layout, menu, text
from tb.report.html.page import Cell, Grid, Page
from tb.report.html.single import run_facts
from tb.report.layers import LayerRow, by_name, layer_rows
from tb.report.record import RunRecord
from tb.report.summary import CAUSES, CLASSES, signed

__all__ = ["aligned", "comparison_page"]

Key = tuple[str, int]
"""A layer's name, and its number among those of that name in its run."""


def comparison_page(records: Sequence[RunRecord]) -> Page:
    """Of two runs or more."""
    shown = [[row for row in layer_rows(each.summary, each.mesh) if row.layer.cycles] for each in records]
    runs = [by_name(rows, lambda row: row.layer.name) for rows in shown]
    layers = aligned([list(run) for run in runs])
    common = sum(all(layer in run for run in runs) for layer in layers)
    bad = [each for each in records if not each.summary.bit_exact]
    first = records[0]
    return Page(
        f"{len(records)} runs side by side",
        not bad,
        f"{bad[0].name}: {bad[0].summary.verdict}" if bad else first.summary.verdict,
        [(each.name, _against(each, first)) for each in records],
        [f"{common} of {len(layers)} layers are in all runs; they are known by their names.",
         *(f"{each.name}: {each.summary.net}, {each.summary.schedule}" for each in records)],
        [_layers_chart(records, runs, layers), _totals_chart(records), _bytes_chart(records)],
        [],
        _grid(records, runs, layers),
        [("Figures", _figures(records))],
    )  # fmt: skip


def aligned(runs: Sequence[Sequence[Key]]) -> list[Key]:
    """The layers of all runs, each once: in the order of the first, others behind the one before them in theirs."""
    order = list(runs[0])
    for run in runs[1:]:
        at = 0
        for layer in run:
            if layer in order:
                at = order.index(layer) + 1
            else:
                order.insert(at, layer)
                at += 1
    return order


def _against(record: RunRecord, first: RunRecord) -> str:
    cycles, before = record.summary.cycles, first.summary.cycles
    change = f" ({signed(cycles / before - 1)})" if record is not first and before else ""
    return f"{cycles:,} cycles{change}"


def _layers_chart(records: Sequence[RunRecord], runs: Sequence[dict[Key, LayerRow]], layers: Sequence[Key]) -> Chart:
    """Cycles of each layer in each run, or what they are more or less than in the first."""
    names = [name for name, _ in layers]
    data = []
    for number, (record, run) in enumerate(zip(records, runs, strict=True)):
        cycles = [run[layer].layer.cycles if layer in run else None for layer in layers]
        before = [runs[0][layer].layer.cycles if layer in runs[0] else None for layer in layers]
        data.append({
            "type": "bar", "name": text(record.name), "x": list(range(len(layers))), "y": cycles,
            "marker": {"color": PALETTE[number % len(PALETTE)]},
            "customdata": [
                [text(name), _count(now), _change(now, old)]
                for name, now, old in zip(names, cycles, before, strict=True)
            ],
            "hovertemplate": f"%{{customdata[0]}}<br>{text(record.name)}: <b>%{{customdata[1]}} cycles</b> "
                             "%{customdata[2]}<extra></extra>",
        })  # fmt: skip
    forms = {
        "cycles": [trace["y"] for trace in data],
        "more or less": [
            [now - old if now is not None and old is not None else None
             for now, old in zip(trace["y"], data[0]["y"], strict=True)]
            for trace in data
        ],
    }  # fmt: skip
    buttons = [
        {"label": label, "method": "update", "args": [{"y": values}, {"yaxis.title.text": title}]}
        for (label, values), title in zip(forms.items(), ("cycles", f"cycles against {text(records[0].name)}"),
                                          strict=True)
    ]  # fmt: skip
    return Chart(
        "layers", "Cycles by layer", "Changes are against the first run.", data,
        layer_layout(names, yaxis=axis("cycles"), updatemenus=[menu(buttons)])
        | {"barmode": "group", "legend": {}},
        _table(records, runs, layers),
    )  # fmt: skip


def _totals_chart(records: Sequence[RunRecord]) -> Chart:
    """Where the cycles of each run went."""
    return _stacked(
        records, "causes", "Where the cycles went", "What the compute units did, mean over the cores.", "cycles",
        {words: [each.summary.compute_cycles[cause] for each in records] for cause, words in CAUSES.items()},
        list(CAUSE_COLOURS.values()),
    )  # fmt: skip


def _bytes_chart(records: Sequence[RunRecord]) -> Chart:
    """DRAM bytes of each run by class."""
    return _stacked(
        records, "bytes", "DRAM bytes by class", "Reads and writes of all memory nodes.", "bytes",
        {kind: [each.summary.dram_bytes[kind] for each in records] for kind in CLASSES}, PALETTE,
    )  # fmt: skip


def _stacked(
    records: Sequence[RunRecord], key: str, title: str, note: str, unit: str, of: dict[str, list[float]],
    colours: Sequence[str],
) -> Chart:  # fmt: skip
    """A bar for each run."""
    names = [text(each.name) for each in records]
    data = [
        {"type": "bar", "orientation": "h", "name": name, "y": names, "x": values, "marker": {"color": colour},
         "hovertemplate": f"%{{y}}<br><b>{name}: %{{x:,.0f}} {unit}</b><extra></extra>"}
        for (name, values), colour in zip(of.items(), colours, strict=False)
    ]  # fmt: skip
    looks = layout(
        120 + 44 * len(records), barmode="stack", bargap=0.3, xaxis=axis(unit),
        yaxis=axis("", autorange="reversed", showgrid=False, type="category"),
    )  # fmt: skip
    rows = [
        [each.name, *(_count(values[number]) for values in of.values()), _count(sum(v[number] for v in of.values()))]
        for number, each in enumerate(records)
    ]
    return Chart(key, title, note, data, looks, Table(["run", *of, "sum"], rows), wide=False)


def _grid(records: Sequence[RunRecord], runs: Sequence[dict[Key, LayerRow]], layers: Sequence[Key]) -> Grid:
    """Cycles of each layer, and what changed against the first run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["layer", *(f"{each.name}_cycles" for each in records)])
    header, rows = ["layer", records[0].name], []
    for each in records[1:]:
        header += [each.name, "change", "in %"]
    for layer in layers:
        counts = [run[layer].layer.cycles if layer in run else None for run in runs]
        writer.writerow([layer[0], *counts])
        cells = [Cell(layer[0], layer[0]), Cell(_count(counts[0]), counts[0])]
        for count in counts[1:]:
            before = counts[0]
            change = None if count is None or before is None else count - before
            share = change / before if change is not None and before else None
            cells += [
                Cell(_count(count), count), Cell("" if change is None else f"{change:+,}", change),
                Cell("" if share is None else signed(share), share),
            ]  # fmt: skip
        rows.append(cells)
    return Grid("Layers", header, rows, "layers.csv", file.getvalue())


def _table(records: Sequence[RunRecord], runs: Sequence[dict[Key, LayerRow]], layers: Sequence[Key]) -> Table:
    rows = [
        [layer[0], *(_count(run[layer].layer.cycles) if layer in run else "" for run in runs)] for layer in layers
    ]
    return Table(["layer", *(each.name for each in records)], rows)


def _figures(records: Sequence[RunRecord]) -> Table:
    """The figures of all runs."""
    facts = [dict(run_facts(each.summary)) for each in records]
    names = dict.fromkeys(name for each in facts for name in each)
    rows = [["cycles", *(_against(each, records[0]) for each in records)]]
    rows += [[name, *(each.get(name, "") for each in facts)] for name in names]
    for name in dict.fromkeys(name for each in records for name in each.summary.energy):
        rows.append([f"energy, {name}", *(_energy(each, name) for each in records)])
    return Table(["", *(each.name for each in records)], rows)


def _energy(record: RunRecord, name: str) -> str:
    energy = record.summary.energy.get(name)
    return f"{energy['total']:.4g} {energy['unit']}" if energy else ""


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _change(now: int | None, before: int | None) -> str:
    return "" if now is None or not before else f"({signed(now / before - 1)})"
