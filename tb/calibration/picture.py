"""The picture of a calibration: errors of layers that were never fitted, by their cycles. It needs Matplotlib."""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tb.calibration.record import Calibration
from tb.calibration.validation import team
from tb.report.colours import BLUE, GREEN, ORANGE

__all__ = ["picture"]

STYLES = {"1 core": (BLUE, "o"), "2-8 cores": (ORANGE, "s"), "over 8 cores": (GREEN, "^")}
"""Colours, and markers beside them."""


def picture(found: Calibration) -> str:
    """The SVG; the same record gives the same text."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "systomesh", "font.size": 9}):
        canvas = Figure(figsize=(12.0, 5.0), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.subplots(1, 2, sharey=True)
        _scatter(axes[0], found, "before", "before the fit")
        _scatter(axes[1], found, "after", "fitted to kernels")
        axes[0].set_ylabel("estimate / RTL - 1, %")
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _scatter(axes: Axes, found: Calibration, which: str, title: str) -> None:
    for name, (colour, marker) in STYLES.items():
        some = [layer for layer in found.layers if team(layer) == name]
        errors = [100 * (getattr(layer, which) / layer.cycles - 1) for layer in some]
        axes.scatter([layer.cycles for layer in some], errors, s=12, c=colour, marker=marker, alpha=0.6, label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("cycles of the layer on the RTL")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
