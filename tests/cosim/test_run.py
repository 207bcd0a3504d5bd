"""Whole runs of a small network: verdict, summary, continuation after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scheduler.plan.program import Launch
from tb.report.watcher import Watcher
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import Workload, load_workload
from tb.sim.job import LaunchResult
from tb.sim.session import Event
from tb.sim.settings import MemorySettings
from tests.cases import CHIPS

REQUIRED = {
    "net", "cores", "array", "sim", "schedule", "seed", "bit_exact", "mismatches", "cycles", "macs", "pe_count",
    "utilization", "lower_bound_cycles", "efficiency", "dram_bytes", "estimated_cycles", "estimate_error", "layers",
    "build_s", "schedule_s", "golden_s", "sim_s", "sim_hz",
}  # fmt: skip
REQUIRED_OF_LAYERS = {
    "name", "op", "cycles", "estimated_cycles", "macs", "utilization", "dram_bytes", "bit_exact",
}  # fmt: skip


class Recorder(Watcher):
    """Notes which launches were kept and which were simulated; may interrupt behind one."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.was_kept: list[int] = []
        self.simulated: list[int] = []
        self.interrupt_after = interrupt_after

    def plan(self, launches: Sequence[Launch], estimates: Sequence[int], parts: Sequence[Sequence[int]] = ()) -> None:
        self.total = len(launches)

    def kept(self, index: int, result: LaunchResult) -> None:
        self.was_kept.append(index)

    def event(self, index: int, event: Event) -> None:
        if event["event"] == "finish":
            self.simulated.append(index)
            if index == self.interrupt_after:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def lenet5() -> Workload:
    return load_workload("lenet5")


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions("test", CHIPS["2x1_16x4"], runs_dir=tmp_path, optimise=False)


def test_lenet5_is_bit_exact_and_summed_up(lenet5: Workload, options: RunOptions) -> None:
    summary = Run(options, lambda: lenet5, "lenet5").execute()
    assert summary.bit_exact
    assert summary.failure is None
    record = json.loads((options.runs_dir / "test" / "summary.json").read_text())
    assert record.keys() >= REQUIRED
    assert all(layer.keys() >= REQUIRED_OF_LAYERS for layer in record["layers"])
    assert record["macs"] == lenet5.graph.macs
    assert 0 < record["quantisation_error"]["relative"] < 0.2
    assert record["host_layers"] == []
    assert record["cycles"] == sum(layer["cycles"] for layer in record["layers"])
    assert record["efficiency"] == pytest.approx(record["lower_bound_cycles"] / record["cycles"])
    for layer in record["layers"]:  # every cycle of every compute unit has a cause
        assert sum(layer["compute_cycles"].values()) == pytest.approx(layer["cycles"], abs=10)
    weights = sum(node.weight.size for node in lenet5.graph.nodes if hasattr(node, "weight"))
    assert record["dram_bytes"]["weight"] >= weights
    assert sorted(p.name for p in (options.runs_dir / "test").iterdir()) == [
        ".lock", "fingerprint", "launches", "layers.csv", "mesh.json", "sim.log", "summary.json",
    ]  # fmt: skip


def test_a_pruned_network_is_bit_exact_and_its_densities_are_kept(options: RunOptions) -> None:
    summary = Run(options, lambda: load_workload("lenet5", prune="0.2"), "lenet5").execute()
    assert summary.bit_exact
    record = json.loads((options.runs_dir / "test" / "summary.json").read_text())
    assert record["pruning"] == "20 % of each layer's weights"
    assert {name: layer["weights"] for name, layer in record["densities"].items()} == pytest.approx(
        dict.fromkeys(("conv1", "conv2", "fc1", "fc2", "fc3"), 0.2), abs=0.001
    )


def test_interrupted_run_goes_on_where_it_stopped(lenet5: Workload, options: RunOptions) -> None:
    with pytest.raises(KeyboardInterrupt):
        Run(options, lambda: lenet5, "lenet5", Recorder(interrupt_after=1)).execute()
    assert not (options.runs_dir / "test" / "summary.json").exists()
    second = Recorder()
    summary = Run(options, lambda: lenet5, "lenet5", second).execute()
    assert second.was_kept[:2] == [0, 1]
    assert second.was_kept + second.simulated == list(range(second.total))
    assert summary.bit_exact
    assert len(summary.layers) == second.total
    third = Recorder()
    assert Run(options, lambda: lenet5, "lenet5", third).execute().bit_exact
    assert third.simulated == []


def test_another_setting_or_fresh_keeps_nothing(lenet5: Workload, options: RunOptions) -> None:
    Run(options, lambda: lenet5, "lenet5").execute()
    for changed in (
        replace(options, settings=MemorySettings(latency_cycles=30)),
        replace(options, settings=MemorySettings(latency_cycles=30), fresh=True),
    ):
        recorder = Recorder()
        Run(changed, lambda: lenet5, "lenet5", recorder).execute()
        assert recorder.was_kept == []
        assert len(recorder.simulated) == recorder.total


def test_wrong_bit_fails_the_run_and_is_named(lenet5: Workload, options: RunOptions) -> None:
    node = next(node for node in lenet5.graph.nodes if node.name == "pool2")
    wrong = lenet5.expected[node.output].copy()
    wrong[1, 2, 3] ^= 1
    expected = {**lenet5.expected, node.output: wrong}
    summary = Run(options, lambda: replace(lenet5, expected=expected), "lenet5").execute()
    assert not summary.bit_exact
    assert summary.mismatches == 1
    assert summary.first_difference is not None
    assert summary.first_difference.startswith("conv2+pool2: channel 1, row 2, column 3: got ")
    assert [layer.bit_exact for layer in summary.layers] == [True, False]
    assert json.loads((options.runs_dir / "test" / "summary.json").read_text())["efficiency"] is None


def test_part_of_a_network_runs_alone(options: RunOptions) -> None:
    for layers, fuse, launches, words in (
        ("conv2..pool2", True, ["conv2+pool2"], "layer by layer, max pools fused into 1 convolution"),
        ("conv2..pool2", False, ["conv2", "pool2"], "layer by layer"),
        ("conv2", True, ["conv2"], "layer by layer"),
    ):
        part = load_workload("lenet5", layers=layers, fuse=fuse)
        summary = Run(replace(options, fuse=fuse), lambda part=part: part, "lenet5").execute()
        assert summary.bit_exact
        assert [layer.name for layer in summary.layers] == launches
        assert summary.schedule == words


def test_lenet5_on_icarus(options: RunOptions) -> None:
    part = load_workload("lenet5", layers="conv2")
    summary = Run(replace(options, sim="icarus"), lambda: part, "lenet5").execute()
    assert summary.bit_exact
    reference = Run(options, lambda: part, "lenet5").execute()
    assert summary.cycles == reference.cycles
    assert np.isclose(summary.utilization, reference.utilization)
