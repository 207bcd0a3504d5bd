"""Campaigns: what is up to date is not run again, a failed run stops nothing, an interrupted campaign goes on.

The runs are real processes, but stand-ins that write a summary and simulate nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tb.bench.campaign import Campaign, CampaignWatcher, Case, CaseResult, sim_command, source_key
from tb.errors import BenchError

SMALL, LARGE = Case("lenet5", 1), Case("vgg16", 4)
WAIT_S = 30
"""More than any step of these tests takes."""

RUN = """
import json, os, pathlib, sys, time
folder, fd, plan = pathlib.Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
with (folder.parent / "started").open("a") as file:
    file.write(folder.name + "\\n")
os.write(fd, (json.dumps(["conv1", 0.5]) + "\\n").encode())
if "meet" in plan:  # goes on as soon as the other one runs too
    (folder / "here").touch()
    end = time.monotonic() + 30
    while not (folder.parent / plan["meet"] / "here").exists():
        if time.monotonic() > end:
            sys.exit("alone")
        time.sleep(0.01)
if "hang" in plan:
    time.sleep(60)
if "summary" in plan:
    (folder / "new").write_text(json.dumps(plan["summary"]))
    (folder / "new").replace(folder / "summary.json")
print(plan.get("says", ""))
if plan.get("status", 0) < 0:
    os.kill(os.getpid(), -plan["status"])
sys.exit(plan.get("status", 0))
"""
GOOD = {"bit_exact": True, "cycles": 7, "efficiency": 0.5, "failure": None, "first_difference": None}


class StandInCampaign:
    """A campaign whose runs do as they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plans: dict[Case, dict] = {}
        self.sources = "sources"
        self.processes: list[int | None] = []

    def run(self, *cases: Case, jobs: int = 1, watcher: CampaignWatcher | None = None) -> list[CaseResult]:
        campaign = Campaign(jobs, self.folder, self.command, lambda: self.sources)
        return campaign.run(cases or (SMALL, LARGE), watcher)

    def command(self, case: Case, progress_fd: int, processes: int | None) -> list[str]:
        self.processes.append(processes)
        plan = self.plans.get(case, {"summary": GOOD})
        return [sys.executable, "-c", RUN, str(self.folder / case.name), str(progress_fd), json.dumps(plan)]

    @property
    def started(self) -> list[str]:
        """Names of the runs since this was asked last."""
        file = self.folder / "started"
        names = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return names


@pytest.fixture
def bench(tmp_path: Path) -> StandInCampaign:
    return StandInCampaign(tmp_path)


def test_what_is_up_to_date_is_not_run_again(bench: StandInCampaign) -> None:
    first = bench.run()
    assert bench.started == [LARGE.name, SMALL.name]
    assert [result.case for result in first] == [SMALL, LARGE]
    assert not any(result.kept or result.failure for result in first)
    second = bench.run()
    assert bench.started == []
    assert [result.summary for result in second] == [GOOD, GOOD]
    assert all(result.kept for result in second)


def test_changed_sources_or_a_changed_summary_make_a_run_necessary(bench: StandInCampaign) -> None:
    bench.run()
    assert len(bench.started) == 2
    bench.sources = "edited sources"
    bench.run()
    assert len(bench.started) == 2
    (bench.folder / SMALL.name / "summary.json").write_text(json.dumps(GOOD | {"cycles": 8}))
    assert [result.summary for result in bench.run()] == [GOOD, GOOD]
    assert bench.started == [SMALL.name]


def test_sources_edited_during_a_run_leave_it_unmarked(bench: StandInCampaign) -> None:
    class Editor(CampaignWatcher):
        def progress(self, case: Case, text: str, share: float) -> None:
            bench.sources = "edited sources"

    assert bench.run(SMALL, watcher=Editor())[0].failure is None
    assert bench.started == [SMALL.name]
    bench.sources = "sources"
    assert not bench.run(SMALL)[0].kept


