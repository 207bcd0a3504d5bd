"""Whole networks on chips with all counters of events: each launch's must equal what its programs determine.

    python -m tests.events --nets lenet5,resnet18 --cores 1,4,16 --schedules layers,fused --out docs/events

Every run is a `make sim` of its own with COUNTERS=1, which compares all counters of cores, routers and memory nodes
with the prediction, beside every bit; it goes on from launches that it has finished before. A difference is named by
counter and core. The last line of the output is the result in one sentence.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden.zoo import ZOO
from tb.files import named
from tb.report.markdown import table
from tb.report.provenance import commit

NETS = (
    "lenet5", "squeezenet1_1", "mobilenet_v2", "mobilenet_v1", "googlenet", "alexnet", "resnet18", "resnet50", "vgg11",
    "vgg16",
)  # fmt: skip
_COLUMNS = ("network", "cores", "schedule", "launches", "cycles", "predicted events against the RTL's counters")
_TEXT_COLUMNS = {"network", "schedule", _COLUMNS[-1]}


@dataclass(frozen=True)
class _Case:
    net: str
    cores: int
    schedule: str

    @property
    def name(self) -> str:
        return f"events-{self.net}-{self.cores}-{self.schedule}"

    @property
    def command(self) -> list[str]:
        options = {"net": self.net, "cores": self.cores, "schedule": self.schedule, "name": self.name, "jobs": 1}
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        return [sys.executable, "-m", "tb.cli", "sim", *words, "--counters"]

    def run(self) -> dict[str, Any]:
        """The summary of the run; of one that did not come to its end, why."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=False)
        folder = Path("runs") / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events.log").write_text(done.stdout + done.stderr)
        if done.returncode > 1:
            return {"failure": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
        return json.loads((folder / "summary.json").read_text())


def _rows(cases: Sequence[_Case], found: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for case, summary in zip(cases, found, strict=False):
        verdict = "equal, all" if summary.get("bit_exact") else summary.get("failure") or "a bit differs"
        launches, cycles = len(summary.get("layers", ())), summary.get("cycles", 0)
        yield case.net, f"{case.cores}", case.schedule, f"{launches}", f"{cycles:,}", verdict


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.events", description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", default=",".join(NETS), help=f"some of {', '.join(sorted(ZOO))}")
    parser.add_argument("--cores", default="1,4,16", help="presets")
    parser.add_argument("--schedules", default="layers,fused")
    parser.add_argument("--out", type=Path, help="the table: OUT.md")
    options = parser.parse_args(arguments)
    cases = [
        _Case(net, int(cores), schedule)
        for net in options.nets.split(",")
        for cores in options.cores.split(",")
        for schedule in options.schedules.split(",")
    ]
    found: list[dict[str, Any]] = []
    for case in cases:
        found.append(case.run())
        verdict = "equal" if found[-1].get("bit_exact") else found[-1].get("failure") or "a bit differs"
        print(f"{case.net}, {case.cores} cores, {case.schedule}: {verdict}", flush=True)
        if options.out is not None:
            note = f"Made by `python -m tests.events --out {options.out}`, commit {commit('tests')}."
            page = f"{note}\n\n{table(_COLUMNS, _rows(cases, found), _TEXT_COLUMNS)}"
            named(options.out, ".md").write_text(page)
    equal = sum(bool(summary.get("bit_exact")) for summary in found)
    launches = sum(len(summary.get("layers", ())) for summary in found)
    print(f"{equal} of {len(cases)} runs with all counters as predicted, {launches} launches")
    return 0 if equal == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
