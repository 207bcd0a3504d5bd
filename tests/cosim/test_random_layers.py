"""Random layers on small chips: the RTL writes what golden.ops computes.

Every chip is built once; its cases run one after another in one simulation, so that nothing of an earlier program
may stay behind in the chip.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from golden import ops
from rtl.params import ChipParams
from scheduler import Plan, schedule
from tb.build import build_model, emit_chip
from tb.job import Job, LaunchJob, MemoryFile, Region
from tb.memory import MemorySettings
from tb.scoreboard import compare
from tb.session import run_job
from tests.cases import CHIPS, KINDS, Case, random_case
from tests.fused import fuse_all_pools

BUDGET_MACS = 30_000
SMOOTH = MemorySettings(latency_cycles=20)
ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)


@dataclass(frozen=True, eq=False)
class Check:
    """What one launch must leave in memory."""

    case: Case
    plan: Plan
    launch: LaunchJob
    tensors: dict[str, np.ndarray]


def _launches(case: Case, folder: Path) -> list[Check]:
    """The launches of a case; the first brings its memory along."""
    plan = schedule(case.graph, case.chip)
    memory = plan.memory_image(case.image)
    np.save(folder / f"{case.seed}.npy", memory)
    expected = ops.run(case.graph, case.image)
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
        )
        checks.append(Check(case, plan, job, {name: expected[name] for name in outputs}))
    return checks


def _run(chip: ChipParams, cases: list[Case], settings: MemorySettings, simulator: str, folder: Path) -> None:
    checks = [check for case in cases for check in _launches(case, folder)]
    memory_bytes = max(check.plan.dram_bytes for check in checks)
    model = build_model(emit_chip(chip), simulator, memory_bytes=memory_bytes, optimise=False)
    job = Job(chip, memory_bytes, tuple(check.launch for check in checks), settings=settings, counters=False)
    results = run_job(model, job, folder / "work")
    for check, result in zip(checks, results, strict=False):
        assert result.ok, f"{result.name}: {result.outcome} {result.violation} {result.debug}\n{check.case}"
        for name, expected in check.tensors.items():
            raw = np.load(check.launch.result_dir / f"{name}.npy")
            difference = compare(result.name, check.plan.tensors[name].layout.unpack(raw), expected)
            assert difference is None, f"{difference}\n{check.case}"
    assert len(results) == len(checks)


@pytest.mark.parametrize("chip", CHIPS)
def test_rtl_equals_ops(chip: str, tmp_path: Path) -> None:
    """Every kind of layer, with a steady memory and with a slow one that holds back handshakes at random."""
    for first, settings in ((0, SMOOTH), (100, ROUGH)):
        cases = [random_case(first + i, chip=CHIPS[chip], budget_macs=BUDGET_MACS) for i in range(len(KINDS))]
        folder = tmp_path / str(first)
        folder.mkdir()
        _run(CHIPS[chip], cases, settings, "verilator", folder)


@pytest.mark.parametrize("chip", CHIPS)
def test_rtl_equals_ops_with_fused_pools(chip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        fuse_all_pools(random_case(300 + i, kind="pooled", chip=CHIPS[chip], budget_macs=BUDGET_MACS), monkeypatch)
        for i in range(6)
    ]
    launches = [launch for case in cases for launch in schedule(case.graph, case.chip).launches]
    assert sum(launch.op == "conv+maxpool" for launch in launches) >= len(cases)
    _run(CHIPS[chip], cases, ROUGH, "verilator", tmp_path)


@pytest.mark.parametrize("chip", ["1x1_8x8", "2x1_16x4"])
def test_rtl_equals_ops_on_icarus(chip: str, tmp_path: Path) -> None:
    kinds = ("conv3x3", "depthwise", "pool", "add")
    cases = [
        random_case(200 + i, kind=kind, chip=CHIPS[chip], budget_macs=4_000) for i, kind in enumerate(kinds)
    ]
    _run(CHIPS[chip], cases, SMOOTH, "icarus", tmp_path)
