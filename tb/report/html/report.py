"""The report of one run, or of several side by side, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tb.files import write_atomically
from tb.report.html.comparison import comparison_page
from tb.report.html.page import rendered
from tb.report.html.single import run_page
from tb.report.record import RunRecord

__all__ = ["write_html"]


def write_html(path: Path, records: Sequence[RunRecord]) -> None:
    """Write the page of the runs, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    page = run_page(records[0]) if len(records) == 1 else comparison_page(records)
    write_atomically(path, rendered(page).encode())
