"""Runs of experiments: what is up to date is not run again, a kill or a failure loses nothing, a part is a part.

The runs are real processes, but stand-ins that write a summary or a check and simulate nothing.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tb.bench.campaign import Campaign, Task
from tb.errors import BenchError
from tb.experiment.catalogue import EXPERIMENTS
from tb.experiment.experiment import Experiment
from tb.experiment.point import Point
from tb.experiment.records import Book
from tb.experiment.run import run_experiment
from tb.experiment.text import condition

SMALL, LARGE, LATE = (Point("lenet5", "default", kind) for kind in ("fused", "layers", "apart"))
LARGEST = Point("alexnet", "default", "layers")

RUN = """
import json, os, pathlib, signal, sys
folder, result, cycles, plan = pathlib.Path(sys.argv[1]), *sys.argv[2:]
with (folder.parent / "started").open("a") as file:
    file.write(folder.name + (" estimate" if "check" in result else "") + "\\n")
if plan == "fail":
    sys.exit("systomesh: no compiler")
if plan == "kill":
    sys.exit(os.kill(os.getppid(), signal.SIGKILL))
if plan == "interrupt":
    os.kill(os.getppid(), signal.SIGINT)
    signal.pause()
fetched = 64 if "check" in result else 96
facts = {"estimated_cycles": int(cycles), "batch": 1, "dram_bytes": {"weight": 5, "program": fetched}}
facts["energy"] = {"narrow": {"of": {"mac": 7.0, "static": 0.5 * int(cycles)}}}
facts["provenance"] = {"fingerprint": "f01" if plan == "other programs" else "f00"}
facts |= {"dram_bytes": {"weight": 6, "program": fetched}} if plan == "other bytes" else {}
facts["energy"]["narrow"]["of"] |= {"mac": 8.0} if plan == "other prices" else {}
facts |= {"schedule_s": 0.25, "estimated_cycles": 2 * int(cycles)} if plan == "other estimate" else {"schedule_s": 0.5}
facts["energy"]["narrow"]["of"] |= {"static": float(cycles)} if plan == "other estimate" else {}
if "summary" in result:
    facts |= {"cycles": int(cycles), "efficiency": 0.5, "bit_exact": True, "failure": None, "first_difference": None}
    (folder / "fingerprint").write_text("f00")
(folder / "new").write_text(json.dumps(facts))
(folder / "new").replace(folder / result)
"""


def experiment() -> Experiment:
    def page(book: Book) -> str:
        return condition(book) + "".join(
            f"{point.name} {book.figure(lambda record: record.cycles, point).text(str)}\n" for point in book.points
        )

    groups = {"first": [SMALL, LARGEST], "second": [SMALL, LARGE], "last": [LATE]}
    return Experiment("test", "does it go on?", groups, page, lambda book: "<svg/>")


class Laboratory:
    """Runs the experiment above with stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plans: dict[Point, str] = {}
        self.sources = "sources"

    def run(self, only: str | None = None, *, estimates: bool = False, rtl: bool = True) -> Book:
        chosen = experiment().select(only) if rtl else []
        campaign = Campaign(1, self.folder / "runs", self.command, lambda: self.sources)
        out, console = self.folder / "docs" / "test", Console(file=io.StringIO())
        return run_experiment(experiment(), chosen, out, campaign, console, estimates=estimates)

    def command(self, task: Task, progress_fd: int, processes: int | None) -> list[str]:
        point = next(point for point in experiment().points if point.name == task.name)
        folder, cycles = self.folder / "runs" / task.name, str(100 * (1 + experiment().points.index(point)))
        return [sys.executable, "-c", RUN, str(folder), task.result, cycles, self.plans.get(point, "")]

    @property
    def started(self) -> list[str]:
        """Runs since this was asked last."""
        file = self.folder / "runs" / "started"
        names = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return names

    @property
    def page(self) -> str:
        return (self.folder / "docs" / "test.md").read_text()


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path)


def test_groups_come_in_order_longest_first_and_once(laboratory: Laboratory) -> None:
    laboratory.run()
    assert laboratory.started == [point.name for point in (LARGEST, SMALL, LARGE, LATE)]
    first = laboratory.page
    assert "4 points: 4 simulated" in first
    assert f"{LARGE.name} 300\n" in first
    laboratory.run()
    assert laboratory.started == []
    assert laboratory.page == first
    record = json.loads((laboratory.folder / "docs" / "test.json").read_text())["points"][0]
    assert (record["fingerprint"], record["source"], record["facts"]["cycles"]) == ("f00", "rtl", 100)


KILLED = """
import sys
from pathlib import Path
from tests.unit.tb.experiment.test_run import LATE, LARGE, Laboratory
laboratory = Laboratory(Path(sys.argv[1]))
laboratory.plans[LARGE] = "kill"
laboratory.run()
"""


def test_killed_experiment_goes_on_behind_the_last_finished_point(laboratory: Laboratory) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(laboratory.folder)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert laboratory.started == [point.name for point in (LARGEST, SMALL, LARGE)]
    laboratory.run()
    assert laboratory.started == [point.name for point in (LARGE, LATE)]
    assert "4 points: 4 simulated" in laboratory.page


