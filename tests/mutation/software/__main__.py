"""Mutation of the software, group by group.

python -m tests.mutation.software --group ops,machine --mutants 40

Verdicts are kept in runs/mutation-software/<group>.json; those that still hold are not worked out again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation.software.campaign import ROOT, CampaignError, judge, mutants_of
from tests.mutation.software.equivalent import EQUIVALENT
from tests.mutation.software.groups import GROUPS
from tests.mutation.software.results import Results


def table(results: list[Results]) -> Table:
    columns = ("group", "seeded", "killed", "random", "killed", "equivalent", "survived", "score of random")
    shown = Table(*columns, title="faults in the software, and what the tests made of them")
    for column in shown.columns[1:]:
        column.justify = "right"
    for result in results:
        (seeded, all_seeded), (drawn, all_drawn) = result.counts(seeded=True), result.counts(seeded=False)
        equivalent, survived = len(result.equivalent), len(result.survivors)
        counts = (all_seeded, seeded, all_drawn + equivalent, drawn, equivalent, survived)
        style = "green" if result.met else "red"
        shown.add_row(result.name, *map(str, counts), f"[{style}]{100 * result.score:.1f} %")
    return shown


def summary(results: list[Results]) -> str:
    """All of it in one line."""
    (seeded, all_seeded), (drawn, all_drawn) = (
        tuple(map(sum, zip(*(result.counts(seeded=kind) for result in results), strict=True))) for kind in (True, False)
    )
    equivalent = sum(len(result.equivalent) for result in results)
    return (
        f"{seeded} of {all_seeded} seeded faults killed, {drawn} of {all_drawn} random ones; "
        f"{equivalent} more are equivalent"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.software", description=__doc__)
    parser.add_argument("--group", help=f"names separated by commas (default: all): {', '.join(GROUPS)}")
    parser.add_argument("--mutants", type=int, default=40, help="random ones of each group, beside the seeded ones")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutation-software", help="folder for the verdicts")
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
            mutants = mutants_of(GROUPS[name], options.mutants, options.seed)
            result = Results(name, GROUPS[name], mutants, options.seed, options.out)
            results.append(result)
            if result.judged:
                say(f"{name}: {len(result.judged)} of {len(mutants)} mutants are judged already")
            try:
                waiting, killers = list(result.waiting), result.killers
                for judged in judge(name, waiting, folder / name, jobs=options.jobs, killers=killers, say=say):
                    result.add(judged)
            except CampaignError as error:
                console.print(f"systomesh: {error}", style="red", markup=False)
                return 2
            result.save()
    Console(width=110).print(table(results))
    for result in results:
        for mutant in result.equivalent:
            say(f"equivalent: {mutant.module}:{mutant.line}: {mutant.change}: {EQUIVALENT[mutant.key]}")
        for mutant in result.survivors:
            say(f"survived: {mutant.module}:{mutant.line}: {mutant.text}\n    {mutant.change}")
    say(summary(results))
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
