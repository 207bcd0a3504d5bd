"""Fused schedules of random networks on the RTL, with scratchpads so small that every mode of staying occurs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from estimator import estimate
from rtl.contract.activity import Activity
from rtl.contract.isa import TrafficClass
from rtl.contract.marks import intervals_of
from rtl.contract.params import ChipParams, default_chip
from rtl.contract.regs import START_CYCLES
from scheduler.fuse.forms import Forms
from scheduler.kinds.fused import Fused
from tb.model.build import build_model, emit_chip
from tb.report.mesh import LaunchLoad, Mesh
from tb.run.counts import LaunchEvents
from tb.run.loads import launch_load, mesh_of
from tb.sim.job import LaunchResult
from tb.sim.settings import MemorySettings
from tests.chips import FOUR_CORES, MULTICAST_CORE, SMALL_CORE, TWO_CORES
from tests.layers import run_plans
from tests.networks import chain_network, random_network
from tests.strips import plan_of_strips
from tests.weights import plan_of_all_weights

FORCED = 2
"""Networks that are done strip by strip, large ones; and as many that take whole weight scratchpads."""
CALM = MemorySettings(latency_cycles=20, bytes_per_cycle=3)
ROUGH = MemorySettings(latency_cycles=33, bytes_per_cycle=3.5, stall_256=90, seed=7)


def run(chip: ChipParams, sim: str, seeds: range, settings: MemorySettings, folder: Path, forced: int = FORCED) -> None:
    """Plans of several launches and parts, each bit for bit; their parts add up, and are what the estimator says."""
    planned = []
    for seed in seeds:
        case = random_network(seed, chip)
        planned.append((case, Fused().plan(case.graph, chip, settings)))
    for seed in seeds[:forced]:
        case = chain_network(1000 + seed, chip)
        planned.append(
            (case, plan_of_strips(Forms(Fused(), case.graph, chip, settings).decider(), longest=seed % 2 == 0))
        )
    for seed in seeds[:forced]:
        case = random_network(2000 + seed, chip)
        planned.append((case, plan_of_all_weights(Forms(Fused(), case.graph, chip, settings).decider(), every=3)))
    parts = [len(launch.parts) for _, plan in planned for launch in plan.launches]
    assert max(parts) >= 4
    results = run_plans(
        lambda memory: build_model(emit_chip(chip), sim, memory_bytes=memory, optimise=False), chip, planned, settings,
        folder, counters=True,
    )  # fmt: skip
    assert len(results) == len(parts)
    measured = predicted = 0.0
    for (check, result), count in zip(results, parts, strict=True):
        intervals = intervals_of(Activity.from_counters(result.cycles, result.counters), result.core_marks)
        assert len(intervals) == count
        assert sum(interval.cycles for interval in intervals) == result.cycles
        (launch,) = (launch for launch in check.plan.launches if launch.program_base == check.launch.program_base)
        _check_loads(launch_load(chip, result, LaunchEvents.of(chip, launch), intervals), result, mesh_of(chip, ()))
        measured, predicted = measured + result.cycles, predicted + estimate(launch, chip, settings).cycles
    if not settings.stall_256:  # the estimator knows no moods
        assert predicted == pytest.approx(measured, rel=0.08)


def _check_loads(load: LaunchLoad, result: LaunchResult, mesh: Mesh) -> None:
    """The loads of a launch are its counters, and those of its parts add up to them."""
    whole, counters = load.whole, result.counters
    assert sum(load.parts[1:], load.parts[0]) == replace(whole, blocked=None)
    for link, flits in zip(mesh.links, whole.flits, strict=True):
        router = link.y * mesh.width + link.x
        if link.outward:
            assert flits == counters["router"][router][f"flits_{link.port}"]
        elif link.port == "local":
            assert flits == counters["core"][router]["flits_out"]
    for way, counts in (("read", whole.read_bytes), ("write", whole.write_bytes)):
        names = [f"{way}_{kind.name.lower()}_bytes" for kind in TrafficClass]
        assert counts == [sum(node[name] for name in names) for node in counters["memory"]]
    assert whole.blocked == [router["blocked"] for router in counters["router"]]
    assert all(sum(core) == result.cycles - START_CYCLES for core in whole.cores)


@pytest.mark.parametrize("settings", [CALM, ROUGH], ids=["calm", "rough"])
def test_random_networks_on_four_cores(settings: MemorySettings, tmp_path: Path) -> None:
    run(FOUR_CORES, "verilator", range(8), settings, tmp_path)


def test_random_networks_on_icarus(tmp_path: Path) -> None:
    run(TWO_CORES, "icarus", range(10, 11), CALM, tmp_path, forced=0)


@pytest.mark.slow
@pytest.mark.parametrize("cores", [1, 2, 6, 8])
def test_random_networks_on_other_numbers_of_cores(cores: int, tmp_path: Path) -> None:
    chip = default_chip(cores, MULTICAST_CORE if cores > 2 else SMALL_CORE, link_bytes=8, vc_depth=32)
    run(chip, "verilator", range(20, 32), CALM, tmp_path)
