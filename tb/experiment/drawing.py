"""Drawing of an experiment's picture: bars and lines of figures, and the SVG that holds them.

What is estimated is faint or hollow, what is missing leaves a gap. It needs Matplotlib, the extra `plot`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import BarContainer
from matplotlib.figure import Figure as Canvas

from tb.experiment.records import Figure

__all__ = ["bars", "line", "svg"]

FAINT = 0.45
"""Opacity of what is estimated."""


def svg(size: tuple[float, float], draw: Callable[[Canvas], None]) -> str:
    """An SVG of so many inches; the same figures give the same text."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "systomesh", "font.size": 9, "hatch.linewidth": 0.6}):
        canvas = Canvas(figsize=size, layout="constrained")
        FigureCanvasSVG(canvas)
        draw(canvas)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def bars(
    axes: Axes, place: float, width: float, figures: Sequence[Figure], label: str, colour: str, hatch: str
) -> BarContainer:
    """A bar for each figure, in the place of so many widths."""
    xs = [number + place * width for number in range(len(figures))]
    heights = [figure.value or 0.0 for figure in figures]
    drawn = axes.bar(xs, heights, width, edgecolor="black", linewidth=0.5, color=colour, hatch=hatch, label=label)
    for bar, figure in zip(drawn.patches, figures, strict=True):
        bar.set_alpha(FAINT if figure.estimated else 1.0)
    return drawn


def line(
    axes: Axes, xs: Sequence[float], figures: Sequence[Figure], label: str, colour: str, marker: str, dashes: str = "-"
) -> None:
    """A line through figures, and its place in the legend."""
    ys = [math.nan if figure.value is None else figure.value for figure in figures]
    axes.plot(xs, ys, dashes, color=colour)
    for x, y, figure in zip(xs, ys, figures, strict=True):
        face = "white" if figure.estimated else colour
        axes.plot([x], [y], marker, color=colour, markerfacecolor=face, markersize=6)
    axes.plot([], [], dashes + marker, color=colour, label=label)  # the legend's
