"""The picture of the experiment on sparse engines: speed over dense by network, over run-ahead, and over densities.

It needs Matplotlib, the extra `plot`.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from tb.experiment.drawing import bars, line, svg
from tb.experiment.records import Book, Record, speed_up
from tb.experiment.sparse.layers import conv_cycles
from tb.experiment.sparse.points import (
    AHEADS,
    CONVOLUTIONS,
    DENSITIES,
    GRID_LAYER,
    NETS,
    USUAL_AHEAD,
    dense,
    grid,
    sparse,
)
from tb.report.colours import BLUE, GREEN, ORANGE, PURPLE, SKY

__all__ = ["picture"]

SIZE = (13.0, 7.5)
"""Inches."""


def picture(book: Book) -> str:
    """The SVG; the same records give the same text."""

    def draw(canvas: Canvas) -> None:
        grid = canvas.add_gridspec(2, 2)
        _networks(canvas.add_subplot(grid[0, :]), book)
        _runahead(canvas.add_subplot(grid[1, 0]), book)
        _densities(canvas.add_subplot(grid[1, 1]), book)

    return svg(SIZE, draw)


def _convolutions(slow: Record, fast: Record) -> float:
    return conv_cycles(slow) / conv_cycles(fast)


def _finished(axes: Axes, label: str, title: str) -> None:
    axes.axhline(1, color="grey", linewidth=0.6)
    axes.set_ylabel(label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _networks(axes: Axes, book: Book) -> None:
    arms = [
        (0, speed_up, "whole network, lockstep", ORANGE, ""),
        (USUAL_AHEAD, speed_up, f"whole network, s = {USUAL_AHEAD}", BLUE, "//"),
        (0, _convolutions, "convolutions, lockstep", PURPLE, ".."),
        (USUAL_AHEAD, _convolutions, f"convolutions, s = {USUAL_AHEAD}", GREEN, "xx"),
    ]
    for place, (ahead, function, label, colour, hatch) in enumerate(arms):
        figures = [book.figure(function, dense(net), sparse(net, ahead=ahead)) for net in NETS]
        drawn = bars(axes, place - 1.5, 0.2, figures, label, colour, hatch)
        texts = ["" if figure.value is None else f"{figure.value:.2f}" for figure in figures]
        axes.bar_label(drawn, texts, fontsize=7, padding=1)
    axes.set_xticks([number for number, _ in enumerate(NETS)], list(NETS))
    axes.margins(y=0.12)
    _finished(axes, "times the dense chip", "Four sparse cores against four dense ones (faint: estimated)")


def _runahead(axes: Axes, book: Book) -> None:
    colours = ((BLUE, "o"), (ORANGE, "s"))
    for (net, layers), (colour, marker) in zip(CONVOLUTIONS.items(), colours, strict=True):
        points = [sparse(net, layers=layers, ahead=ahead) for ahead in AHEADS]
        figures = [book.figure(_convolutions, dense(net, layers=layers), point) for point in points]
        line(axes, AHEADS, figures, f"{net} {layers}", colour, marker)
    axes.set_xticks(AHEADS)
    axes.set_xlabel("items by which PEs run ahead, s")
    _finished(axes, "times the dense chip", "Run-ahead (hollow: estimated)")


def _densities(axes: Axes, book: Book) -> None:
    weights, acts = DENSITIES
    baseline = dense("alexnet", layers=GRID_LAYER, schedule="layers")
    styles = ((BLUE, "o"), (GREEN, "D"), (SKY, "v"))
    for live, (colour, marker) in zip(acts, styles, strict=True):
        for ahead, dashes in ((USUAL_AHEAD, "-"), (0, ":")):
            figures = [book.figure(speed_up, baseline, grid(kept, live, ahead)) for kept in weights]
            label = f"activations {100 * live:g} %" + (", lockstep" if ahead == 0 else "")
            line(axes, [100 * kept for kept in weights], figures, label, colour, marker, dashes)
    axes.set_xlabel("% of the weights that are not zero")
    axes.invert_xaxis()
    _finished(axes, "times the dense chip", f"Densities, {GRID_LAYER} of AlexNet")
