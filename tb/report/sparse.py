"""What the sparse engines of a run did, in words: a line a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tb.report.summary import IDLE, Summary, percent

__all__ = ["sparse_lines"]

_SHORT = {"empty": "no product", "starved": "no item", "blocked": "collecting", "resting": "at rest"}
"""`IDLE` in a word or two."""


def sparse_lines(summary: Summary) -> Iterator[str]:
    """A table of the layers on sparse engines, its header first; nothing where there are none."""
    rows = [row for row in summary.rows if row.sparse]
    if not rows:
        return
    table = [
        ["layer", "done", "weights", "over dense", *(_SHORT[cause] for cause in IDLE)],
        *([row.name, *_cells(row.sparse, row.speed_up)] for row in rows),
    ]
    whole = summary.sparse
    if len(rows) > 1 and whole:
        cycles = sum(row.cycles or row.estimated_cycles for row in rows)
        table.append(["together", *_cells(whole, whole["dense_cycles"] / cycles if "dense_cycles" in whole else None)])
    idle = any(row.sparse.keys() >= IDLE.keys() for row in rows) or whole.keys() >= IDLE.keys()
    if not idle:
        table = [row[:4] for row in table]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    yield (
        "on sparse engines: products done, of all; bytes of compressed weights, of dense ones; estimated cycles of a "
        f"dense array of as many multipliers, over {'those' if summary.cycles else 'the estimated ones'} here"
        + ("; PE-cycles without a product by cause" if idle else "")
    )
    for first, *others in table:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield f"  {first:{widths[0]}}  {'  '.join(cells)}".rstrip()


def _cells(figures: Mapping[str, float], speed_up: float | None) -> list[str]:
    pairs, dense = figures["pairs"], figures["pairs"] + figures["skipped"]
    cells = [
        percent(pairs / dense if dense else None), percent(figures["weight_bytes"] / figures["dense_weight_bytes"]),
        "-" if speed_up is None else f"{speed_up:.2f}x",
    ]  # fmt: skip
    if not figures.keys() >= IDLE.keys():
        return cells + ["-"] * len(IDLE)
    every = pairs + sum(figures[cause] for cause in IDLE)
    return cells + [percent(figures[cause] / every) for cause in IDLE]