@pytest.mark.parametrize(
    ("plan", "failure"),
    [
        ({"status": 2, "says": "systomesh: layer 'a' does not fit"}, "layer 'a' does not fit"),
        ({"status": 1, "says": "Traceback\nValueError: 3"}, "ValueError: 3"),
        ({"status": -9, "says": "conv1"}, "ended with status -9, see "),
        ({"status": 0}, "ended with status 0, see "),
        (
            {"status": 1, "summary": GOOD | {"bit_exact": False, "first_difference": "conv1: channel 0"}},
            "conv1: channel 0",
        ),
        ({"status": 1, "summary": GOOD | {"bit_exact": False, "failure": "pool1: timeout\n core 0"}}, "pool1: timeout"),
    ],
)
def test_failed_run_is_named_stops_no_other_and_is_run_again(bench: StandInCampaign, plan: dict, failure: str) -> None:
    bench.run(LARGE)  # leaves a summary that the failed run must not be taken for
    bench.sources = "edited sources"
    bench.plans[LARGE] = plan
    small, large = bench.run()
    assert small.failure is None
    assert large.failure is not None
    assert large.failure.startswith(failure)
    assert large.summary == plan.get("summary")
    assert bench.started == [LARGE.name, LARGE.name, SMALL.name]
    bench.run()
    assert bench.started == [LARGE.name]


def test_several_jobs_run_at_once(bench: StandInCampaign) -> None:
    bench.plans = {case: {"summary": GOOD, "meet": other.name} for case, other in ((SMALL, LARGE), (LARGE, SMALL))}
    assert [result.failure for result in bench.run(jobs=2)] == [None, None]


@pytest.mark.parametrize(("jobs", "each"), [(1, None), (2, 4), (3, 2), (20, 1)])
def test_runs_at_once_divide_the_processors(
    jobs: int, each: int | None, bench: StandInCampaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tb.bench.campaign.processors", lambda: 8)
    bench.run(SMALL, jobs=jobs)
    assert bench.processes == [each]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also where the tests run in the background of a shell that has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_campaign_ends_its_runs_and_goes_on_later(bench: StandInCampaign) -> None:
    third = Case("alexnet", 1)
    bench.plans[SMALL] = {"hang": True}

    class Interrupt(CampaignWatcher):
        def progress(self, case: Case, text: str, share: float) -> None:
            if case == SMALL:
                os.kill(os.getpid(), signal.SIGINT)

    campaign = Campaign(1, bench.folder, bench.command, lambda: bench.sources)
    before = threading.active_count()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        campaign.run([SMALL, LARGE, third], Interrupt())
    assert bench.started == [LARGE.name, third.name, SMALL.name]
    assert time.monotonic() - began < WAIT_S  # the run that hangs was ended
    assert threading.active_count() == before
    bench.plans.clear()
    assert [result.kept for result in bench.run(SMALL, LARGE, third)] == [False, True, True]
    assert bench.started == [SMALL.name]


def test_watcher_hears_of_progress_and_ends(bench: StandInCampaign) -> None:
    heard = []

    class Listener(CampaignWatcher):
        def start(self, case: Case) -> None:
            heard.append(("start", case))

        def progress(self, case: Case, text: str, share: float) -> None:
            heard.append((text, share))

        def finish(self, result: CaseResult) -> None:
            heard.append(("finish", result.case, result.kept))

    bench.run(SMALL, watcher=Listener())
    bench.run(SMALL, watcher=Listener())
    assert heard == [("start", SMALL), ("conv1", 0.5), ("finish", SMALL, False), ("finish", SMALL, True)]


def test_run_is_that_of_make_sim() -> None:
    command = ["-m", "tb.cli", "sim", "--net", "vgg16", "--cores", "4", "--name", "vgg16-4cores", "--progress-fd", "7"]
    assert sim_command(LARGE, 7, None)[1:] == command
    assert sim_command(LARGE, 7, 3)[1:] == [*command, "--jobs", "3"]


def test_key_of_the_sources_follows_their_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("a = 1")
    monkeypatch.setattr("tb.bench.campaign.rtl.__path__", [str(tmp_path)])
    first = source_key()
    assert source_key() == first
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "part.pyc").write_text("compiled")
    assert source_key() == first
    (tmp_path / "part.py").write_text("a = 2")
    assert source_key() != first


def test_no_jobs_are_refused() -> None:
    with pytest.raises(BenchError, match="JOBS is 0: it must be 1 or more"):
        Campaign(0)
