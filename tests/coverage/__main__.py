"""Coverage of the RTL by random programs and layers.

python -m tests.coverage --seeds 54 --out runs/coverage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tb.errors import BenchError, RunError
from tb.report.provenance import commit
from tests.coverage.campaign import gather
from tests.coverage.points import KINDS
from tests.coverage.report import TARGETS, covers_part, judge, write_pages

SEEDS = 48
LAYERS = 40


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="programs of each kind on each chip (default: %(default)s)"
    )
    parser.add_argument("--layers", type=int, default=LAYERS, help="seeds of each kind of layer (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/coverage"), help="folder of the report")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.layers < 1:
        parser.error(f"SEEDS={options.seeds} LAYERS={options.layers}: at least 1")
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    try:
        gathered = gather(options.seeds, options.layers, options.out, say)
    except (BenchError, RunError) as error:
        console.print(f"systomesh: {error}", style="red", markup=False)
        return 2 if isinstance(error, BenchError) else 1
    rtl, covers = judge(gathered.hits), gathered.functional.covers()
    revision = commit("tests")
    note = (
        f"Commit {revision}: {gathered.programs:,} programs and {gathered.launches:,} launches of layers; "
        f"{len(gathered.failures)} failed."
    )
    index = write_pages(options.out, rtl, covers, gathered.sources, note)
    parts = {kind: rtl.part(kind) for kind in KINDS}
    parts |= {f"functional {n}": covers_part(covers, crosses=c) for n, c in (("points", False), ("crosses", True))}
    table = Table("coverage", "covered", "target", "with nothing left out", title=note)
    for name, part in parts.items():
        style = "green" if part.share >= TARGETS[name] else "red"
        table.add_row(name, f"[{style}]{part}[/]", f"{100 * TARGETS[name]:.0f} %", str(rtl.everything.get(name, "")))
    console.print(table)
    for cover in covers:
        if cover.missed:
            say(f"{cover.name}: missed {', '.join(map(str, cover.missed))}")
    for exclusion in rtl.unused:
        say(f"remove this exclusion, it matches nothing: {exclusion.describe()}")
    for failure in gathered.failures:
        say(f"failed: {failure}")
    say(f"report: {index}")
    shares = ", ".join(f"{name} {100 * part.share:.1f} %" for name, part in parts.items())
    say(f"{shares}; {gathered.programs + gathered.launches:,} runs, {len(gathered.failures)} failed")
    met = all(part.share >= TARGETS[name] for name, part in parts.items())
    return 0 if met and not rtl.unused and not gathered.failures else 1


if __name__ == "__main__":
    sys.exit(main())
