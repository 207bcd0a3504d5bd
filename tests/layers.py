"""Runs layers of tests/cases.py on the RTL and compares what they leave in memory with golden.int8.ops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.int8 import ops
from golden.int8.batch import expected_of
from rtl.contract.marks import marks_of
from rtl.contract.params import ChipParams
from scheduler import Plan, schedule
from scheduler.kinds.kind import ScheduleKind
from tb.model.build import Model
from tb.run.scoreboard import compare
from tb.sim.job import LaunchJob, LaunchResult, MemoryFile, ProcessJob, Region
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.cases import Case
from tests.networks import pictures_of

__all__ = ["Check", "run_cases", "run_plans"]


@dataclass(frozen=True, eq=False)
class Check:
    """What one launch must leave in memory."""

    case: Case
    plan: Plan
    launch: LaunchJob
    tensors: dict[str, np.ndarray]


def _launches(case: Case, plan: Plan, folder: Path) -> list[Check]:
    """The launches of a case, of all pictures of a batch; the first brings its memory along."""
    pictures = pictures_of(case, plan.batch)
    np.save(folder / f"{case.seed}.npy", plan.memory_image(*pictures))
    expected = expected_of(ops.run(case.graph, picture) for picture in pictures)
    checks = []
    for number, launch in enumerate(plan.launches):
        outputs = plan.written(launch)
        places = {name: plan.tensors[name] for name in outputs}
        job = LaunchJob(
            f"seed {case.seed} {case.kind} {launch.name}",
            launch.program_base,
            launch.program_stride,
            (folder / f"{case.seed}-{number}").resolve(),
            tuple(Region(name, place.addr, place.nbytes) for name, place in places.items()),
            watchdog_cycles=20_000,
            memory=(MemoryFile(0, (folder / f"{case.seed}.npy").resolve()),) if number == 0 else (),
            marks=marks_of(plan.chip, launch.streams),
        )
        checks.append(Check(case, plan, job, {name: expected[name] for name in outputs}))
    return checks


def run_cases(
    model: Callable[[int], Model],
    chip: ChipParams,
    cases: list[Case],
    settings: MemorySettings,
    folder: Path,
    *,
    counters: bool = False,
    kind: ScheduleKind | None = None,
) -> list[tuple[Check, LaunchResult]]:
    """`run_plans` of the cases' plans, made by a kind of schedule."""
    planned = [(case, schedule(case.graph, case.chip, kind=kind)) for case in cases]
    return run_plans(model, chip, planned, settings, folder, counters=counters)


def run_plans(
    model: Callable[[int], Model],
    chip: ChipParams,
    planned: list[tuple[Case, Plan]],
    settings: MemorySettings,
    folder: Path,
    *,
    counters: bool = False,
) -> list[tuple[Check, LaunchResult]]:
    """Run all launches of the plans in one simulation, and assert that each leaves what golden.int8.ops computes.

    Parameters
    ----------
    model : callable
        The chip's model, given the bytes of external memory that it needs.
    planned : list of (Case, Plan)
        With seeds of their own.
    counters : bool
        Read the counters after each launch.
    """
    checks = [check for case, plan in planned for check in _launches(case, plan, folder)]
    memory_bytes = max(check.plan.dram_bytes for check in checks)
    job = ProcessJob(chip, memory_bytes, tuple(check.launch for check in checks), settings=settings, counters=counters)
    results = run_job(model(memory_bytes), job, folder / "work")
    for check, result in zip(checks, results, strict=False):
        assert result.ok, f"{result.name}: {result.outcome} {result.violation} {result.debug}\n{check.case}"
        for name, expected in check.tensors.items():
            raw = np.load(check.launch.result_dir / f"{name}.npy")
            difference = compare(result.name, check.plan.tensors[name].layout.unpack(raw), expected)
            assert difference is None, f"{difference}\n{check.case}"
    assert len(results) == len(checks)
    return list(zip(checks, results, strict=True))
