"""Kept figures that a test holds its runs against, so that a change of timing is always a decision."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
from filelock import FileLock

from tb.api.results import RunResult
from tb.bench.compare import compare, print_changes, require_alike
from tb.bench.records import keep, kept_runs, read_records, write_records
from tb.errors import BenchError
from tb.report.summary import Summary
from tb.report.terminal import plain_text

__all__ = ["Baseline"]


@dataclass(frozen=True)
class Baseline:
    """A file of kept figures.

    Attributes
    ----------
    command : str
        What keeps them anew.
    update : bool
        That is what is done.
    """

    file: Path
    command: str
    update: bool

    def __call__(self, result: RunResult | Summary, tolerance: float = 0.0) -> None:
        """Fail the test unless a run takes the cycles and DRAM bytes that are kept of it, layer by layer.

        Parameters
        ----------
        tolerance : float
            Percent by which they may differ.
        """
        __tracebackhide__ = True
        summary = result.summary if isinstance(result, RunResult) else result
        if not summary.bit_exact:
            pytest.fail(
                f"{summary.name}: only a run whose bits are equal has a baseline; {summary.verdict}", pytrace=False
            )
        if self.update:
            self._keep(summary)
        else:
            self._compare(summary, tolerance)

    def _compare(self, summary: Summary, tolerance: float) -> None:
        __tracebackhide__ = True
        try:
            wrong = self._difference(summary, tolerance)
        except BenchError as error:
            wrong = str(error)
        if wrong:
            pytest.fail(wrong, pytrace=False)

    def _difference(self, summary: Summary, tolerance: float) -> str:
        """What is not as it is kept, with the remedy; nothing if all is."""
        (now,), remedy = kept_runs([keep(summary.as_dict())]), f"if that is meant, keep it anew: {self.command}"
        before = [run for run in kept_runs(self._records()) if run.name == now.name]
        if not before:
            return f"{self.file} keeps nothing of {summary.name}; {self.command} does"
        require_alike(before[0], now.asked, str(self.file), remedy)
        changes = [change for change in compare(before, [now]) if change.shifted(tolerance)]
        if not changes:
            return ""
        told = plain_text(lambda console: print_changes(changes, console))
        return f"{summary.name} is not as {self.file} keeps it; {remedy}\n{told}"

    def _keep(self, summary: Summary) -> None:
        """Write the run's figures into the file, by name; other processes of the tests may do so, too."""
        lock = Path(gettempdir()) / f"systomesh-{sha256(str(self.file.resolve()).encode()).hexdigest()[:16]}.lock"
        with FileLock(lock):
            records = {record["name"]: record for record in (self._records() if self.file.exists() else ())}
            records[summary.name] = keep(summary.as_dict())
            write_records(self.file, [records[name] for name in sorted(records)])

    def _records(self) -> list[dict[str, Any]]:
        return read_records(self.file, str(self.file), f"{self.command} writes it")
