"""Roofline: what the layers reach, and what PEs, DRAM and links allow (Williams, Waterman, Patterson, 2009)."""

from __future__ import annotations

from collections.abc import Sequence

from tb.report.colours import VERMILION
from tb.report.html.charts.chart import HEIGHT, INK, Chart, Styles, Table, describe, layout, log_axis, text
from tb.report.layers import LayerRow

__all__ = ["roofline_chart"]

NAMED = 8
"""Points that have room for their names."""
PLACES = ("bottom center", "top center")


def roofline_chart(rows: Sequence[LayerRow], styles: Styles, pe_count: int, bytes_per_cycle: float) -> Chart:
    """Of the rows that multiply and move bytes.

    Parameters
    ----------
    bytes_per_cycle : float
        Of all memory nodes.
    """
    rows = [row for row in rows if row.layer.macs and row.layer.cycles and sum(row.layer.dram_bytes.values())]
    intensity = {id(row): row.layer.macs / sum(row.layer.dram_bytes.values()) for row in rows}
    # Names stand below and above their points in turn, for neighbours are near.
    places = {id(row): PLACES[at % 2] for at, row in enumerate(sorted(rows, key=lambda row: intensity[id(row)]))}
    ridge = pe_count / bytes_per_cycle
    left, right = min([*intensity.values(), ridge]) / 2, max([*intensity.values(), ridge]) * 2
    data = [{
        "type": "scatter", "mode": "lines", "name": "DRAM and PEs allow", "x": [left, ridge, right],
        "y": [left * bytes_per_cycle, pe_count, pe_count], "line": {"color": INK, "width": 2}, "hoverinfo": "skip",
    }]  # fmt: skip
    by_link = [(row, row.layer.macs / flits) for row in rows if (flits := row.bounds.get("busiest link"))]
    below = [(row, most) for row, most in by_link if most <= pe_count]
    data.append({
        "type": "scatter", "mode": "markers", "name": "busiest link allows",
        "x": [intensity[id(row)] for row, _ in below], "y": [most for _, most in below],
        "marker": {"symbol": "line-ew", "size": 13, "line": {"color": VERMILION, "width": 2.5}},
        "customdata": [text(row.layer.name) for row, _ in below],
        "hovertemplate": "%{customdata}: its busiest link allows %{y:,.1f} MACs per cycle<extra></extra>",
    })  # fmt: skip
    for op, marker in styles.items():
        some = [row for row in rows if row.layer.op == op]
        if not some:
            continue
        data.append({
            "type": "scatter", "mode": "markers+text" if len(rows) <= NAMED else "markers", "name": text(op),
            "x": [intensity[id(row)] for row in some], "y": [row.layer.macs / row.layer.cycles for row in some],
            "marker": marker, "customdata": [describe(row) for row in some],
            "text": [text(row.layer.name) for row in some], "textposition": [places[id(row)] for row in some],
            "textfont": {"size": 10},
            "cliponaxis": False,
            "hovertemplate": "%{customdata}<br><b>%{y:,.1f} MACs per cycle, %{x:,.2f} per byte</b><extra></extra>",
        })  # fmt: skip
    heights = [row.layer.macs / row.layer.cycles for row in rows] + [most for _, most in below] + [pe_count]
    return Chart(
        "roofline",
        "Roofline",
        f"Points: what layers reach. Line: what {bytes_per_cycle:g} DRAM bytes a cycle and {pe_count:,} PEs allow. "
        "Dashes: what a layer's busiest link allows, where that is less than the PEs. Layers without "
        "multiplications are left out; weights that are loaded while the layer before computes may lift a layer over "
        "the line.",
        data,
        layout(
            HEIGHT, wide=False, xaxis=log_axis("MACs per DRAM byte", left, right),
            yaxis=log_axis("MACs per cycle", min(heights) / 1.6, pe_count * 1.6),
            hovermode="closest",
        ),
        Table(
            ["layer", "MACs", "DRAM bytes", "MACs per byte", "MACs per cycle", "PEs allow", "DRAM allows",
             "busiest link allows"],
            [_numbers(row, intensity[id(row)], pe_count, bytes_per_cycle) for row in rows],
        ),
        wide=False,
    )  # fmt: skip


def _numbers(row: LayerRow, intensity: float, pe_count: int, bytes_per_cycle: float) -> list[str]:
    layer, flits = row.layer, row.bounds.get("busiest link")
    return [
        layer.name, f"{layer.macs:,}", f"{sum(layer.dram_bytes.values()):,}", f"{intensity:,.2f}",
        f"{layer.macs / layer.cycles:,.1f}", f"{pe_count:,}", f"{intensity * bytes_per_cycle:,.1f}",
        f"{layer.macs / flits:,.1f}" if flits else "",
    ]  # fmt: skip
