"""The estimate against the RTL: cycles of both, and the signed error, over the cycles of the RTL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tb.report.colours import PALE
from tb.report.html.charts.chart import HEIGHT, INK, Chart, Styles, Table, axis, describe, layout, log_axis, text
from tb.report.layers import LayerRow
from tb.report.summary import LayerSummary, signed

__all__ = ["estimate_chart"]

BAND = 0.05
"""Half the width of the band."""
LAUNCH = {"color": INK, "symbol": "circle-open", "size": 13, "line": {"width": 1.5}}


def estimate_chart(rows: Sequence[LayerRow], styles: Styles, launches: Sequence[LayerSummary]) -> Chart:
    """Of rows and of launches of the chip; these have intervals."""
    known = [layer for layer in launches if layer.estimated_interval]
    cycles = [row.layer.cycles for row in rows] + [layer.cycles for layer in known] or [1]
    ends = [min(cycles) / 1.6, max(cycles) * 1.6]
    data = [
        _band([*ends, *reversed(ends)], [ends[0] * (1 - BAND), ends[1] * (1 - BAND), ends[1] * (1 + BAND),
                                         ends[0] * (1 + BAND)], "y"),
        _band([*ends, *reversed(ends)], [-BAND, -BAND, BAND, BAND], "y2"),
        _line(ends, ends, "y"), _line(ends, [0, 0], "y2"),
    ]  # fmt: skip
    for op, marker in styles.items():
        some = [row for row in rows if row.layer.op == op]
        hover = [describe(row) for row in some]
        points = {"x": [row.layer.cycles for row in some], "customdata": hover, "marker": marker,
                  "hovertemplate": "%{customdata}<extra></extra>"}  # fmt: skip
        data += _both(op, points, [row.layer for row in some])
    if known:
        hover = [
            f"<b>launch {text(layer.name)}</b><br>{layer.cycles:,} cycles; estimated {layer.estimated_cycles:,}, "
            f"90 %: {_interval(layer)}"
            for layer in known
        ]
        points = {"x": [layer.cycles for layer in known], "customdata": hover, "marker": LAUNCH,
                  "hovertemplate": "%{customdata}<extra></extra>"}  # fmt: skip
        data += _both("launch, 90 % interval", points, known, bars=True)
    return Chart(
        "estimate",
        "Estimate against RTL",
        f"Band: {100 * BAND:.0f} % either way. Bars: the RTL lies in them in nine launches of ten, so they should "
        "cross the line.",
        data,
        layout(
            HEIGHT, wide=False, hovermode="closest",
            xaxis=log_axis("cycles of the RTL", *ends, anchor="y2"),
            yaxis=log_axis("estimated", *ends, domain=[0.42, 1]),
            yaxis2=axis("error", tickformat="+.0%", domain=[0, 0.32]),
        ),
        Table(
            ["layer", "RTL", "estimated", "error", "90 % interval", "inside"],
            [
                *(_numbers(row.layer) for row in rows),
                *(_numbers(layer) for layer in known if not any(row.layer.name == layer.name for row in rows)),
            ],
        ),
        wide=False,
    )  # fmt: skip


def _both(name: str, points: dict[str, Any], layers: Sequence[LayerSummary], *, bars: bool = False) -> list[dict]:
    """The points of some layers in both panels."""
    estimates, errors = [layer.estimated_cycles for layer in layers], [layer.estimate_error or 0.0 for layer in layers]
    base = {"type": "scatter", "mode": "markers", "name": text(name), "legendgroup": name, **points}
    upper, lower = {**base, "y": estimates, "yaxis": "y"}, {**base, "y": errors, "yaxis": "y2", "showlegend": False}
    if bars:
        limits = [layer.estimated_interval or (0, 0) for layer in layers]
        lows = [layer.estimated_cycles - low for layer, (low, _) in zip(layers, limits, strict=True)]
        highs = [high - layer.estimated_cycles for layer, (_, high) in zip(layers, limits, strict=True)]
        upper["error_y"] = _bars(highs, lows)
        lower["error_y"] = _bars(*(
            [each / layer.cycles for each, layer in zip(some, layers, strict=True)] for some in (highs, lows)
        ))  # fmt: skip
    return [upper, lower]


def _bars(above: list[float], below: list[float]) -> dict[str, Any]:
    return {"type": "data", "array": above, "arrayminus": below, "symmetric": False, "color": INK, "thickness": 1.2}


def _band(x: list[float], y: list[float], yaxis: str) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "yaxis": yaxis, "fill": "toself", "fillcolor": PALE,
            "opacity": 0.5, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}  # fmt: skip


def _line(x: list[float], y: list[float], yaxis: str) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "yaxis": yaxis, "line": {"color": INK, "width": 1},
            "hoverinfo": "skip", "showlegend": False}  # fmt: skip


def _interval(layer: LayerSummary) -> str:
    low, high = layer.estimated_interval or (0, 0)
    return f"{low:,.0f} to {high:,.0f}"


def _numbers(layer: LayerSummary) -> list[str]:
    limits = layer.estimated_interval
    inside = "" if limits is None else "yes" if limits[0] <= layer.cycles <= limits[1] else "no"
    return [
        layer.name, f"{layer.cycles:,}", f"{layer.estimated_cycles:,}", signed(layer.estimate_error),
        _interval(layer) if limits else "", inside,
    ]  # fmt: skip
