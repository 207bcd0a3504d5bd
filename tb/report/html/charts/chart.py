"""What all figures share: a figure with its table, its looks, and axes of layers.

Figures are dictionaries as plotly.js takes them (https://plotly.com/javascript/reference): it is quicker to write
them than to have Plotly's Python classes check them in every run; the tests do that.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any

from tb.report.colours import PALETTE
from tb.report.layers import LayerRow
from tb.report.summary import CAUSES, largest_loss, percent, signed
from tb.report.terminal import shorten

__all__ = [
    "HEIGHT", "INK", "Chart", "Styles", "Table", "axis", "describe", "layer_layout", "layout", "log_axis",
    "menu", "op_styles", "text",
]  # fmt: skip

HEIGHT = 370
"""Pixels of the figures that stand side by side."""
GRID, INK = "#e3e6e8", "#22282d"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star", "hexagon", "pentagon")
BELOW = {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"}
"""Place of a legend that does not stand beside its figure."""
LABEL = 26
"""Characters of a layer's name under an axis."""
TURNS = ((8, 0, 11), (45, 40, 11), (math.inf, 90, 9))
"""Names, up to so many, are turned by so many degrees and so large."""
WIDTH = 0.6
"""Of a character, as a share of the size of its font."""
TICK = 22
"""Pixels of an axis beside the length of its names that stand across it."""
TICKS = 8
BARS = 280
"""Pixels of figures with a bar for each layer, beside the names of these."""
LABELS = 90
"""Names that an axis has room for."""
WRAP = 70
"""Characters in a line of what is shown under the mouse."""


Styles = Mapping[str, Mapping[str, Any]]
"""Markers by operator."""


@dataclass(frozen=True)
class Table:
    """A table of texts, first columns `texts` of which are words and the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True)
class Chart:
    """A figure and the same numbers as a table.

    Attributes
    ----------
    note : str
        How to read it, in a sentence or two.
    data, layout : traces and layout, as plotly.js takes them.
    """

    key: str
    title: str
    note: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    table: Table
    wide: bool = field(default=True, kw_only=True)
    """Whether it takes the whole width of the page."""


def layout(height: int, *, wide: bool = True, **more: Any) -> dict[str, Any]:
    """The layout of a figure so many pixels high; a wide one has its legend beside it."""
    return {
        "height": height,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 56, "r": 12, "t": 26, "b": 30},
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": INK, "size": 11}},
        "legend": {"font": {"size": 11}, **({} if wide else BELOW)},
        **more,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis."""
    look = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": INK, "automargin": True, "ticks": "outside"}
    return {"title": {"text": title, "standoff": 6}, "tickcolor": INK, "ticklen": 3, **look, **more}


def log_axis(title: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A logarithmic axis with as many ticks as can be read: 1, 2 and 5, or powers of ten alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    if len(ticks) > TICKS:
        ticks = [10.0**power for power in powers if low <= 10.0**power <= high]
    return axis(
        title, type="log", range=[math.log10(low), math.log10(high)], tickvals=ticks,
        ticktext=[f"{tick / 1e6:g}M" if tick >= 1e6 else f"{tick / 1e3:g}k" if tick >= 1e3 else f"{tick:g}"
                  for tick in ticks],
        **more,
    )  # fmt: skip


def layer_layout(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """The layout of stacked bars, a place for each layer, from 0 on; of very many only some are named.

    The longer the names are, the higher is the figure, so that the bars keep their room.
    """
    every = -(-len(names) // LABELS)
    shown = range(0, len(names), every)
    angle, size = next((angle, size) for count, angle, size in TURNS if len(names) <= count)
    labels = [shorten(_brief(names[at]), LABEL) for at in shown]
    lengths = [len(label) * size * WIDTH for label in labels] or [0.0]
    down = round(max(lengths) * math.sin(math.radians(angle)))
    left = lengths[0] * math.cos(math.radians(angle)) if angle else 0.0
    places = axis(
        "", tickvals=list(shown), ticktext=list(map(text, labels)), tickangle=-angle, tickfont={"size": size},
        showgrid=False, zeroline=False, range=[-0.6, len(names) - 0.4],
    )  # fmt: skip
    looks = layout(BARS + down, barmode="stack", bargap=0.15, xaxis=places, **more)
    # Axes that make room for themselves draw all bars several times: half of what the figure takes.
    fixed = {name: looks[name] | {"automargin": False} for name in ("xaxis", "yaxis")}
    legend = looks["legend"] | {"traceorder": "reversed"}
    margin = looks["margin"] | {"b": down + TICK, "l": max(56, round(left))}
    return {**looks, **fixed, "legend": legend, "margin": margin}


def _brief(name: str) -> str:
    """A layer's name in which a fused operation drops what it shares with the one before: 'layer1.0.conv2+add'."""
    parts = name.split("+")
    found = parts[:1]
    for before, part in pairwise(part.split(".") for part in parts):
        shared = next((at for at, (a, b) in enumerate(zip(before, part, strict=False)) if a != b), 0)
        found.append(".".join(part[shared:]))
    return "+".join(found)


def menu(buttons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Buttons at the upper left of a figure; the first one is as it begins."""
    return {
        "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
        "pad": {"t": 0, "b": 0}, "font": {"size": 11}, "showactive": True, "buttons": list(buttons),
    }  # fmt: skip


def text(words: str) -> str:
    """Words in a figure, where plotly.js would take some characters for markup."""
    return escape(words, quote=False)


def describe(row: LayerRow) -> str:
    """What a row's bars and points show under the mouse."""
    layer = row.layer
    lines = [f"<b>{text(shorten(layer.name, WRAP))}</b>  {text(layer.op)}"]
    lines += textwrap.wrap(text(layer.mapping), WRAP)[:4]
    lines += [f"{layer.cycles:,} cycles; estimated {layer.estimated_cycles:,} ({signed(layer.estimate_error)})"]
    lines += [f"{layer.macs:,} MACs, {percent(layer.utilization)} of the PEs used"] if layer.macs else []
    lines += [f"{row.moved_bytes:,} DRAM bytes"]
    lines += [f"bound: {row.bound} of the cycles"]
    loss = largest_loss(layer.compute_cycles)
    lines += [f"largest loss: {CAUSES[loss[0]]}, {percent(loss[1])}"] if loss else []
    return "<br>".join(lines)


def op_styles(rows: Sequence[LayerRow]) -> Styles:
    """Markers of points, a colour and a shape for each operator."""
    ops = dict.fromkeys(row.layer.op for row in rows)
    return {
        op: {"color": PALETTE[at % len(PALETTE)], "symbol": SYMBOLS[at % len(SYMBOLS)], "size": 8, "opacity": 0.85}
        for at, op in enumerate(ops)
    }
