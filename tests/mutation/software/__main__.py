"""Mutation of the software, group by group.

python -m tests.mutation.software --group ops,machine --mutants 40
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation.software.campaign import CampaignError, Result, run_group
from tests.mutation.software.groups import EQUIVALENT, GROUPS


def table(results: list[Result]) -> Table:
    columns = ("group", "mutants", "killed", "equivalent", "survived", "score", "s")
    shown = Table(*columns, title="faults in the software, and what the tests made of them")
    for column in shown.columns[1:]:
        column.justify = "right"
    for r in results:
        mutants = r.killed + len(r.survived) + len(r.equivalent)
        counts = (mutants, r.killed, len(r.equivalent), len(r.survived))
        shown.add_row(r.group, *map(str, counts), f"{100 * r.score:.1f} %", f"{r.seconds:.0f}")
    return shown


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.software", description=__doc__)
    parser.add_argument("--group", help=f"names separated by commas (default: all): {', '.join(GROUPS)}")
    parser.add_argument("--mutants", type=int, default=40, help="random ones of each group, beside the seeded ones")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once")
    parser.add_argument("--keep", type=Path, help="folder for the tests' output (default: a temporary one)")
    options = parser.parse_args(arguments)
    names = options.group.split(",") if options.group else list(GROUPS)
    if unknown := [name for name in names if name not in GROUPS]:
        parser.error(f"GROUP={unknown[0]}: use one of {', '.join(GROUPS)}")
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    results = []
    with tempfile.TemporaryDirectory(prefix="systomesh-mutants-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        for name in names:
            try:
                results.append(
                    run_group(
                        name, folder / name, count=options.mutants, seed=options.seed, jobs=options.jobs, say=say
                    )
                )
            except CampaignError as error:
                console.print(f"systomesh: {error}", style="red", markup=False)
                return 2
    Console(width=110).print(table(results))
    for result in results:
        for mutant in result.equivalent:
            say(f"equivalent: {mutant.module}:{mutant.line}: {mutant.change}: {EQUIVALENT[mutant.key]}")
        for mutant in result.survived:
            say(f"survived: {mutant.module}:{mutant.line}: {mutant.text}\n    {mutant.change}")
    return 1 if any(result.survived for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
