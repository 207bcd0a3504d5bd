"""The figures of a summary: those of a launch are those of its parts, whatever they are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rtl.contract.isa import TrafficClass
from rtl.contract.params import default_chip
from scheduler.plan.program import Part, Plan
from scheduler.schedule import schedule, schedule_kind
from tb.report.summary import CAUSES, Summary
from tb.run.counts import LaunchEvents
from tb.run.facts import describe_schedule, fill_summary
from tb.run.ledger import Ledger
from tb.run.rundir import RunDir
from tb.run.workload import Workload, load_workload
from tb.sim.job import LaunchResult

COUNTERS = {
    "core": [{f"compute_{cause}": 10 for cause in CAUSES} | {"passes": 4, "instructions": 9, "flits_in": 0}],
    "router": [{"blocked": 7}],
    "memory": [{f"{way}_{kind.name.lower()}_bytes": 5 for way in ("read", "write") for kind in TrafficClass}],
}


@pytest.fixture(scope="module")
def lenet5() -> Workload:
    return load_workload("lenet5")


@pytest.fixture(scope="module")
def plan(lenet5: Workload) -> Plan:
    return schedule(lenet5.graph, default_chip(1))


def _renamed(plan: Plan) -> Plan:
    """The plan with launches whose names and operators say nothing."""
    steps = tuple(
        replace(launch, name=f"launch{number}", parts=tuple(replace(part, op="?") for part in launch.parts))
        for number, launch in enumerate(plan.launches)
    )
    return replace(plan, steps=steps)


def test_every_multiplication_of_the_network_is_one_of_a_part(lenet5: Workload, plan: Plan) -> None:
    parts = [part for launch in plan.launches for part in launch.parts]
    assert sum(part.macs for part in parts) == lenet5.graph.macs
    assert [name for part in parts for name in part.nodes] == [node.name for node in plan.graph.nodes]


def test_fused_pools_are_known_by_their_nodes(lenet5: Workload, plan: Plan) -> None:
    apart = schedule(lenet5.graph, default_chip(1), kind=schedule_kind("layers", pools=False))
    assert describe_schedule(_renamed(plan)) == "layer by layer, max pools fused into 2 convolutions"
    assert describe_schedule(_renamed(apart)) == "layer by layer"


def test_figures_of_a_launch_of_several_parts_are_their_sum(lenet5: Workload, plan: Plan, tmp_path: Path) -> None:
    both = (Part(("a",), "conv", "2x1", 300), Part(("b",), "fc", "1x1", 500))
    launch, *others = plan.launches
    borders = {place: (len(stream) // 2, len(stream) - 1) for place, stream in launch.streams.items()}
    plan = replace(plan, steps=(replace(launch, parts=both, borders=borders), *others))
    result = LaunchResult(launch.name, {"status": "done", "cycles": 100}, 1.0, COUNTERS, [])
    summary = Summary("lenet5", 1, "16x16", "verilator", "", 1, 4, {}, 1.0, 0.0, 0.0, 0.0)
    with RunDir(tmp_path, "mark") as folder:
        ledger = Ledger(plan, lenet5.expected, folder)
        ledger.results[0], ledger.exact[0] = result, True
        ledger.events[0] = LaunchEvents.of(plan.chip, plan.launches[0])
        mesh = fill_summary(summary, plan, ledger, [90])
    (layer,) = summary.as_dict()["layers"]
    assert (layer["op"], layer["macs"], layer["mapping"]) == ("conv, fc", 800, "2x1; 1x1")
    first, second = layer["parts"]
    assert [first[key] for key in ("name", "op", "macs", "mapping")] == ["a", "conv", 300, "2x1"]
    assert [second[key] for key in ("name", "op", "macs", "mapping")] == ["b", "fc", 500, "1x1"]
    assert first["cycles"] is second["cycles"] is None  # no core has passed a mark
    (load,) = mesh.launches
    assert load is not None
    assert load.parts == []
    assert (load.whole.cycles, load.whole.cores, load.whole.blocked) == (100, [[10] * len(CAUSES)], [7])
    for kind in TrafficClass:
        assert first["dram_bytes"][kind.name.lower()] + second["dram_bytes"][kind.name.lower()] == 10
    assert layer["utilization"] == 800 / (4 * 100)
    assert layer["dram_bytes"] == {kind.name.lower(): 10 for kind in TrafficClass}
    assert not summary.bit_exact  # the other launches have no result
