"""Where the cycles went: a bar for each layer, stacked by what the compute units did."""

from __future__ import annotations

from collections.abc import Sequence

from tb.report.colours import CAUSE_COLOURS
from tb.report.html.charts.chart import Chart, Table, axis, describe, layer_layout, menu
from tb.report.layers import LayerRow
from tb.report.summary import CAUSES, percent

__all__ = ["causes_chart"]


def causes_chart(rows: Sequence[LayerRow]) -> Chart:
    """Of the rows of the chip."""
    names, descriptions = [row.layer.name for row in rows], [describe(row) for row in rows]
    sums = [sum(row.layer.compute_cycles.values()) for row in rows]
    data = []
    for cause, words in CAUSES.items():
        counts = [row.layer.compute_cycles.get(cause, 0.0) for row in rows]
        shares = [percent(count / total if total else None) for count, total in zip(counts, sums, strict=True)]
        data.append({
            "type": "bar", "name": words, "x": list(range(len(rows))), "y": counts,
            "marker": {"color": CAUSE_COLOURS[cause], "line": {"color": "white", "width": 0.4}},
            "customdata": [list(each) for each in zip(descriptions, counts, shares, strict=True)],
            "hovertemplate": f"%{{customdata[0]}}<br><b>{words}: %{{customdata[1]:,.0f}} cycles, "
                             "%{customdata[2]}</b><extra></extra>",
        })  # fmt: skip
    forms = [("cycles", "", "cycles"), ("shares", "percent", "% of the layer")]
    buttons = [
        {"label": label, "method": "relayout", "args": [{"barnorm": norm, "yaxis.title.text": title}]}
        for label, norm, title in forms
    ]
    return Chart(
        "causes",
        "Where the cycles went",
        "What the compute units did, mean over the cores, from the RTL's counters. The eight causes add up to the "
        "cycles of the run, but for the one of each start.",
        data,
        layer_layout(names, yaxis=axis("cycles"), updatemenus=[menu(buttons)]),
        Table(
            ["layer", *CAUSES.values(), "sum", "cycles"],
            [
                [row.layer.name, *(f"{row.layer.compute_cycles.get(cause, 0):,.1f}" for cause in CAUSES),
                 f"{total:,.1f}", f"{row.layer.cycles:,}"]
                for row, total in zip(rows, sums, strict=True)
            ],
        ),
    )  # fmt: skip
