"""A plan as a picture: what lies where in a core's activation scratchpad, over time, and what DRAM does meanwhile.

An SVG that shows the names that fit; every rectangle has the rest as a title, which browsers show under the mouse.
It needs Matplotlib, the extra `plot`, so whoever draws imports this module only then.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product, takewhile
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from estimator import MemoryTiming
from scheduler.plan.occupancy import Occupant, occupants
from scheduler.plan.program import Plan
from tb.report.terminal import shorten
from tb.report.timetable import TimedPart, timetable

__all__ = ["draw_plan", "spread"]

SIZE = (16.0, 9.4)
"""Inches."""
LEFT, RIGHT = 0.055, 0.985
POINTS = 72 * SIZE[0] * (RIGHT - LEFT)
"""Width of the time axis."""
FONT, SMALL = 6.5, 5.0
"""Points of the names of layers and tensors, and of those that would not fit."""
NAME = 24
"""Characters of a layer's name above the bar of layers."""
WIDTH = 0.58
"""Of a character, as a share of the size of its font."""
KB = 1024

ROWS, WHOLE, RING = ("#8fbce6", "#bcd8f1"), ("#93cf9a", "#bfe3c2"), ("#f6b26b", "#f6b26b")
"""Two shades each, so that neighbours can be told apart."""
LAUNCHES, PARTS = ("#5b6770", "#7d8a94"), ("#e9ecef", "#d5dade")
TRAFFIC = {
    "weight": ("weights and parameters", "#b07cc6"),
    "ifmap": ("feature maps read", "#f6b26b"),
    "ofmap": ("feature maps written", "#e06666"),
    "program": ("programs", "#9aa0a6"),
}
IN_DRAM = "#f9dcbf"
LANES = 2
"""Least rows for tensors in DRAM."""

_SVG = "http://www.w3.org/2000/svg"
_LONG = re.compile(r"(\.\d\d)\d+")
"""A number with more digits than anybody sees."""


@dataclass(frozen=True)
class _Span:
    """Something over parts [first, last], numbered over all launches."""

    first: int
    last: int
    text: str
    title: str


def draw_plan(plan: Plan, memory: MemoryTiming, title: str, core: int = 0) -> str:
    """The SVG.

    Parameters
    ----------
    plan : Plan
        Of a chip whose cores have marks.
    title : str
        What of, in words.
    core : int
        Whose scratchpad.

    Raises
    ------
    BenchError
        If a launch has more layers than the cores have marks.
    """
    picture = _Picture(plan, memory, core)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "systomesh", "font.size": 8, "hatch.linewidth": 0.5}):
        return picture.svg(title)


