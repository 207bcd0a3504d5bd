"""A run of an experiment: points on the RTL, estimates for the rest, and its three files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from tb.bench.campaign import Campaign, CaseResult, Task, largest_first
from tb.bench.console import CampaignConsole
from tb.experiment.confirmation import confirmed
from tb.experiment.experiment import Experiment
from tb.experiment.point import Forecast, Point
from tb.experiment.records import ESTIMATE, RTL, Book, Record, Study
from tb.files import named, write_atomically
from tb.report.files import require_pictures
from tb.report.provenance import commit

__all__ = ["run_experiment"]

T = TypeVar("T", bound=Task)


def run_experiment(
    experiment: Experiment, chosen: Sequence[Point], out: Path, campaign: Campaign, console: Console, *, estimates: bool
) -> Book:
    """Run what is not up to date of the chosen points, and write OUT.json, OUT.md and OUT.svg.

    Records of older sources are confirmed where that is possible: what today's scheduler and RTL make of a point is
    compared with what was simulated, and only what differs is run again (`tb.experiment.confirmation`).

    Points are run in the order of the experiment's groups, within one the longest first. All other points keep what
    is known of them, from the folders of their runs or from OUT.json; what has no run is estimated. An interrupt
    leaves files with what is there, and is raised again.

    Parameters
    ----------
    estimates : bool
        Without, what has no run and no estimate is left out, studies of older sources stay, and points that are not
        chosen are not confirmed.

    Raises
    ------
    BenchError
        If OUT.json is something else, or Matplotlib is missing.
    """
    require_pictures()
    book = Book.load(named(out, ".json"), experiment.name, experiment.points)
    book.sources, book.commit = campaign.sources(), commit()
    _take_kept(book, experiment, campaign)
    stages = [set(group) for group in experiment.groups.values()]

    def stage_and_work(point: Point) -> tuple[int, float]:
        return next(number for number, group in enumerate(stages) if point in group), -point.work

    try:
        _confirm_older(book, experiment, campaign, experiment.points if estimates else chosen, console)
        left = [point for point in chosen if (run := _run_of(book, point)) is None or book.is_older(run)]
        for result in _run(campaign, left, console, stage_and_work):
            book.records[result.case] = _record(book, experiment, campaign, result.case, RTL, result)
        unknown = [Forecast(point) for point in experiment.points if _wants_estimate(book, point)]
        if estimates and unknown:
            for result in _run(campaign, unknown, console, largest_first):
                point = result.case.point
                book.records[point] = _record(book, experiment, campaign, point, ESTIMATE, result)
    except KeyboardInterrupt:
        _take_kept(book, experiment, campaign)
        _write(book, experiment, out)
        raise
    for name, study in experiment.studies.items():
        if name not in book.studies or (estimates and book.studies[name].sources != book.sources):
            book.studies[name] = Study(study(), book.sources, book.commit)
    _write(book, experiment, out)
    return book


def _confirm_older(
    book: Book, experiment: Experiment, campaign: Campaign, points: Sequence[Point], console: Console
) -> None:
    """Take over records of older sources of which a check says that nothing but estimates has changed."""
    runs = {point: run for point in points if (run := _run_of(book, point)) is not None and book.is_older(run)}
    if not runs:
        return
    console.print(f"{len(runs)} runs are of older sources: is what they simulated still the same?", highlight=False)
    same = 0
    for result in _run(campaign, [Forecast(point) for point in runs], console, largest_first):
        point = result.case.point
        if result.summary is not None:
            foreseen = _record(book, experiment, campaign, point, ESTIMATE, result)
            record = confirmed(runs[point], foreseen, result.summary["provenance"]["fingerprint"])
            if record is not None:
                book.records[point] = record
                same += 1
    console.print(f"{same} of {len(runs)} are the same", highlight=False)


def _run_of(book: Book, point: Point) -> Record | None:
    """The run of a point that ended well, if there is one."""
    record = book.good(point)
    return record if record is not None and record.source == RTL else None


def _run(campaign: Campaign, tasks: Sequence[T], console: Console, order: Callable[[T], Any]) -> list[CaseResult[T]]:
    watcher = CampaignConsole(tasks, console)
    try:
        return campaign.run(tasks, watcher, order)
    finally:
        watcher.done()


def _wants_estimate(book: Book, point: Point) -> bool:
    """Whether a point has neither a run nor an estimate of the present sources."""
    record = book.records.get(point)
    return record is None or (record.source == ESTIMATE and book.is_older(record))


def _take_kept(book: Book, experiment: Experiment, campaign: Campaign) -> None:
    """Enter all that is up to date in the folders of runs, whoever ran it."""
    for point in book.points:
        kept = campaign.kept(point, book.sources)
        if kept is not None:
            book.records[point] = _record(book, experiment, campaign, point, RTL, kept)
        elif _wants_estimate(book, point):
            forecast = campaign.kept(Forecast(point), book.sources)
            if forecast is not None:
                book.records[point] = _record(book, experiment, campaign, point, ESTIMATE, forecast)


def _record(
    book: Book, experiment: Experiment, campaign: Campaign, point: Point, source: str, result: CaseResult[Any]
) -> Record:
    mark = campaign.runs_dir / point.name / "fingerprint"
    fingerprint = mark.read_text() if source == RTL and result.summary is not None else ""
    more = experiment.more(result.summary) if result.summary is not None else None
    return Record.of(point, source, result.summary, result.failure, book, fingerprint, more)


def _write(book: Book, experiment: Experiment, out: Path) -> None:
    book.save(named(out, ".json"))
    write_atomically(named(out, ".svg"), experiment.picture(book).encode())
    write_atomically(named(out, ".md"), experiment.page(book).encode())
