"""Mutation of the hardware, block by block.

python -m tests.mutation --block fifo --mutants 40
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tb.errors import ToolError
from tests.mutation.blocks import BLOCKS
from tests.mutation.campaign import CampaignError, Result, run_block

TARGET = 0.95
"""Part of the mutants not known to be equal to the block that a bench must kill."""


def table(results: list[Result]) -> Table:
    columns = ("block", "cells", "mutants", "killed", "equivalent", "not told apart", "survived", "score", "s")
    shown = Table(*columns, title="mutants, and what the benches made of them")
    for column in shown.columns[1:]:
        column.justify = "right"
    for r in results:
        counts = (r.cells, r.mutants, r.killed, r.equivalent, r.not_told_apart, r.survived)
        style = "green" if r.score >= TARGET else "red"
        shown.add_row(r.block, *map(str, counts), f"[{style}]{100 * r.score:.1f} %", f"{r.seconds:.0f}")
    return shown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--block", help=f"names separated by commas (default: all): {', '.join(BLOCKS)}")
    parser.add_argument("--mutants", type=int, default=40, help="mutants of each block (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--seconds", type=float, default=60, help="for each question to SAT (default: 60)")
    parser.add_argument("--keep", type=Path, help="folder for netlists and proofs (default: a temporary one)")
    options = parser.parse_args(arguments)
    names = options.block.split(",") if options.block else list(BLOCKS)
    if unknown := [name for name in names if name not in BLOCKS]:
        parser.error(f"BLOCK={unknown[0]}: use one of {', '.join(BLOCKS)}")
    if options.mutants < 1:
        parser.error(f"MUTANTS={options.mutants}: at least 1")
    console = Console(soft_wrap=True)

    def progress(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    results = []
    with tempfile.TemporaryDirectory(prefix="systomesh-mutants-") as scratch:
        folder = options.keep or Path(scratch)
        for name in names:
            settings = {"mutants": options.mutants, "seed": options.seed, "timeout_s": options.seconds}
            try:
                result = run_block(BLOCKS[name], folder.resolve() / name, progress=progress, **settings)
            except (CampaignError, ToolError) as error:
                console.print(f"systomesh: {error}", style="red", markup=False)
                return 2
            progress(f"{name}: {result.killed} of {result.mutants} killed, {result.seconds:.0f} s")
            results.append(result)
    Console(width=110).print(table(results))
    return 0 if all(result.score >= TARGET for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