def test_interrupted_experiment_leaves_a_page_of_what_is_there(laboratory: Laboratory) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        laboratory.plans[LARGE] = "interrupt"
        with pytest.raises(KeyboardInterrupt):
            laboratory.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "2 simulated on the RTL, every bit compared and equal; 0 estimated" in laboratory.page
    assert f"2 missing</summary>{LARGE.name}, {LATE.name}" in laboratory.page


def test_part_keeps_the_rest_and_says_that_it_is_older(laboratory: Laboratory) -> None:
    laboratory.run()
    laboratory.sources = "edited sources"
    laboratory.plans |= {SMALL: "other programs", LATE: "other programs"}
    assert len(laboratory.started) == 4
    laboratory.run("last,*-fused")
    assert laboratory.started[2:] == [point.name for point in (SMALL, LATE)]
    assert "2 are of older sources" in laboratory.page
    assert f"{LATE.name} 400\n" in laboratory.page
    assert f"{LARGE.name} 300\u2020\n" in laboratory.page


def test_what_was_not_run_is_estimated_once(laboratory: Laboratory) -> None:
    for _ in range(2):
        laboratory.run("first", estimates=True)
    estimated = [f"{point.name} estimate" for point in (LARGE, LATE)]
    assert laboratory.started == [LARGEST.name, SMALL.name, *estimated]
    assert f"{LARGE.name} *300*\n" in laboratory.page
    laboratory.run("last")
    assert laboratory.started == [LATE.name]
    assert f"{LATE.name} 400\n" in laboratory.page
    laboratory.sources = "edited sources"
    laboratory.run(rtl=False, estimates=True)
    assert sorted(laboratory.started) == sorted(f"{point.name} estimate" for point in experiment().points)


def test_run_of_older_sources_stays_if_a_check_finds_the_same(laboratory: Laboratory) -> None:
    laboratory.run()
    before = laboratory.run().good(LATE)
    assert before is not None
    laboratory.sources, laboratory.plans[LATE] = "edited sources", "other estimate"
    assert len(laboratory.started) == 4
    after = laboratory.run(rtl=False, estimates=True).good(LATE)
    assert sorted(laboratory.started) == sorted(f"{point.name} estimate" for point in experiment().points)
    assert after == replace(
        before, sources="edited sources", facts={**before.facts, "schedule_s": 0.25, "estimated_cycles": 800}
    )
    assert "4 points: 4 simulated" in laboratory.page
    assert "0 are of older sources" in laboratory.page
    laboratory.run()
    assert laboratory.started == []


@pytest.mark.parametrize("plan", ["other programs", "other bytes", "other prices", "fail"])
def test_run_of_older_sources_is_run_again_if_a_check_finds_another(laboratory: Laboratory, plan: str) -> None:
    laboratory.run()
    laboratory.sources, laboratory.plans[LATE] = "edited sources", plan
    assert len(laboratory.started) == 4
    laboratory.run()
    assert [name for name in laboratory.started if "estimate" not in name] == [LATE.name]


def test_failed_point_loses_no_other_and_is_run_again(laboratory: Laboratory) -> None:
    laboratory.plans[SMALL] = "fail"
    book = laboratory.run()
    assert [(record.point, record.failure) for record in book.failed] == [(SMALL, "no compiler")]
    assert f"- {SMALL.name}: no compiler" in laboratory.page
    assert f"{SMALL.name} -\n" in laboratory.page
    assert len(laboratory.started) == 4
    laboratory.plans.clear()
    assert not laboratory.run().failed
    assert laboratory.started == [SMALL.name]


@pytest.mark.parametrize(
    ("only", "nets", "line"),
    [
        ("middle", None, r"nothing called 'middle'; give groups \(first, second, last\) or names of points such as le"),
        (None, "vgg16", "NETS: test has no network 'vgg16'; it has alexnet, lenet5"),
        ("last", "alexnet", "ONLY=last NETS=alexnet: no point is both"),
    ],
)
def test_choice_of_nothing_is_refused(only: str | None, nets: str | None, line: str) -> None:
    with pytest.raises(BenchError, match=line):
        experiment().select(only, nets)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_points_of_each_experiment_have_names_of_their_own(name: str) -> None:
    points = EXPERIMENTS[name].points
    assert len({point.name for point in points}) == len(points)
    assert all(point.work > 0 for point in points)


def test_point_on_a_changed_chip_is_run_again(
    laboratory: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tb.experiment.point.CHIPS", tmp_path)
    (tmp_path / "default.toml").write_text("mesh_width = 2\n")
    laboratory.run()
    assert len(laboratory.started) == 4
    (tmp_path / "default.toml").write_text("mesh_width = 4\n")
    assert laboratory.run("first").failed == []
    assert laboratory.started == [LARGEST.name, SMALL.name]
    assert "2 missing" in laboratory.page
