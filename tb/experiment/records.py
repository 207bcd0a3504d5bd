"""The records of an experiment: what is known of each point, from where, and of which sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from estimator.energy import Verdict, compare
from tb.errors import BenchError
from tb.experiment.point import Point
from tb.files import write_atomically

__all__ = ["ESTIMATE", "RTL", "Book", "Figure", "Record", "Study", "combine", "speed_up"]

RTL, ESTIMATE = "rtl", "estimate"
"""Where the figures of a record come from."""

_KEPT = (
    "schedule", "batch", "pe_count", "memory", "macs", "repeated_macs", "lower_bound_cycles", "cycles", "efficiency",
    "estimated_cycles", "dram_bytes", "compute_cycles", "schedule_s", "bit_exact", "processes", "sim_s", "model",
    "energy",
)  # fmt: skip
"""Figures of a summary, or of a check, that a record keeps."""


@dataclass(frozen=True)
class Record:
    """What is known of a point.

    Attributes
    ----------
    source : str
        `RTL`: simulated, every bit compared. `ESTIMATE`: predicted.
    facts : dict
        Figures of the run's summary, or of its check.
    sources : str
        Key of the source files that they come from.
    commit : str
        The same for people.
    fingerprint : str
        Of programs, memory image, pictures, chip and simulator (`tb.run.identity`); empty of an estimate.
    failure : str, optional
        Why there are no figures that count.
    """

    point: Point
    source: str
    facts: Mapping[str, Any]
    sources: str
    commit: str
    fingerprint: str = ""
    failure: str | None = None

    @classmethod
    def of(
        cls, point: Point, source: str, summary: Mapping[str, Any] | None, failure: str | None, book: Book,
        fingerprint: str = "", more: Mapping[str, Any] | None = None,
    ) -> Record:  # fmt: skip
        """The record of a run that has just ended, or is up to date; `more` are facts beside those that all keep."""
        facts = {name: summary[name] for name in _KEPT if name in summary} if summary else {}
        return cls(point, source, {**facts, **(more or {})}, book.sources, book.commit, fingerprint, failure)

    @property
    def cycles(self) -> int:
        """For a picture of a batch, counted by the RTL or predicted."""
        total = self.facts["cycles"] if self.source == RTL else self.facts["estimated_cycles"]
        return round(total / self.facts["batch"])

    @property
    def dram_bytes(self) -> dict[str, float]:
        """For a picture, by traffic class."""
        return {name: count / self.facts["batch"] for name, count in self.facts["dram_bytes"].items()}

    @property
    def megabytes(self) -> float:
        """Of DRAM traffic of all classes for a picture, in 1e6 bytes."""
        return sum(self.dram_bytes.values()) / 1e6

    @property
    def estimate_error(self) -> float | None:
        """Of the cycles of the whole run, positive where the estimate is too high; None of an estimate."""
        return self.facts["estimated_cycles"] / self.facts["cycles"] - 1 if self.source == RTL else None

    def energies(self, figure: str = "total") -> dict[str, float]:
        """Energy of the run (``total``) or its energy-delay product (``edp``) by set of constants; {} if unknown.

        A batch counts as one run.
        """
        return {name: energy[figure] for name, energy in self.facts.get("energy", {}).items()}

    @property
    def repeated(self) -> float | None:
        """Multiply-accumulates that are done again, as a share of the network's; None where that is not known."""
        repeated = self.facts["repeated_macs"]
        return None if repeated is None else repeated / self.facts["macs"]


@dataclass(frozen=True)
class Figure:
    """A number on a page, and where it comes from.

    Attributes
    ----------
    value : float or None
        None where something that it needs is missing or failed.
    estimated : bool
        Something in it was not run.
    older : bool
        Something in it is of other sources than those of the book.
    """

    value: float | None
    estimated: bool = False
    older: bool = False

    def text(self, form: Callable[[float], str]) -> str:
        """In italics where something is estimated, with a dagger where something is older."""
        if self.value is None:
            return "-"
        text = form(self.value) + "\u2020" * self.older
        return f"*{text}*" if self.estimated else text


