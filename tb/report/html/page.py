"""A page: verdict, figures, a table to sort, provenance, in one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tb.report.html.charts.chart import Chart, Table

__all__ = ["LIBRARY", "Cell", "Grid", "Page", "rendered"]

LIBRARY = Path(__file__).parent / "library" / "plotly-cartesian.min.js"
"""Plotly's own bundle of figures with x and y, as npm's plotly.js-cartesian-dist-min has it: a third of the whole
library, which browsers take as much sooner."""


@dataclass(frozen=True)
class Cell:
    """A text, and by what it is sorted; nothing comes last."""

    text: str
    value: str | float | bool | None


@dataclass(frozen=True)
class Grid:
    """A table that can be sorted by each of its columns, and saved.

    Attributes
    ----------
    file : str
        Name of the CSV file.
    csv : str
        Its content.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    file: str
    csv: str

    @property
    def words(self) -> list[bool]:
        """Of each column, whether it has words."""
        columns = zip(*self.rows, strict=True)
        return [any(isinstance(cell.value, str) for cell in column) for column in columns]


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes
    ----------
    good : bool
        Whether every bit is equal.
    verdict : str
        That, in words.
    facts : sequence of (str, str)
        Figures beside it, name and value.
    notes : sequence of str
        What there is to know besides.
    charts, further : sequence of Chart
        Figures of the first screen, and those below.
    tables : sequence of (str, Table)
        Tables below the grid, with their titles.
    """

    title: str
    good: bool
    verdict: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    charts: Sequence[Chart]
    further: Sequence[Chart]
    grid: Grid
    tables: Sequence[tuple[str, Table]]


def rendered(page: Page) -> str:
    """The text of the file."""
    figures = [
        {"key": chart.key, "data": chart.data, "layout": chart.layout} for chart in (*page.charts, *page.further)
    ]
    return _template().render(page=page, figures=figures, library=LIBRARY.read_text())


@cache
def _template() -> Any:
    # Only those who write a page wait for this package.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")
