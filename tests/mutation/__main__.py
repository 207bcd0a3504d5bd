"""Mutation of the hardware, block by block. Results are kept; what is up to date is not run again.

python -m tests.mutation --block fifo --mutants 40
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from tb.bench.table import require_writable
from tb.errors import BenchError, ToolError
from tb.report.provenance import commit
from tests.mutation.blocks import BLOCKS
from tests.mutation.campaign import ROOT, CampaignError, run_named
from tests.mutation.records import Record, Records, sources
from tests.mutation.report import TARGET, summary, survivors, table, write_page


def _records(names: Sequence[str], folder: Path, options: argparse.Namespace) -> Iterator[Record]:
    """As they come. A process for each block: what a bench does to its process stays there."""
    asked, made_of = (options.mutants, options.seed), commit("tests")
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting = {
            pool.submit(run_named, name, folder / name, *asked, options.seconds): sources(name) for name in names
        }
        try:
            for done in as_completed(waiting):
                yield Record(done.result(), *asked, made_of, waiting[done])
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--block", help=f"names separated by commas (default: all): {', '.join(BLOCKS)}")
    parser.add_argument("--mutants", type=int, default=40, help="mutants of each block (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="of processor time for a proof, or a search (default: 60)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="blocks at once (default: 1)")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "mutation", help="of the results")
    parser.add_argument("--out", type=Path, help="also a page of them, OUT.md, and OUT.json: others keep their rows")
    parser.add_argument("--keep", type=Path, help="folder for netlists and proofs (default: a temporary one)")
    show = "run nothing: the last result of each block"
    parser.add_argument("--show", action=argparse.BooleanOptionalAction, default=False, help=show)
    options = parser.parse_args(arguments)
    names = options.block.split(",") if options.block else list(BLOCKS)
    if unknown := [name for name in names if name not in BLOCKS]:
        parser.error(f"BLOCK={unknown[0]}: use one of {', '.join(BLOCKS)}")
    if options.mutants < 1:
        parser.error(f"MUTANTS={options.mutants}: at least 1")
    if options.jobs < 1:
        parser.error(f"JOBS={options.jobs}: at least 1")
    if options.out:
        try:
            require_writable(options.out)
        except BenchError as error:
            parser.error(str(error))
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    kept, asked = Records(options.folder), {"mutants": options.mutants, "seed": options.seed}
    found = {name: kept.find(name) if options.show else kept.current(name, **asked) for name in names}
    missing = [name for name in names if found[name] is None and not options.show]
    with tempfile.TemporaryDirectory(prefix="systomesh-mutants-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        try:
            for record in _records(missing, folder, options):
                result = record.result
                kept.keep(record)
                found[result.block] = record
                say(f"{result.block}: {result.killed} of {result.mutants} killed, {result.seconds:.0f} s")
        except (CampaignError, ToolError) as error:
            console.print(f"systomesh: {error}", style="red", markup=False)
            return 2
    records = [record for name in names if (record := found[name])]
    Console(width=120).print(table(records))
    for line in survivors(records):
        say(line)
    say(summary([record.result for record in records]))
    if options.out:
        write_page(options.out, records)
    return 0 if all(record.result.score >= TARGET for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
