"""SIGKILL between the launches of a fused schedule, and in one: what is finished is kept, the rest is done the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.int8 import ops
from scheduler import Plan
from scheduler.kinds.fused import Fused
from tb.model.build import build_model, emit_chip
from tb.run.options import RunOptions
from tb.run.workload import Workload
from tb.sim.session import Event
from tb.sim.settings import MemorySettings
from tests.chips import TWO_CORES as CHIP
from tests.faults.kills import Killer, Trap, campaign
from tests.networks import random_network

SLOW = MemorySettings(latency_cycles=20, bytes_per_cycle=1)
KILLED = -9


@pytest.fixture(scope="module")
def workload() -> Workload:
    case = random_network(4, CHIP, blocks=6)
    return Workload(case.graph, case.image, ops.run(case.graph, case.image), 0.0)


@pytest.fixture(scope="module")
def plan(workload: Workload) -> Plan:
    plan = Fused().plan(workload.graph, CHIP, SLOW)
    assert [len(launch.parts) for launch in plan.launches] == [3, 2, 4]
    return plan


@pytest.fixture(scope="module")
def first(workload: Workload, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Killer:
    """Behind one whole run."""
    build_model(emit_chip(CHIP), optimise=False)
    folder = tmp_path_factory.mktemp("whole")
    options = RunOptions("killed", CHIP, settings=SLOW, runs_dir=folder, optimise=False, schedule="fused")
    killer = Killer(options, workload, "network", len(plan.launches), folder / "stderr.log")
    assert killer.attempt(None).status == 0
    return killer


@pytest.fixture
def killer(first: Killer, tmp_path: Path) -> Killer:
    """Before its first run."""
    options = replace(first.options, runs_dir=tmp_path)
    return replace(first, options=options, log=tmp_path / "stderr.log", attempts=[])


def results(killer: Killer) -> dict[str, dict]:
    """Of each launch by its folder: cycles, counters and marks, and every byte that was kept of its outputs."""
    found = {}
    for folder in sorted((killer.folder / "launches").iterdir()):
        result = json.loads((folder / "result.json").read_text())
        arrays = {file.stem: np.load(file).tobytes() for file in sorted(folder.glob("*.npy"))}
        found[folder.name] = arrays | {name: result[name] for name in ("outcome", "marks")}
    return found


def between(index: int, event: Event) -> bool:
    """The first launch has ended; the parent has not taken it in, and the next has not begun."""
    return (index, event["event"]) == (0, "finish")


def within(index: int, event: Event) -> bool:
    """The second launch has its first part behind it."""
    return index == 1 and event["event"] == "progress" and event["passed"] > 0


def test_a_fused_run_goes_on_from_its_finished_launches(first: Killer, killer: Killer) -> None:
    for trap in (between, within):
        attempt = killer.attempt(None, trap=Trap(trap))
        assert (attempt.status, len(attempt.finished)) == (KILLED, 1)
    last = killer.attempt(None)
    assert last.status == 0
    assert last.summary is not None
    assert [len(layer["parts"]) for layer in last.summary["layers"]] == [3, 2, 4]
    assert results(killer) == results(first)


def test_another_number_of_launches_is_another_run(killer: Killer, workload: Workload) -> None:
    """What was finished for the one is no use to the other, which kills and resumes likewise."""
    assert len(killer.attempt(None, trap=Trap(between)).finished) == 1
    two = replace(killer, options=replace(killer.options, launches=2), launches=2, attempts=[])
    attempt = two.attempt(None, trap=Trap(between))
    assert (attempt.status, len(attempt.finished)) == (KILLED, 1)
    last = two.attempt(None)
    assert last.status == 0
    assert last.summary is not None
    names = [name for layer in last.summary["layers"] for part in layer["parts"] for name in part["name"].split("+")]
    assert names == [node.name for node in workload.graph.nodes]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "jobs"), [(4, 1), (5, 2)])
def test_many_killed_fused_runs_lose_nothing_and_do_not_lie(
    seed: int, jobs: int, first: Killer, killer: Killer
) -> None:
    campaign(replace(killer, options=replace(killer.options, jobs=jobs)), kills=12, seed=seed)
    assert results(killer) == results(first)