def speed_up(slow: Record, fast: Record) -> float:
    """Of one run over another, in cycles for a picture."""
    return slow.cycles / fast.cycles


def combine(function: Callable[..., float | None], *figures: Figure) -> Figure:
    """A figure made of others; of none if one of them is missing."""
    values = [figure.value for figure in figures]
    value = None if any(value is None for value in values) else function(*values)
    return Figure(value, any(figure.estimated for figure in figures), any(figure.older for figure in figures))


@dataclass(frozen=True)
class Study:
    """What was computed beside the runs: figures by what they are of, and of which sources."""

    figures: Mapping[str, float]
    sources: str
    commit: str


@dataclass
class Book:
    """All records of an experiment; its pages and pictures are made of nothing else.

    Attributes
    ----------
    sources, commit : str
        Of the last run of the experiment; records of other sources are older.
    """

    experiment: str
    sources: str
    commit: str
    points: Sequence[Point]
    records: dict[Point, Record] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, experiment: str, points: Sequence[Point]) -> Book:
        """What a file holds of an experiment's present points; an empty book if there is none.

        Raises
        ------
        BenchError
            If the file is something else.
        """
        book = cls(experiment, "", "", points)
        try:
            data = json.loads(file.read_text())
            if data["experiment"] != experiment:
                raise ValueError(f"it holds the experiment {data['experiment']!r}")
            book.sources, book.commit = data["sources"], data["commit"]
            for entry in data["points"]:
                identity, point = entry.pop("identity"), Point.of(entry.pop("point"))
                del entry["command"]
                if point in points and identity == _digest(point):
                    book.records[point] = Record(point, **entry)
            book.studies = {name: Study(**study) for name, study in data.get("studies", {}).items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{file} is no file of records: {error}; move it away or give another OUT") from error
        return book

    def save(self, file: Path) -> None:
        """Write the file, whole or not at all, with the points in the experiment's order."""
        entries = []
        for point in self.points:
            if point in self.records:
                entry = asdict(self.records[point])
                identity = {"point": entry.pop("point"), "command": point.command, "identity": _digest(point)}
                entries.append(identity | entry)
        data = {"experiment": self.experiment, "commit": self.commit, "sources": self.sources, "points": entries}
        if self.studies:
            data["studies"] = {name: asdict(study) for name, study in self.studies.items()}
        write_atomically(file, (json.dumps(data, indent=1) + "\n").encode())

    @property
    def failed(self) -> list[Record]:
        """Records of points that failed, in the experiment's order."""
        found = (self.records.get(point) for point in self.points)
        return [record for record in found if record is not None and record.failure is not None]

    def good(self, point: Point) -> Record | None:
        """The record of a point that did not fail."""
        record = self.records.get(point)
        return record if record is not None and record.failure is None else None

    def comparison(self, run: Point, other: Point, figure: str = "total") -> Verdict | None:
        """Energy of one point against another's under all sets of constants; None where one is unknown."""
        found = [record.energies(figure) for point in (run, other) if (record := self.good(point)) is not None]
        return compare(*found) if len(found) == 2 and all(found) else None

    def study(self, name: str, of: str) -> Figure:
        """A figure that was computed beside the runs."""
        study = self.studies.get(name)
        if study is None or of not in study.figures:
            return Figure(None)
        return Figure(study.figures[of], older=study.sources != self.sources)

    def is_older(self, record: Record) -> bool:
        return record.sources != self.sources

    def figure(self, function: Callable[..., float | None], *points: Point) -> Figure:
        """A figure made of the records of points; of none if one of them is missing."""
        found = [self.good(point) for point in points]
        records = [record for record in found if record is not None]
        if len(records) < len(points):
            return Figure(None)
        estimated = any(record.source != RTL for record in records)
        return Figure(function(*records), estimated, any(map(self.is_older, records)))


def _digest(point: Point) -> str:
    return hashlib.sha256(point.identity.encode()).hexdigest()[:16]
