"""SIGKILL at random moments: no finished layer is lost, no summary lies, no simulator stays behind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler import schedule
from tb.model.build import build_model, emit_chip
from tb.run.options import RunOptions
from tb.run.workload import Workload, load_workload
from tests.cases import CHIPS
from tests.faults.kills import Killer, campaign

CHIP = CHIPS["2x1_16x4"]
NET = "lenet5"


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workload(NET)


@pytest.fixture(scope="module")
def first(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Killer:
    """Behind one whole run, so that the model is built and the time of a run is known."""
    build_model(emit_chip(CHIP), optimise=False)
    folder = tmp_path_factory.mktemp("whole")
    options = RunOptions("killed", CHIP, runs_dir=folder, optimise=False)
    launches = len(schedule(workload.graph, CHIP).launches)
    killer = Killer(options, workload, NET, launches, folder / "stderr.log")
    whole = killer.attempt(None)
    assert (whole.status, len(whole.finished)) == (0, launches)
    return killer


@pytest.fixture
def killer(first: Killer, tmp_path: Path) -> Killer:
    """Before its first run."""
    options = replace(first.options, runs_dir=tmp_path)
    return replace(first, options=options, log=tmp_path / "stderr.log", attempts=[])


@pytest.fixture
def pair(killer: Killer) -> Killer:
    """With two simulators at once."""
    return replace(killer, options=replace(killer.options, jobs=2))


@pytest.mark.parametrize("processes", ["killer", "pair"])
def test_killed_runs_lose_nothing_and_do_not_lie(processes: str, request: pytest.FixtureRequest) -> None:
    campaign(request.getfixturevalue(processes), kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "processes"), [(2, "killer"), (3, "pair")])
def test_many_killed_runs_lose_nothing_and_do_not_lie(
    seed: int, processes: str, request: pytest.FixtureRequest
) -> None:
    campaign(request.getfixturevalue(processes), kills=40, seed=seed)


def test_a_killed_simulator_is_one_line_and_status_1(pair: Killer) -> None:
    """It ends the other one, too."""
    while not (attempt := pair.attempt("simulator", 0.7 * pair.run_s)).status:
        pair.run_s *= 0.8  # it was quicker this time
        shutil.rmtree(pair.folder)
        pair.attempts.clear()
    assert attempt.status == 1
    error = pair.log.read_text()
    assert error == "failed: the simulator was killed by SIGKILL before it had a result\n"
    assert attempt.summary is not None
    assert attempt.summary["failure"] == error.removeprefix("failed: ").strip()
    assert pair.attempt(None).status == 0


def test_finished_launches_are_kept_whichever_they_are(pair: Killer) -> None:
    whole = pair.attempt(None)
    first, second, third, *_ = sorted((pair.folder / "launches").iterdir())
    for folder in (first, third):
        shutil.rmtree(folder)
    pair.attempts.clear()
    again = pair.attempt(None)
    assert again.status == 0
    redone = {name for name, stamp in again.finished.items() if stamp != whole.finished[name]}
    assert redone == {first.name, third.name}
    assert second.name in again.finished


def test_half_a_launch_is_not_taken_for_a_finished_one(killer: Killer) -> None:
    whole = killer.attempt(None)
    first, second, *_ = sorted((killer.folder / "launches").iterdir())
    array = next(second.glob("*.npy"))
    for damage in (array.unlink, lambda: array.write_bytes(array.read_bytes()[:-1])):
        damage()
        killer.attempts.clear()
        again = killer.attempt(None)
        assert again.status == 0
        assert again.finished[first.name] == whole.finished[first.name]
        assert again.finished[second.name] != whole.finished[second.name]
        whole = again
