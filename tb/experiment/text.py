"""Text of an experiment's page: numbers, and what is missing, older, estimated or failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tb.experiment.records import RTL, Book, Figure
from tb.report.markdown import table
from tb.report.summary import percent

__all__ = [
    "Targets", "change", "condition", "count", "geometric", "mean", "megabytes", "millions", "percent", "seconds",
    "times", "times_exactly", "verdict",
]  # fmt: skip


def count(value: float) -> str:
    return f"{value:,.0f}"


def millions(value: float) -> str:
    return f"{value / 1e6:.2f} M"


def megabytes(value: float) -> str:
    return f"{value:.2f}"


def change(value: float) -> str:
    """A share as a change: '-56.0 %'."""
    return f"{100 * value:+.1f} %"


def times(value: float) -> str:
    return f"{value:.2f}x"


def times_exactly(value: float) -> str:
    """Where it is judged: 2.099 is not 2.10."""
    return f"{value:.3f}x"


def seconds(value: float) -> str:
    return f"{value:.1f}"


def mean(*values: float) -> float:
    """Arithmetic."""
    return sum(values) / len(values)


def geometric(*values: float) -> float:
    """Geometric mean."""
    return math.exp(mean(*map(math.log, values)))


def verdict(figure: Figure, least: float | None = None, most: float | None = None) -> str:
    """Whether a figure is within limits, in the form of a figure; '-' where it is missing."""
    good = (least is None or (figure.value or 0) >= least) and (most is None or (figure.value or 0) <= most)
    return figure.text(lambda _: "met" if good else "missed")


@dataclass
class Targets:
    """Lines of a page's first table: figures beside those of a paper, and judged by targets."""

    rows: list[list[str]] = field(default_factory=list)

    def line(
        self, what: str, figure: Figure, form: Callable[[float], str], limit: float | None = None, *, paper: str = "",
        at_least: bool = True,
    ) -> None:  # fmt: skip
        """A line; without a limit it only stands beside the paper's figure."""
        wanted = "" if limit is None else f"{'>=' if at_least else '<='} {form(limit)}"
        judged = "" if limit is None else verdict(figure, limit if at_least else None, None if at_least else limit)
        self.rows.append([what, paper, wanted, figure.text(form), judged])

    def table(self, paper: str) -> str:
        """In Markdown; `paper` is what the column of the paper's figures is called."""
        return table(["figure", paper, "target", "here", ""], self.rows)


def condition(book: Book) -> str:
    """How many points are simulated, estimated, older, missing and failed, and which."""
    found = [book.records.get(point) for point in book.points]
    known = [record for record in found if record is not None]
    good = [record for record in known if record.failure is None]
    estimated = [record for record in good if record.source != RTL]
    older = [record for record in good if book.is_older(record)]
    runs = [record for record in good if record.source == RTL and record not in older]
    confirmed = sum(record.commit != book.commit for record in runs)
    missing = [point for point in book.points if point not in book.records]
    lines = [
        f"{len(book.points)} points: {len(good) - len(estimated)} simulated on the RTL, every bit compared and equal; "
        f"{len(estimated)} estimated, *in italics*; {len(book.failed)} failed; {len(missing)} missing, shown as -. "
        f"{len(older)} are of older sources than commit {book.commit}, with a dagger (\u2020). "
        f"{confirmed} were run at earlier commits; programs, data and RTL are the same to the byte."
    ]
    if book.failed:
        lines += ["", "Failed:", ""] + [f"- {record.point.name}: {record.failure}" for record in book.failed]
    lines += _folded("missing", [point.name for point in missing])
    lines += _folded("estimated", [record.point.name for record in estimated])
    for commit in sorted({record.commit for record in older}):
        lines += _folded(f"of commit {commit}", [each.point.name for each in older if each.commit == commit])
    return "\n".join(lines) + "\n"


def _folded(what: str, names: Sequence[str]) -> list[str]:
    """A list that opens when it is clicked."""
    if not names:
        return []
    return ["", f"<details><summary>{len(names)} {what}</summary>{', '.join(names)}</details>"]
