"""Progress of a campaign on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from tb.bench.campaign import CampaignWatcher, CaseResult, Task
from tb.report.summary import percent

__all__ = ["CampaignConsole"]


class CampaignConsole(CampaignWatcher):
    """Shows all runs of a campaign and their share of the work; a line for each run that begins or ends."""

    def __init__(self, cases: Sequence[Task], console: Console) -> None:
        self._console = console
        self._work = {case: case.work for case in cases}
        self._ended: set[Task] = set()
        self._shares: dict[Task, float] = {}
        self._texts: dict[Task, str] = {}
        self._lock = Lock()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30),
            TextColumn("{task.fields[note]}", table_column=Column()),  # wraps, so that the others need not
            TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=sum(self._work.values()), note="")
        self._progress.start()

    def start(self, case: Task) -> None:
        if not self._console.is_terminal:
            self._console.print(f"{case.name}: begins", markup=False, highlight=False, soft_wrap=True)
        self.progress(case, "begins", 0.0)

    def progress(self, case: Task, text: str, share: float) -> None:
        with self._lock:
            self._texts[case] = f"{case.name} {text}"
            self._shares[case] = share
            self._show()

    def finish(self, result: CaseResult[Any]) -> None:
        with self._lock:
            self._texts.pop(result.case, None)
            self._shares[result.case] = 1.0
            self._ended.add(result.case)
            self._show()
            line = f"{result.case.name}: {_verdict(result)}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def done(self) -> None:
        """End the display: nothing more will come."""
        self._progress.stop()

    def _show(self) -> None:
        self._progress.update(
            self._task,
            description=f"{len(self._ended)} of {len(self._work)} runs",
            completed=sum(share * self._work[case] for case, share in self._shares.items()),
            note="\n".join(self._texts.values()),
        )


def _verdict(result: CaseResult[Any]) -> str:
    if result.failure is not None or result.summary is None:
        return f"FAILED, {result.failure}"
    if "cycles" in result.summary:
        efficiency = percent(result.summary["efficiency"])
        verdict = f"{result.summary['cycles']:,} cycles, efficiency {efficiency}, bits equal"
    else:
        verdict = f"{result.summary['estimated_cycles']:,} cycles estimated"
    return f"{verdict} (up to date)" if result.kept else verdict