class _Picture:
    def __init__(self, plan: Plan, memory: MemoryTiming, core: int) -> None:
        self.plan, self.memory, self.core = plan, memory, core
        self.parts = timetable(plan, memory)
        self.cycles = self.parts[-1].end
        self.titles: dict[str, str] = {}
        """By the id of an element."""

    def svg(self, title: str) -> str:
        figure = Figure(figsize=SIZE)
        grid = figure.add_gridspec(
            5, 1, height_ratios=(2.1, 0.32, 5.6, 1.5, 1.25), hspace=0.08,
            left=LEFT, right=RIGHT, top=0.926, bottom=0.095,
        )  # fmt: skip
        names, launches, pad, traffic, dram = (figure.add_subplot(cell) for cell in grid)
        for axes in (names, launches, pad, traffic, dram):
            axes.set_xlim(0, self.cycles)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        self._names(names)
        self._launches(launches)
        self._scratchpad(pad)
        self._traffic(traffic)
        self._in_dram(dram)
        for axes in (names, launches, pad, traffic):
            axes.tick_params(axis="x", bottom=False, labelbottom=False)
        step, unit = (1e6, "million") if self.cycles >= 2e6 else (1e3, "thousand")
        dram.xaxis.set_major_formatter(lambda cycles, _: f"{cycles / step:g}")
        dram.set_xlabel(f"time by the estimator, {unit} cycles")
        figure.text(LEFT, 0.977, title, fontsize=13, weight="bold")
        figure.text(LEFT, 0.956, self._facts(), fontsize=9, color="#444444")
        self._legend(figure)
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
        return self._finished(file.getvalue())

    def _facts(self) -> str:
        total = sum(sum(part.dram_bytes.values()) for part in self.parts)
        launches, kept = len(self.plan.launches), sum(len(launch.residents) for launch in self.plan.launches)
        return (
            f"{len(self.parts)} layers in {_count(launches, 'launch', 'launches')}, {self.cycles:,.0f} cycles, "
            f"{total / 1e6:.2f} MB of DRAM traffic, {_count(kept, 'tensor stays', 'tensors stay')} on the chip"
        )

    def _legend(self, figure: Figure) -> None:
        patches = [
            Patch(facecolor=ROWS[0], edgecolor="#333333", label="stays: the rows that this core needs"),
            Patch(facecolor=WHOLE[0], edgecolor="#333333", label="stays: whole, on every core"),
            Patch(facecolor=RING[0], hatch="////", edgecolor="white", label="ring: loaded from DRAM"),
            *(Patch(facecolor=colour, label=f"DRAM: {name}") for name, colour in TRAFFIC.values()),
            Patch(facecolor=IN_DRAM, edgecolor="#333333", label="feature map in DRAM"),
        ]
        figure.legend(handles=patches, loc="lower center", ncols=len(patches), fontsize=7.5, frameon=False,
                      bbox_to_anchor=((LEFT + RIGHT) / 2, 0.0), handlelength=1.6, columnspacing=1.4)  # fmt: skip

    # --- rows -----------------------------------------------------------------------------------------------------

    def _names(self, axes: Axes) -> None:
        """Parts, and their names above, as near as they can stand."""
        axes.set_ylim(0, 1)
        axes.set_axis_off()
        points = [(part.begin + part.end) / 2 / self.cycles * POINTS for part in self.parts]
        for number, (part, at) in enumerate(zip(self.parts, spread(points, FONT + 1.0, POINTS), strict=True)):
            title = self._describe(part)
            self._box(axes, part.begin, part.end, 0, 0.1, PARTS[number % 2], title)
            middle, above = (part.begin + part.end) / 2, at / POINTS * self.cycles
            axes.plot([middle, middle, above, above], [0.1, 0.12, 0.16, 0.18], color="#aaaaaa", linewidth=0.5)
            name = shorten(_joined(part.part.name), NAME)
            text = axes.text(above, 0.19, name, rotation=90, fontsize=FONT, ha="center", va="bottom")
            self._entitle(text, title)

    def _launches(self, axes: Axes) -> None:
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.set_ylabel("launch", rotation=0, ha="right", va="center")
        for number, launch in enumerate(self.plan.launches):
            own = [part for part in self.parts if part.launch == number]
            begin, end = own[0].begin, own[-1].end
            title = f"launch {number + 1}: {launch.name}\n{len(own)} layers, {end - begin:,.0f} cycles"
            self._box(axes, begin, end, 0, 1, LAUNCHES[number % 2], title)
            whole, some = f"launch {number + 1}: {launch.name}", f"{number + 1}"
            self._write(axes, (begin, end), (0, 1), [whole, whole.removeprefix("launch "), some], title, "white")

    def _scratchpad(self, axes: Axes) -> None:
        capacity = self.plan.chip.cores[self.core].act_bytes
        axes.set_ylim(0, capacity / KB)
        axes.set_ylabel(f"activation scratchpad of core {self.core}, KB")
        axes.set_yticks([capacity / KB * eighth / 8 for eighth in range(9)])
        axes.yaxis.set_major_formatter(lambda kb, _: f"{kb:g}")
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        axes.set_axisbelow(True)
        for part in self.parts[1:]:
            colour, width = ("#eeeeee", 0.6) if part.number else ("#5b6770", 1.0)
            axes.axvline(part.begin, color=colour, linewidth=width, zorder=0)
        shades = {True: 0, False: 0}
        for number, launch in enumerate(self.plan.launches):
            own = [part for part in self.parts if part.launch == number]
            items = list(occupants(launch, self.core))
            for item in items:
                shades[item.whole] ^= bool(item.tensor)
                end = own[item.last].begin if _gives_way(item, items) else own[item.last].end
                self._occupant(axes, own, item, end, shades[item.whole])

    def _occupant(self, axes: Axes, own: Sequence[TimedPart], item: Occupant, end: float, shade: int) -> None:
        begin, low, high = own[item.first].begin, item.low / KB, item.high / KB
        size = f"{high - low:.1f} KB".replace(".0 ", " ")
        place = f"{size} at {low:g} KB"
        if not item.tensor:
            loaded = ", ".join(self._loaded(own[item.first])) or "its input"
            self._box(
                axes, begin, end, low, high, RING[0], f"{own[item.first].part.name} loads {loaded}\n{place}", True
            )
            return
        channels, rows, columns = self.plan.graph.tensors[item.tensor].shape
        first, last = item.rows or (0, rows)
        kept = "whole, on every core" if item.whole else f"rows {first} to {last - 1} of {rows} on core {self.core}"
        title = (
            f"{item.tensor}: {channels} x {rows} x {columns}\n{kept}\n{place}\n"
            f"from {own[item.first].part.name} to {own[item.last].part.name}"
        )
        self._box(axes, begin, end, low, high, (WHOLE if item.whole else ROWS)[shade], title)
        texts = [f"{item.tensor}\n{size}", f"{_wrapped(item.tensor)}\n{size}", _wrapped(item.tensor)]
        self._write(axes, (begin, end), (low, high), texts, title)

    def _traffic(self, axes: Axes) -> None:
        """Bytes a cycle of every part, by class, below what the memory can do."""
        peak = self.memory.rate(self.plan.chip.link_bytes) * len(self.plan.chip.memory_nodes)
        axes.set_ylim(0, 1.28 * peak)
        axes.set_ylabel("DRAM,\nbytes a cycle")
        axes.axhline(peak, color="#cc0000", linewidth=0.8, linestyle="--")
        axes.text(self.cycles, 1.03 * peak, f"the memory's {peak:g} bytes a cycle", ha="right", va="bottom", fontsize=7,
                  color="#cc0000")  # fmt: skip
        for part in self.parts:
            low = 0.0
            for name, count in part.dram_bytes.items():
                rate = count / max(part.cycles, 1.0)
                if count:
                    label, colour = TRAFFIC[name]
                    title = f"{part.part.name}: {count / 1e3:,.0f} kB of {label}, {rate:.1f} bytes a cycle"
                    self._box(axes, part.begin, part.end, low, low + rate, colour, title, edge=None)
                low += rate

    def _in_dram(self, axes: Axes) -> None:
        """Feature maps in DRAM, each from the part that writes it to the last that reads it."""
        axes.set_yticks([])
        axes.set_ylabel("in DRAM", rotation=0, ha="right", va="center")
        lanes: list[list[_Span]] = []
        for span in self._spans():
            lane = next((lane for lane in lanes if lane[-1].last < span.first), None)
            if lane is None:
                lanes.append(lane := [])
            lane.append(span)
        count = max(LANES, len(lanes))
        axes.set_ylim(count, 0)
        for number, lane in enumerate(lanes):
            for span in lane:
                begin, end = self.parts[span.first].begin, self.parts[span.last].end
                self._box(axes, begin, end, number + 0.08, number + 0.92, IN_DRAM, span.title)
                texts = [span.text, span.text.replace(", ", "\n"), _wrapped(span.text.split(", ")[0])]
                self._write(axes, (begin, end), (number + 0.08, number + 0.92), texts, span.title)

    def _spans(self) -> Iterator[_Span]:
        graph, placed = self.plan.graph, self.plan.tensors
        of = {node: number for number, part in enumerate(self.parts) for node in part.part.nodes}
        last_part = len(self.parts) - 1
        spans = []
        for name, place in placed.items():
            readers = [of[node.name] for node in graph.nodes if name in node.inputs and node.name in of]
            writers = [of[node.name] for node in graph.nodes if node.output == name and node.name in of]
            first = min(writers, default=min(readers, default=0) if name not in graph.inputs else 0)
            last = last_part if name in graph.outputs else max(readers, default=first)
            text = f"{name}, {place.nbytes / KB:,.0f} KB"
            channels, rows, columns = place.shape
            spans.append(
                _Span(first, last, text, f"{name}: {channels} x {rows} x {columns} in DRAM, {text[len(name) + 2 :]}")
            )
        yield from sorted(spans, key=lambda span: (span.first, -span.last))

    # --- pieces ---------------------------------------------------------------------------------------------------

    def _describe(self, part: TimedPart) -> str:
        moved = [f"{count / 1e3:,.0f} kB of {TRAFFIC[name][0]}" for name, count in part.dram_bytes.items() if count]
        return "\n".join([
            f"{part.part.name}: {part.cycles:,.0f} cycles, {part.part.macs / 1e6:,.1f} M MACs",
            part.part.mapping,
            f"DRAM: {', '.join(moved) or 'nothing'}",
        ])  # fmt: skip

    def _loaded(self, part: TimedPart) -> list[str]:
        """Tensors that a part reads from DRAM."""
        nodes = [node for node in self.plan.graph.nodes if node.name in part.part.nodes]
        made = {node.output for node in nodes}
        read = (name for node in nodes for name in node.inputs if name not in made)
        return [name for name in dict.fromkeys(read) if name in self.plan.tensors]

    def _box(
        self, axes: Axes, begin: float, end: float, low: float, high: float, colour: str, title: str,
        hatched: bool = False, edge: str | None = "#555555",
    ) -> None:  # fmt: skip
        box = Rectangle(
            (begin, low), end - begin, high - low, facecolor=colour,
            edgecolor="white" if hatched else edge or colour, linewidth=0.4, hatch="////" if hatched else None,
        )  # fmt: skip
        axes.add_patch(box)
        self._entitle(box, title)

    def _write(
        self, axes: Axes, x: tuple[float, float], y: tuple[float, float], texts: Sequence[str], title: str,
        colour: str = "black",
    ) -> None:  # fmt: skip
        """The first text that fits into a rectangle, upright if it must be, in a small font if it must be."""
        low, high = axes.get_ylim()
        wide = (x[1] - x[0]) / self.cycles * POINTS - 2
        tall = (y[1] - y[0]) / abs(high - low) * 72 * SIZE[1] * axes.get_position().height - 2
        for font, text, upright in product((FONT, SMALL), texts, (False, True)):
            along, across = (tall, wide) if upright else (wide, tall)
            lines = text.split("\n")
            if WIDTH * font * max(map(len, lines)) <= along and 1.2 * font * len(lines) <= across:
                label = axes.text(
                    sum(x) / 2, sum(y) / 2, text, rotation=90 if upright else 0, fontsize=font, ha="center",
                    va="center", color=colour, linespacing=1.1,
                )  # fmt: skip
                self._entitle(label, title)
                return

    def _entitle(self, artist: Artist, title: str) -> None:
        name = f"t{len(self.titles)}"
        artist.set_gid(name)
        self.titles[name] = title

    def _finished(self, svg: str) -> str:
        """The SVG with a title in each element that has one, and without what makes it large."""
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        root = ElementTree.fromstring(svg)
        for element in root.findall(f"{{{_SVG}}}metadata"):
            root.remove(element)
        classes: dict[str, str] = {}
        for element in root.iter():
            name, style = element.get("id"), element.attrib.pop("style", None)
            if name in self.titles:
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = self.titles[element.attrib.pop("id")]
                element.insert(0, title)
            element.attrib.pop("clip-path", None)
            if style is not None:
                element.set("class", classes.setdefault(style, f"s{len(classes)}"))
            if "d" in element.attrib:
                element.set("d", _LONG.sub(r"\1", " ".join(element.attrib["d"].split())))
        css = next(root.iter(f"{{{_SVG}}}style"))
        css.text = "\n".join([css.text or "", *(f".{name}{{{style}}}" for style, name in classes.items())])
        return ElementTree.tostring(root, encoding="unicode") + "\n"


