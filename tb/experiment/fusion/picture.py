"""The picture of the experiment on fused schedules: bytes and cycles by network, and speed against memory rate.

Colours are those of Okabe and Ito, which the colour-blind can tell apart; bars also have hatches, lines markers.
It needs Matplotlib, the extra `plot`.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from tb.experiment.drawing import bars, line, svg
from tb.experiment.fusion.points import CURVE_RATES, KINDS, NETS, headline
from tb.experiment.point import Point
from tb.experiment.records import Book, Figure, Record, combine, speed_up
from tb.experiment.text import geometric
from tb.report.colours import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

__all__ = ["picture"]

SIZE = (13.0, 10.5)
"""Inches."""
COLOURS = {"apart": ORANGE, "layers": SKY, "fused": GREEN}
HATCHES = {"apart": "", "layers": "//", "fused": ".."}


def picture(book: Book) -> str:
    """The SVG; the same records give the same text."""

    def draw(canvas: Canvas) -> None:
        grid = canvas.add_gridspec(3, 2, height_ratios=(1, 1, 1.1))
        _bytes(canvas.add_subplot(grid[0, :]), book)
        _arms(canvas.add_subplot(grid[1, :]), book)
        _curve(canvas.add_subplot(grid[2, 0]), book, "apart")
        _curve(canvas.add_subplot(grid[2, 1]), book, "layers")

    return svg(SIZE, draw)


def _by_network(axes: Axes, label: str, title: str, columns: int) -> None:
    axes.set_xticks([number for number, _ in enumerate(NETS)], NETS)
    axes.set_ylabel(label)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.78, 1.14), ncols=columns, frameon=False)


def _share(value: Record, whole: Record) -> float:
    return 100 * value.megabytes / whole.megabytes


def _bytes(axes: Axes, book: Book) -> None:
    for place, kind in enumerate(KINDS):
        shares = [book.figure(_share, headline(net, kind), headline(net, "apart")) for net in NETS]
        drawn = bars(axes, place - 1, 0.27, shares, kind, COLOURS[kind], HATCHES[kind])
        moved = [book.figure(lambda record: record.megabytes, headline(net, kind)) for net in NETS]
        texts = ["" if figure.value is None else f"{figure.value:.3g}" for figure in moved]
        axes.bar_label(drawn, texts, fontsize=7, padding=1)
    axes.set_ylim(0, 118)
    _by_network(axes, "% of apart", "DRAM traffic on the headline chip, overlapped (numbers: MB; faint: estimated)", 3)


def _arms(axes: Axes, book: Book) -> None:
    arms = [("apart", False, ORANGE, ""), ("apart", True, VERMILION, "//"), ("fused", False, SKY, ""),
            ("fused", True, BLUE, "//")]  # fmt: skip
    for place, (kind, overlap, colour, hatch) in enumerate(arms):
        speeds = [
            book.figure(speed_up, headline(net, "apart", overlap=False), headline(net, kind, overlap=overlap))
            for net in NETS
        ]
        label = f"{'fused' if kind == 'fused' else 'apart'}, {'overlapped' if overlap else 'serial'}"
        drawn = bars(axes, place - 1.5, 0.2, speeds, label, colour, hatch)
        texts = ["" if figure.value is None else f"{figure.value:.2f}" for figure in speeds]
        axes.bar_label(drawn, texts, fontsize=6.5, padding=1)
    axes.margins(y=0.12)
    _by_network(axes, "times apart, serial", "Speed on the headline chip (faint: estimated)", 4)


def _curve(axes: Axes, book: Book, base: str) -> None:
    def speeds(net: str) -> list[Figure]:
        return [book.figure(speed_up, *_pair(net, base, rate)) for rate in CURVE_RATES]

    balances = [512 / rate for rate in CURVE_RATES]
    means = [combine(geometric, *figures) for figures in zip(*map(speeds, NETS), strict=True)]
    chosen = (("resnet50", BLUE, "o"), ("mobilenet_v2", PURPLE, "v"), ("vgg16", ORANGE, "s"))
    lines = [(net, speeds(net), colour, marker, "-") for net, colour, marker in chosen]
    lines.append(("geometric mean of nine", means, "black", "D", "--"))
    for label, figures, colour, marker, dashes in lines:
        line(axes, balances, figures, label, colour, marker, dashes)
    axes.set_xscale("log", base=2)
    axes.set_xticks(balances, [f"{512 / rate:.0f}\n{2 * rate} B/cycle" for rate in CURVE_RATES])
    axes.set_xlim(balances[0] / 1.15, balances[-1] * 1.15)
    axes.minorticks_off()
    axes.axhline(1, color="grey", linewidth=0.6)
    axes.set_xlabel("multiply-accumulates a byte of DRAM bandwidth")
    axes.set_ylabel(f"times {base}")
    axes.set_title(f"Fused against {base}, overlapped (hollow: estimated)", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _pair(net: str, base: str, rate: float) -> tuple[Point, Point]:
    return headline(net, base, rate=rate), headline(net, "fused", rate=rate)
