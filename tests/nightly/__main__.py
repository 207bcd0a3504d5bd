"""The long campaigns, one after the other, and a table of what they found last.

python -m tests.nightly --only fuzz,formal --fresh --out docs/nightly

A campaign is a command with an exit status whose last line of output is its result in one sentence. Its output is
kept in runs/nightly/<name>.log, its result in <name>.json beside it, as soon as it ends. So what has passed on this
commit is not run again, an interrupted night goes on where it stopped, and the table shows the last result of every
campaign with the commit that it is of.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tb.bench.table import require_writable
from tb.errors import BenchError
from tb.files import named, write_atomically
from tb.report.markdown import table
from tb.report.provenance import commit

__all__ = ["CAMPAIGNS", "Campaign", "Outcome", "main", "run_campaigns"]

_COLUMNS = ("campaign", "command", "result", "", "minutes", "commit", "date")


@dataclass(frozen=True)
class Campaign:
    name: str
    command: str
    """Arguments of this Python; -m included."""


CAMPAIGNS = (
    Campaign("formal", "-m tests.formal"),
    Campaign("fuzz", "-m tb.cli fuzz --seeds 0..499"),
    Campaign("upsets", "-m tests.faults --upsets 2000"),
    Campaign("kills", "-m pytest -q -m slow tests/faults/test_kills.py tests/faults/test_fused_kills.py"),
    Campaign(
        "slow tests",
        "-m pytest -q -m slow -n 2 --dist worksteal tests/cosim tests/unit tests/system/test_core_counts.py",
    ),
    Campaign("random ONNX models", "-m tests.onnx_campaign --seeds 0..4999"),
    Campaign("packaged models", "-m tests.packages --out docs/models"),
    Campaign("other people's models", "-m pytest -q -m slow tests/system/test_foreign.py"),
    Campaign("calibration", "-m tb.cli calibrate --kernels quick --unseen none --nets lenet5 --cores 1,4"),
    Campaign("events", "-m tests.events --out docs/events"),
    Campaign("coverage", "-m tests.coverage"),
    Campaign("software mutants", "-m tests.mutation.software --mutants 24"),
    Campaign("hardware mutants", "-m tests.mutation --mutants 24 --jobs 2 --out docs/mutants"),
)


@dataclass(frozen=True)
class Outcome:
    """The last result of a campaign."""

    name: str
    command: str
    passed: bool
    result: str
    """The last line of its output."""
    minutes: float
    commit: str
    date: str

    def cells(self) -> tuple[str, ...]:
        verdict = "passed" if self.passed else "FAILED"
        command = f"python {self.command}"
        return (self.name, command, self.result, verdict, f"{self.minutes:.1f}", self.commit, self.date)


def run_campaigns(
    campaigns: Iterable[Campaign], folder: Path, revision: str, console: Console, *, fresh: bool = False
) -> list[Outcome]:
    """Run those that have not passed on this revision, or all if `fresh`; the last outcome of each.

    What differs from a commit ("-dirty", "unknown") may be anything, so it is always run again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for campaign in campaigns:
        known = last_outcome(campaign, folder)
        exact = revision != "unknown" and not revision.endswith("-dirty")
        if known is not None and exact and not fresh and known.passed and known.commit == revision:
            console.print(f"{campaign.name}: passed on {revision}, not run again", highlight=False)
        else:
            console.rule(campaign.name)
            known = _run(campaign, folder, revision)
            write_atomically(_record(campaign, folder), (json.dumps(asdict(known), indent=1) + "\n").encode())
        outcomes.append(known)
    return outcomes


def last_outcome(campaign: Campaign, folder: Path) -> Outcome | None:
    """What the folder keeps of a campaign, if that is of the same command and readable."""
    try:
        outcome = Outcome(**json.loads(_record(campaign, folder).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return outcome if outcome.command == campaign.command else None


def _record(campaign: Campaign, folder: Path) -> Path:
    return folder / f"{campaign.name.replace(' ', '-')}.json"


def _run(campaign: Campaign, folder: Path, revision: str) -> Outcome:
    """The output goes to the terminal and to the log."""
    began = time.monotonic()
    last = ""
    command = [sys.executable, "-u", *campaign.command.split()]
    with (
        _record(campaign, folder).with_suffix(".log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            log.write(line)
            last = line.strip() or last
    passed = process.returncode == 0
    result = last.strip("= ") if passed or last else f"exit status {process.returncode}"
    minutes = (time.monotonic() - began) / 60
    return Outcome(campaign.name, campaign.command, passed, result, minutes, revision, f"{date.today()}")


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table for the docs."""
    rows = [(name, f"`{command}`", *rest) for name, command, *rest in (o.cells() for o in outcomes)]
    note = "The last results of the long campaigns. `make nightly OUT=docs/nightly` made this table."
    return f"{note}\n\n{table(_COLUMNS, rows, texts=4)}"


def _chosen(only: str | None) -> list[Campaign]:
    known = {campaign.name: campaign for campaign in CAMPAIGNS}
    names = only.split(",") if only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"ONLY={unknown[0]}: use {', '.join(known)}, separated by commas")
    return [known[name] for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.nightly", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", help=f"some of: {', '.join(c.name for c in CAMPAIGNS)} (separated by commas)")
    parser.add_argument(
        "--fresh", action=argparse.BooleanOptionalAction, help="run also what has passed on this commit"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/nightly"), help="logs and results")
    parser.add_argument("--out", type=Path, default=Path("runs/nightly"), help="the table: OUT.md")
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True)
    try:
        chosen = _chosen(options.only)
        require_writable(options.out)
    except BenchError as error:
        console.print(f"systomesh: {error}", style="red", markup=False)
        return 2
    outcomes = []
    try:
        outcomes = run_campaigns(chosen, options.folder, commit("tests"), console, fresh=options.fresh)
    except KeyboardInterrupt:
        console.print("interrupted; the next run goes on from here", style="red")
    last = [outcome for campaign in CAMPAIGNS if (outcome := last_outcome(campaign, options.folder))]
    page = named(options.out, ".md")
    write_atomically(page, markdown(last).encode())
    shown = Table(*(name for name in _COLUMNS if name != "command"), title="the last results of the long campaigns")
    for outcome in last:
        name, _, *cells = outcome.cells()
        shown.add_row(name, *cells, style=None if outcome.passed else "red")
    console.print(shown)
    console.print(f"table: {page}, logs: {options.folder}", highlight=False)
    return 0 if len(outcomes) == len(chosen) and all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