def _gives_way(item: Occupant, items: Sequence[Occupant]) -> bool:
    """Whether another tensor takes its place during its last part, byte by byte, as the sum of a residual does."""
    return any(
        other.first == item.last and item.low < other.high and other.low < item.high for other in items if other != item
    )


def _joined(name: str) -> str:
    """The name of several nodes; what they begin with alike is said once."""
    first, *others = name.split("+")
    words = [name.split(".") for name in (first, *others)]
    alike = list(takewhile(lambda some: len(set(some)) == 1, zip(*words, strict=False)))
    return "+".join([first, *(".".join(some[len(alike) :]) or some[-1] for some in words[1:])])


def _wrapped(name: str) -> str:
    """A name in two lines, broken in front of its last word, or where they come out alike."""
    marks = [place for place, character in enumerate(name) if place and character in "./_+"]
    if not marks:
        return name
    place = marks[-1] if 3 * marks[-1] <= 2 * len(name) else min(marks, key=lambda mark: abs(2 * mark - len(name)))
    return f"{name[:place]}\n{name[place:]}"


def spread(points: Sequence[float], gap: float, width: float) -> list[float]:
    """Places for labels in order, at least a gap apart and each as near to its point as that lets it."""
    groups: list[tuple[float, int]] = []  # (sum of the first place that each member wants, members)
    for point in points:
        total, count = point, 1
        while groups and groups[-1][0] / groups[-1][1] + gap * groups[-1][1] > total / count:
            before, members = groups.pop()
            total, count = before + total - gap * members * count, members + count
        groups.append((total, count))
    places = [total / count + gap * number for total, count in groups for number in range(count)]
    least, most = gap / 2, width - gap / 2
    for number, place in enumerate(places):
        places[number] = max(place, least + gap * number)
    for number in range(len(places) - 1, -1, -1):
        places[number] = min(places[number], most - gap * (len(places) - 1 - number))
    return places


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
