"""Batches on the RTL: every picture of random networks, fused and layer by layer, bit for bit; a whole run, resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from estimator import estimate
from rtl.contract.params import CoreParams, default_chip
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from tb.model.build import build_model, emit_chip
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import load_workload
from tb.sim.settings import MemorySettings
from tests.cases import CHIPS
from tests.layers import run_plans
from tests.networks import random_network

SMALL = CoreParams(8, 8, act_bytes=4 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64, marks=32)
CHIP = default_chip(4, SMALL, link_bytes=8)
MEMORY = MemorySettings(latency_cycles=20, bytes_per_cycle=3)
ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Fused(), MEMORY), (Fused(), ROUGH), (Fused(overlap=False), MEMORY), (Layers(), MEMORY)],
    ids=["fused", "rough", "serial", "layers"],
)
def test_random_networks_in_batches(kind: ScheduleKind, settings: MemorySettings, tmp_path: Path) -> None:
    planned = []
    for seed in range(4):
        case = random_network(seed, CHIP)
        planned.append((case, kind.plan(case.graph, CHIP, settings, 4 - seed % 2)))
    results = run_plans(
        lambda memory: build_model(emit_chip(CHIP), "verilator", memory_bytes=memory, optimise=False), CHIP, planned,
        settings, tmp_path, counters=True,
    )  # fmt: skip
    launches = [launch for _, plan in planned for launch in plan.launches]
    pictures = [len({name.rpartition("@")[2] for name in launch.nodes}) for launch in launches]
    assert max(pictures) == 4
    if not settings.stall_256:  # the estimator knows no moods
        predicted = sum(estimate(launch, CHIP, settings).cycles for launch in launches)
        assert predicted == pytest.approx(sum(result.cycles for _, result in results), rel=0.08)


def test_a_run_of_a_batch_is_reported_by_picture_and_goes_on_where_it_was(tmp_path: Path) -> None:
    options = RunOptions("test", CHIPS["2x1_16x4"], runs_dir=tmp_path, optimise=False)
    workload = load_workload("lenet5", batch=3)
    summary = Run(options, lambda: workload, "lenet5").execute()
    assert summary.bit_exact
    record = json.loads((tmp_path / "test" / "summary.json").read_text())
    assert record["batch"] == 3
    assert record["cycles_per_picture"] == record["cycles"] / 3
    assert record["dram_bytes_per_picture"] == sum(record["dram_bytes"].values()) / 3
    assert record["macs"] == 3 * load_workload("lenet5").graph.macs
    again = Run(options, lambda: workload, "lenet5").execute()
    assert again.bit_exact
    assert again.processes == 0, "everything was kept"
    other = replace(workload, others=workload.others[::-1])
    expected = {**workload.expected}
    for name in workload.expected:
        if name.endswith("@2"):
            expected |= {name: workload.expected[f"{name[:-2]}@3"], f"{name[:-2]}@3": workload.expected[name]}
    swapped = Run(options, lambda: replace(other, expected=expected), "lenet5").execute()
    assert swapped.bit_exact
    assert swapped.processes, "other pictures are another run"


def test_a_wrong_bit_is_named_by_layer_and_picture(tmp_path: Path) -> None:
    workload = load_workload("lenet5", batch=2)
    wrong = {**workload.expected, "fc3@2": workload.expected["fc3@2"] ^ 1}
    options = RunOptions("test", CHIPS["2x1_16x4"], runs_dir=tmp_path, optimise=False)
    summary = Run(options, lambda: replace(workload, expected=wrong), "lenet5").execute()
    assert not summary.bit_exact
    assert summary.first_difference is not None
    assert "fc3" in summary.first_difference
    assert "@2" in summary.first_difference or "picture 2" in summary.first_difference
