"""Upsets of single bits: python -m tests.faults --upsets 200"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.flips import layers, run_upsets


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--upsets", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    options = parser.parse_args(arguments)
    if options.upsets < 1:
        parser.error(f"--upsets {options.upsets}: at least 1")
    with tempfile.TemporaryDirectory(prefix="systomesh-upsets-") as folder:
        report = run_upsets(layers(), options.upsets, options.seed, Path(folder))
    table = Table(
        "target", "upsets", "masked", "reported", "unnoticed", title="single bits inverted in a running layer"
    )
    for target, *counts in report.rows():
        table.add_row(target, str(sum(counts)), *map(str, counts))
    console = Console(width=110)
    console.print(table)
    for upset in report.unnoticed:
        where = f"{upset.layer}, cycle {upset.flip.cycle}, {upset.bit} (seed {upset.flip.seed})"
        console.print(f"unnoticed: {where}: {upset.why}", markup=False)
    sums = [sum(column) for column in zip(*(counts for _, *counts in report.rows()), strict=True)]
    console.print("{} upsets: {} masked, {} reported, {} unnoticed".format(sum(sums), *sums), highlight=False)
    return 1 if report.unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
