"""What a campaign found: a table, every survivor, and all of it in one line; on the terminal, or as a page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tb.files import named, write_atomically
from tests.mutation.blocks import BLOCKS
from tests.mutation.campaign import Result
from tests.mutation.records import Record, load_all, save_all

__all__ = ["TARGET", "summary", "survivors", "table", "write_page"]

TARGET = 0.95
"""Part of the mutants not proved equal to the block that a bench must kill."""
_PAGE_WIDTH = 140


def table(records: Sequence[Record]) -> Table:
    columns = ("block", "cells", "mutants", "killed", "equivalent", "different", "open", "score", "s", "commit")
    shown = Table(*columns)
    for column in shown.columns[1:-1]:
        column.justify = "right"
    for record in records:
        r = record.result
        counts = (r.cells, r.mutants, r.killed, r.equivalent, r.different, r.survived - r.different)
        style = "green" if r.score >= TARGET else "red"
        score = f"[{style}]{100 * r.score:.1f} %"
        shown.add_row(r.block, *map(str, counts), score, f"{r.seconds:.0f}", record.commit)
    return shown


def survivors(records: Sequence[Record]) -> Iterator[str]:
    """A line for each mutant that was not killed."""
    for record in records:
        for survivor in record.result.survivors:
            yield f"{record.result.block} {survivor.mutant.number}: {survivor.mutant.text}: {survivor.judgement}"


def summary(results: Sequence[Result]) -> str:
    """All of it in one line."""
    mutants, killed, equivalent, survived = (
        sum(getattr(result, name) for result in results) for name in ("mutants", "killed", "equivalent", "survived")
    )
    below = [result.block for result in results if result.score < TARGET]
    return (
        f"{len(results)} blocks, {mutants} mutants: {killed} killed, {equivalent} equivalent, {survived} survived; "
        f"below {100 * TARGET:.0f} %: {', '.join(below) or 'none'}"
    )


def write_page(out: Path, found: Sequence[Record]) -> None:
    """The same as Markdown, OUT.md, and the records, OUT.json; blocks that were not asked for keep theirs."""
    page, data = named(out, ".md"), named(out, ".json")
    kept = load_all(data) | {record.result.block: record for record in found}
    records = [kept[block] for block in BLOCKS if block in kept]
    save_all(data, records)
    shown = table(records)
    shown.box = box.MARKDOWN
    text = io.StringIO()
    Console(file=text, width=_PAGE_WIDTH).print(shown)
    seeds = ", ".join(sorted({str(record.seed) for record in records}))
    parts = [
        f"Mutants of the hardware, seed {seeds}: {summary([record.result for record in records])}.",
        "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip()),
        "Not killed:",
        "\n".join(f"* `{line}`" for line in survivors(records)) or "none",
        "`make mutate OUT=...` made this page, each row at its commit (`BLOCK=` makes some anew); what the words mean "
        "is in [verification.md](verification.md).",
    ]
    write_atomically(page, ("\n\n".join(parts) + "\n").encode())
