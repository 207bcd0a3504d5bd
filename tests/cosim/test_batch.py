"""Batches on the RTL: every picture of random networks, fused and layer by layer, bit for bit; a whole run, resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from estimator import estimate
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from tb.model.build import build_model, emit_chip
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import load_workload
from tb.sim.settings import MemorySettings
from tests.chips import CHIPS, FOUR_CORES
from tests.cosim.test_fused import CALM, ROUGH
from tests.layers import run_plans
from tests.networks import random_network


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Fused(), CALM), (Fused(), ROUGH), (Fused(overlap=False), CALM), (Layers(), CALM)],
    ids=["fused", "rough", "serial", "layers"],
)
def test_random_networks_in_batches(kind: ScheduleKind, settings: MemorySettings, tmp_path: Path) -> None:
    planned = []
    for seed in range(4):
        case = random_network(seed, FOUR_CORES)
        planned.append((case, kind.plan(case.graph, FOUR_CORES, settings, 4 - seed % 2)))
    results = run_plans(
        lambda memory: build_model(emit_chip(FOUR_CORES), memory_bytes=memory, optimise=False), FOUR_CORES, planned,
        settings, tmp_path, counters=True,
    )  # fmt: skip
    launches = [launch for _, plan in planned for launch in plan.launches]
    pictures = [len({name.rpartition("@")[2] for name in launch.nodes}) for launch in launches]
    assert max(pictures) == 4
    if not settings.stall_256:  # the estimator knows no moods
        predicted = sum(estimate(launch, FOUR_CORES, settings).cycles for launch in launches)
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
