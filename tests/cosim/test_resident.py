"""Two layers in one launch on the RTL: the tensor between them stays in the scratchpads, never in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimator import estimate
from golden.int8 import ops
from scheduler import schedule
from tb.model.build import build_model, emit_chip
from tb.report.summary import Summary
from tb.run.counts import LaunchEvents
from tb.run.facts import fill_summary
from tb.run.ledger import Ledger
from tb.run.rundir import RunDir
from tb.sim.settings import MemorySettings
from tests.chips import TWO_CORES as CHIP
from tests.layers import run_plans
from tests.resident import resident_case, resident_plan

GRIDS = {"rows": ((1, 2), (1, 2)), "channels": ((2, 1), (2, 1))}
LAYERS = {"conv1x1": {"kernel": 1}, "conv3x3": {"kernel": 3}, "depthwise": {"kernel": 3, "op": "depthwise"}}
ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)


def test_resident_tensors_are_right_estimated_and_reported_by_layer(tmp_path: Path) -> None:
    """Each core keeps its rows, or all rows of its channels, which go to both; with a slow and moody memory, too."""
    model = build_model(emit_chip(CHIP), optimise=False)
    cases = [
        (resident_case(CHIP, seed, **layer), grids)
        for seed, (layer, grids) in enumerate((layer, grids) for layer in LAYERS.values() for grids in GRIDS.values())
    ]
    for settings in (MemorySettings(latency_cycles=20), ROUGH):
        folder = tmp_path / str(settings.latency_cycles)
        folder.mkdir()
        planned = [(case, resident_plan(case, *grids)) for case, grids in cases]
        results = run_plans(lambda _: model, CHIP, planned, settings, folder, counters=True)
        for number, (check, result) in enumerate(results):
            (launch,) = check.plan.launches
            predicted = estimate(launch, CHIP, settings)
            if settings is not ROUGH:  # the estimator knows no moods
                assert predicted.cycles == pytest.approx(result.cycles, rel=0.12)
            with RunDir(folder / f"run{number}", "mark") as kept:
                ledger = Ledger(check.plan, ops.run(check.case.graph, check.case.image), kept)
                ledger.results[0], ledger.exact[0] = result, True
                ledger.events[0] = LaunchEvents.of(CHIP, launch)
                summary = Summary("resident", 2, "8x8", "verilator", "", 1, CHIP.pes, {}, 1.0, 0.0, 0.0, 0.0)
                fill_summary(summary, check.plan, ledger, [round(predicted.cycles)])
            (layer,) = summary.as_dict()["layers"]
            first, second = check.case.graph.nodes
            assert [part["macs"] for part in layer["parts"]] == [first.macs, second.macs]
            assert "input resident" in layer["parts"][1]["mapping"]
            apart = [estimate(launch, CHIP).dram_bytes for launch in schedule(check.case.graph, CHIP).launches]
            assert layer["dram_bytes"]["ofmap"] == apart[1]["ofmap"]
