"""Heat map of the mesh: cores, routers, memory nodes, and every direction of every link.

A router and its core are a tile of four cells: core, blocked; into the core, out of it. Between two tiles lie the
two directions of their link; those to a memory node lie between the tile and the node's cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rtl.contract.params import Direction
from rtl.contract.routing import OPPOSITE
from tb.report.html.charts.chart import HEIGHT, INK, Chart, Table, layout, text
from tb.report.mesh import Load, Mesh
from tb.report.summary import CAUSES, Summary, percent

__all__ = ["heat_chart"]

SHARES = [[0, "#f7fbff"], [0.25, "#c6dbef"], [0.5, "#6baed6"], [0.75, "#2171b5"], [1, "#08306b"]]
LOADS = [[0, "#fff7ec"], [0.25, "#fdd49e"], [0.5, "#fc8d59"], [0.75, "#d7301f"], [1, "#7f0000"]]
"""Blues and OrRd of ColorBrewer: both grow darker, whatever colours one sees."""
ARROWS = {Direction.NORTH: "\u2191", Direction.EAST: "\u2192", Direction.SOUTH: "\u2193", Direction.WEST: "\u2190"}
BEYOND = {Direction.NORTH: (0, -1), Direction.SOUTH: (0, 1), Direction.EAST: (1, 0), Direction.WEST: (-1, 0)}
"""From a port on, in columns and rows."""
SIZES = ((9, 10, False), (12, 9, True), (17, 8, True))
"""Columns or rows, the size of the font that fits them, and whether labels are short; more have no texts."""


@dataclass(frozen=True)
class _Cell:
    """A cell of the map.

    Attributes
    ----------
    place : (int, int)
        Column and row.
    label, short : str
        In the cell, and where that is small.
    what : str
        In words.
    share : function of Load
        Its share of the cycles, None where that is not known.
    count : function of Load
        What is counted of it.
    """

    place: tuple[int, int]
    label: str
    short: str
    what: str
    share: Callable[[Load], float | None]
    count: Callable[[Load], str]
    link: bool = False


class _Map:
    """The cells of a mesh."""

    def __init__(self, mesh: Mesh, bytes_per_cycle: float) -> None:
        self.mesh, self.rate = mesh, bytes_per_cycle
        sides = {node.side for node in mesh.memory_nodes}
        self.left, self.top = 2 * ("west" in sides), 2 * ("north" in sides)
        self.columns = self.left + 3 * mesh.width - 1 + 2 * ("east" in sides)
        self.rows = self.top + 3 * mesh.height - 1 + 2 * ("south" in sides)

    @cached_property
    def cells(self) -> list[_Cell]:
        return [*self._tiles(), *self._links(), *self._memories()]

    def values(self, load: Load, *, links: bool) -> list[list[float | None]]:
        """Shares of the cells of links, or of the others, by row and column."""
        found = self._full(None)
        for cell in self.cells:
            if cell.link == links:
                share = cell.share(load)
                found[cell.place[1]][cell.place[0]] = None if share is None else round(share, 4)
        return found

    def words(self, *, links: bool, short: bool) -> tuple[list[list[Any]], list[list[Any]]]:
        """Labels, and what the cells are."""
        labels, what = self._full(""), self._full("")
        for cell in self.cells:
            if cell.link == links:
                labels[cell.place[1]][cell.place[0]] = cell.short if short else cell.label
                what[cell.place[1]][cell.place[0]] = cell.what
        return labels, what

    def _full(self, of: Any) -> list[list[Any]]:
        return [[of] * self.columns for _ in range(self.rows)]

    def _corner(self, x: int, y: int) -> tuple[int, int]:
        return self.left + 3 * x, self.top + 3 * y

    def _tiles(self) -> Iterator[_Cell]:
        stream = list(CAUSES).index("stream")
        for number in range(self.mesh.width * self.mesh.height):
            column, row = self._corner(number % self.mesh.width, number // self.mesh.width)
            yield _Cell(
                (column, row), f"core {number}", f"c{number}", f"core {number} streams pixels",
                lambda load, n=number: load.streaming[n], lambda load, n=number: f"{load.cores[n][stream]:,.0f} cycles",
            )  # fmt: skip
            yield _Cell(
                (column + 1, row), "blocked", "blk", f"router {number} has a flit that waits for an output",
                lambda load, n=number: None if load.blocked is None else load.blocked[n] / load.cycles,
                lambda load, n=number: "" if load.blocked is None else f"{load.blocked[n]:,} cycles",
            )  # fmt: skip

    def _links(self) -> Iterator[_Cell]:
        for number, link in enumerate(self.mesh.links):
            label, place = self._direction(link.x, link.y, Direction[link.port.upper()], outward=link.outward)
            yield _Cell(
                place, label, label, f"{link.source} \u2192 {link.target}",
                lambda load, n=number: load.flits[n] / load.cycles, lambda load, n=number: f"{load.flits[n]:,} flits",
                link=True,
            )  # fmt: skip

    def _direction(self, x: int, y: int, port: Direction, *, outward: bool) -> tuple[str, tuple[int, int]]:
        """The label of a direction, and its place: one drives on the left."""
        column, row = self._corner(x, y)
        if port is Direction.LOCAL:
            return ("in", (column, row + 1)) if outward else ("out", (column + 1, row + 1))
        heading = port if outward else OPPOSITE[port]
        lane = int(heading in (Direction.WEST, Direction.NORTH))
        dx, dy = {
            Direction.NORTH: (lane, -1), Direction.SOUTH: (lane, 2), Direction.EAST: (2, lane),
            Direction.WEST: (-1, lane),
        }[port]  # fmt: skip
        return ARROWS[heading], (column + dx, row + dy)

    def _memories(self) -> Iterator[_Cell]:
        """Beyond the directions that come from them and go to them."""
        for number, node in enumerate(self.mesh.memory_nodes):
            side = Direction[node.side.upper()]
            dx, dy = BEYOND[side]
            for reads in (True, False):
                _, (column, row) = self._direction(node.x, node.y, side, outward=not reads)
                way = "reads" if reads else "writes"
                yield _Cell(
                    (column + dx, row + dy), f"mem {number}<br>{way}", f"m{number}{way[0]}",
                    f"memory {number}: {way}, of its bandwidth",
                    lambda load, n=number, reads=reads: _moved(load, n, reads) / (self.rate * load.cycles),
                    lambda load, n=number, reads=reads: f"{_moved(load, n, reads):,} bytes",
                )  # fmt: skip


def heat_chart(summary: Summary, mesh: Mesh) -> Chart:
    """Of a run in which the chip did something."""
    whole = mesh.whole
    assert whole is not None
    cells = _Map(mesh, summary.memory["bytes_per_cycle"])
    steps = [("whole run", whole), *_steps(summary, mesh)]
    count = max(cells.columns, cells.rows)
    size, short = next(((size, short) for most, size, short in SIZES if count <= most), (0, True))
    data = []
    for links, scale, title, place in ((False, SHARES, "of the cycles", 0.73), (True, LOADS, "flits a cycle", 0.23)):
        labels, what = cells.words(links=links, short=short)
        data.append({
            "type": "heatmap", "z": cells.values(whole, links=links), "text": labels, "customdata": what,
            "colorscale": scale, "zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1, "hoverongaps": False,
            "texttemplate": "%{text}<br>%{z:.0%}" if size else "", "textfont": {"size": size or 8},
            "hovertemplate": "%{customdata}: %{z:.1%}<extra></extra>",
            "colorbar": {"title": {"text": title, "side": "right"}, "thickness": 9, "len": 0.46, "y": place,
                         "tickformat": ".0%" if not links else ".1f", "outlinewidth": 0, "x": 1.01},
        })  # fmt: skip
    slider = {
        "active": 0, "pad": {"t": 4}, "len": 1, "ticklen": 3, "minorticklen": 0,
        "currentvalue": {"prefix": "", "font": {"size": 12, "color": INK}},
        "font": {"size": 1, "color": "rgba(0,0,0,0)"},
        "steps": [
            {"label": text(label), "method": "restyle",
             "args": [{"z": [cells.values(load, links=links) for links in (False, True)]}, [0, 1]]}
            for label, load in steps
        ],
    }  # fmt: skip
    hidden = {"visible": False, "fixedrange": True}
    return Chart(
        "mesh",
        "Mesh",
        "Blue: share of the cycles in which cores stream and routers hold a flit back, and of the bandwidth that "
        "memory nodes use. Red: flits a cycle on each direction of each link; 1 is all it can. Routers count blocked "
        "cycles by launch.",
        data,
        layout(
            HEIGHT, wide=False, margin={"l": 8, "r": 8, "t": 8, "b": 8},
            xaxis=hidden, yaxis={**hidden, "autorange": "reversed"},
            sliders=[slider] if len(steps) > 1 else [],
        ),
        _table(cells, steps),
        wide=False,
    )  # fmt: skip


def _steps(summary: Summary, mesh: Mesh) -> Iterator[tuple[str, Load]]:
    """Launches and their layers; a run of one launch is that launch."""
    several = sum(launch is not None for launch in mesh.launches) > 1
    for layer, launch in zip(summary.layers, mesh.launches, strict=True):
        if launch is not None:
            if launch.parts:
                yield from [(f"launch {layer.name}", launch.whole)] if several else []
            rows = layer.rows(summary.pe_count)
            if several or launch.parts:
                yield from zip((row.name for row in rows), launch.rows, strict=True)


def _moved(load: Load, node: int, reads: bool) -> int:
    return (load.read_bytes if reads else load.write_bytes)[node]


def _table(cells: _Map, steps: Sequence[tuple[str, Load]]) -> Table:
    """Every cell over the whole run, and where it is highest."""
    (_, whole), *others = steps
    rows = []
    for cell in cells.cells:
        shares = [(share, name) for name, load in others if load.cycles and (share := cell.share(load)) is not None]
        most, where = max(shares, default=(None, ""), key=lambda each: each[0])
        rows.append([cell.what, cell.count(whole), percent(cell.share(whole)), percent(most), where])
    return Table(["what", "in the whole run", "share of the cycles", "at most", "in"], rows)
