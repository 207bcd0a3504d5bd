"""Random layers on small chips: the RTL writes what golden.int8.ops computes.

Every chip is built once; its cases run one after another in one simulation, so that nothing of an earlier program
may stay behind in the chip.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from estimator.events import predict
from rtl.contract.params import ChipParams
from scheduler import schedule
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from tb.fuzz.chips import FUZZ_CHIPS
from tb.model.build import Model, build_model, emit_chip
from tb.run.counts import check_counts
from tb.sim.settings import MemorySettings
from tests.cases import CHIPS, KINDS, MORE_KINDS, Case, pruned, random_case
from tests.fused import ALL_POOLS, pools_in_front
from tests.layers import run_cases

BUDGET_MACS = 30_000
SMOOTH = MemorySettings(latency_cycles=20)
ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)


def _run(
    chip: ChipParams,
    cases: list[Case],
    settings: MemorySettings,
    simulator: str,
    folder: Path,
    kind: ScheduleKind | None = None,
) -> None:
    def model(memory_bytes: int) -> Model:
        return build_model(emit_chip(chip), simulator, memory_bytes=memory_bytes, optimise=False)

    run_cases(model, chip, cases, settings, folder, kind=kind)


@pytest.mark.parametrize("chip", CHIPS)
def test_rtl_equals_ops(chip: str, tmp_path: Path) -> None:
    """Every kind of layer, with a steady memory and with a slow one that holds back handshakes at random."""
    for first, settings in ((0, SMOOTH), (100, ROUGH)):
        cases = [random_case(first + i, chip=CHIPS[chip], budget_macs=BUDGET_MACS) for i in range(len(KINDS))]
        folder = tmp_path / str(first)
        folder.mkdir()
        _run(CHIPS[chip], cases, settings, "verilator", folder)


@pytest.mark.parametrize("chip", CHIPS)
def test_rtl_equals_ops_with_fused_pools(chip: str, tmp_path: Path) -> None:
    cases = [
        pools_in_front(random_case(300 + i, kind="pooled", chip=CHIPS[chip], budget_macs=BUDGET_MACS)) for i in range(6)
    ]
    launches = [launch for case in cases for launch in schedule(case.graph, case.chip, kind=ALL_POOLS).launches]
    assert sum(launch.op == "conv+maxpool" for launch in launches) >= len(cases)
    _run(CHIPS[chip], cases, ROUGH, "verilator", tmp_path, ALL_POOLS)


def test_rtl_equals_ops_with_copies_gates_and_wide_windows(tmp_path: Path) -> None:
    """What networks of other tools bring, layer by layer and fused, on the chip of two unlike words."""
    chip = CHIPS["2x1_16x4"]
    for first, schedule_kind in ((400, Layers()), (410, Fused())):
        cases = [
            random_case(first + number, kind=kind, chip=chip, budget_macs=BUDGET_MACS)
            for number, kind in enumerate(MORE_KINDS)
        ]
        folder = tmp_path / str(first)
        folder.mkdir()
        _run(chip, cases, ROUGH, "verilator", folder, schedule_kind)


def test_rtl_equals_ops_on_a_sparse_engine(tmp_path: Path) -> None:
    """Every kind of network, pruned more or less, with all counters as the instructions say."""
    chip = FUZZ_CHIPS["1x1_sparse"]
    cases = [
        pruned(random_case(500 + number, kind=kind, chip=chip, budget_macs=BUDGET_MACS), (0.1, 0.3, 1.0)[number % 3])
        for number, kind in enumerate((*KINDS, *MORE_KINDS))
    ]

    def model(memory_bytes: int) -> Model:
        return build_model(emit_chip(chip), "verilator", memory_bytes=memory_bytes, optimise=False)

    for check, result in run_cases(model, chip, cases, SMOOTH, tmp_path, counters=True):
        launch = next(one for one in check.plan.launches if check.launch.name.endswith(f" {one.name}"))
        assert check_counts(predict(launch.streams, chip), result.counters) == ""


@pytest.mark.parametrize("chip", ["1x1_8x8", "2x1_16x4"])
def test_rtl_equals_ops_on_icarus(chip: str, tmp_path: Path) -> None:
    kinds = ("conv3x3", "depthwise", "pool", "add")
    cases = [random_case(200 + i, kind=kind, chip=CHIPS[chip], budget_macs=4_000) for i, kind in enumerate(kinds)]
    _run(CHIPS[chip], cases, SMOOTH, "icarus", tmp_path)
