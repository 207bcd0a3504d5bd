"""DRAM bytes and energy by class: a bar for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tb.report.colours import PALETTE
from tb.report.html.charts.chart import Chart, Table, axis, layer_layout, menu, text
from tb.report.layers import LayerRow
from tb.report.summary import CLASSES, percent

__all__ = ["bytes_chart", "energy_chart"]


def bytes_chart(rows: Sequence[LayerRow]) -> Chart:
    """Of rows of the chip."""
    names = [row.layer.name for row in rows]
    return Chart(
        "bytes",
        "DRAM bytes by class",
        "Reads and writes of all memory nodes, from the RTL's counters; those of layers that share a launch from their "
        "instructions, which the counters equal.",
        [
            _bar(kind, names, [row.layer.dram_bytes.get(kind, 0) for row in rows], PALETTE[at], "%{y:,.0f} bytes")
            for at, kind in enumerate(CLASSES)
        ],
        layer_layout(names, yaxis=axis("bytes")),
        Table(
            ["layer", *CLASSES, "sum"],
            [
                [row.layer.name, *(f"{row.layer.dram_bytes.get(kind, 0):,}" for kind in CLASSES),
                 f"{sum(row.layer.dram_bytes.values()):,}"]
                for row in rows
            ],
        ),
    )  # fmt: skip


def energy_chart(rows: Sequence[LayerRow], units: Mapping[str, str]) -> Chart:
    """Of rows of the chip, by sets of constants, each with its unit."""
    names = [row.layer.name for row in rows]
    data, shown, table = [], [], []
    for name, unit in units.items():
        of = [row.layer.energy.get(name, {}) for row in rows]
        kinds = list(dict.fromkeys(kind for each in of for kind in each))
        total = sum(sum(each.values()) for each in of)
        for at, kind in enumerate(kinds):
            count = sum(each.get(kind, 0.0) for each in of)
            table.append([name, kind, f"{count:,.0f}", unit, percent(count / total if total else None)])
            if not count:
                continue
            bar = _bar(kind, names, [each.get(kind, 0.0) for each in of], PALETTE[at], f"%{{y:.3g}} {unit}")
            data.append(bar | {"visible": name == next(iter(units))})
            shown.append(name)
        table.append([name, "all", f"{total:,.0f}", unit, ""])
    buttons = [
        {"label": name, "method": "update",
         "args": [{"visible": [each == name for each in shown]}, {"yaxis.title.text": unit}]}
        for name, unit in units.items()
    ]  # fmt: skip
    return Chart(
        "energy",
        "Energy by class",
        "Events of the programs, which the RTL's counters equal, times the constants of a named set. For ratios "
        "between runs, never as joules.",
        data,
        layer_layout(
            names, yaxis=axis(next(iter(units.values()), ""), exponentformat="SI"), updatemenus=[menu(buttons)]
        ),
        Table(["set", "class", "energy", "unit", "share"], table, texts=2),
    )  # fmt: skip


def _bar(name: str, layers: Sequence[str], values: Sequence[float], colour: str, value: str) -> dict:
    return {
        "type": "bar", "name": name, "x": list(range(len(layers))), "y": list(values),
        "marker": {"color": colour, "line": {"color": "white", "width": 0.4}},
        "customdata": [text(layer) for layer in layers],
        "hovertemplate": f"%{{customdata}}<br><b>{name}: {value}</b><extra></extra>",
    }  # fmt: skip
