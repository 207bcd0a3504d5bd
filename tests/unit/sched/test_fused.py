"""Fused schedules: what they compute in the machine, in the most hostile order, and what they keep from DRAM."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming, estimate
from golden.int8 import ops
from golden.machine import Machine
from rtl.contract.codec import decode, encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.marks import marks_of
from rtl.contract.params import CoreParams, default_chip
from scheduler import Launch, Plan, Segment, schedule
from scheduler.kinds.fused import Fused, Planner
from scheduler.map.budget import Barriers, Range
from scheduler.plan.traffic import part_bytes
from tests.cases import Case, GraphBuilder
from tests.networks import chain_network, random_network
from tests.strips import plan_of_strips
from tests.unit.sched.replay import Replay

MEMORY = MemoryTiming(bytes_per_cycle=2)
SMALL = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIPS = {
    "one core": default_chip(1, SMALL, link_bytes=8, vc_depth=32),
    "two cores": default_chip(2, SMALL, link_bytes=8),
    "tiny scratchpads": default_chip(2, replace(SMALL, act_bytes=4 * 1024), link_bytes=8),
    "four cores, two blocks a word": default_chip(4, replace(SMALL, rows=16), link_bytes=8),
    "six cores": default_chip(6, SMALL, link_bytes=8),
}


def run(case: Case, plan: Plan, order_seed: int | None) -> None:
    """All launches in the machine, on one memory; every tensor that reaches DRAM is compared."""
    expected = ops.run(case.graph, case.image)
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        result = Machine(case.chip).run(
            memory, launch.program_base, launch.program_stride, order_seed=order_seed, fill_seed=order_seed
        )
        assert result.ok, (str(case), launch.name, result)
        assert not any(any(core.tokens) for core in result.cores)
        for name in plan.written(launch):
            np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name], f"{case}: {name}")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("chip", CHIPS)
def test_random_networks_are_computed_right_in_any_order(chip: str, seed: int) -> None:
    case = random_network(seed, CHIPS[chip])
    plan = Fused().plan(case.graph, case.chip, MEMORY)
    for launch in plan.launches:
        Replay(launch, case.chip).run()
    for order_seed in (None, 1, 2):
        run(case, plan, order_seed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cores", [1, 2, 4])
def test_strips_are_computed_right_in_any_order(cores: int, seed: int) -> None:
    """Chains of tall maps of which the scratchpads hold a few rows, with halos, strides, pools and residuals."""
    chip = default_chip(cores, replace(SMALL, act_bytes=8 * 1024), link_bytes=8)
    case = chain_network(seed, chip)
    planner = Planner(Fused(), case.graph, chip, MEMORY)
    plan = plan_of_strips(planner, longest=seed % 2 == 0)
    for launch in plan.launches:
        Replay(launch, chip).run()
    for order_seed in (None, 1):
        run(case, plan, order_seed)


def test_what_stays_never_reaches_dram() -> None:
    """A chain of convolutions: input, output, weights and programs are all that crosses the memory nodes."""
    chip = CHIPS["two cores"]
    builder = GraphBuilder(np.random.default_rng(1), (16, 12, 12), 10**9)
    at = "in"
    for _ in range(4):
        at = builder.conv(at, 16, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("chain", at)
    plan = Fused().plan(graph, chip, MEMORY)
    (launch,) = plan.launches
    assert [part.nodes for part in launch.parts] == [(node.name,) for node in graph.nodes]
    assert set(plan.tensors) == {"in", at}
    traffic = [part_bytes(launch, number, chip.link_bytes) for number in range(4)]
    assert [part["ifmap"] > 0 for part in traffic] == [True, False, False, False]
    assert [part["ofmap"] for part in traffic] == [0, 0, 0, 16 * 144]
    apart = schedule(graph, chip, MEMORY)
    assert estimate(launch, chip, MEMORY).cycles < sum(estimate(one, chip, MEMORY).cycles for one in apart.launches)


def test_parts_end_at_marks_where_cores_have_a_trace_memory() -> None:
    chip = default_chip(2, replace(SMALL, marks=16), link_bytes=8)
    case = random_network(0, chip)
    plan = Fused().plan(case.graph, chip, MEMORY)
    for launch, passed in ((launch, marks_of(chip, launch.streams)) for launch in plan.launches):
        count = len(launch.parts)
        assert passed == (tuple(range(1, count + 1)) if count > 1 else (),) * 2


@pytest.mark.parametrize("drop", ["computed", "data"])
def test_a_resident_tensor_read_too_early_is_caught_by_the_machine(drop: str) -> None:
    """With one of the two waits left out at a time: in some order the machine reads what is not there yet."""
    case = random_network(0, CHIPS["two cores"])
    plan = Fused().plan(case.graph, case.chip, MEMORY)
    counters = getattr(Barriers.of(case.chip), drop)
    spoilt = []
    for launch in plan.launches:
        streams = dict(launch.streams)
        for core in range(case.chip.n_cores):
            streams[core, Unit.COMPUTE] = [_without(word, counters) for word in launch.streams[core, Unit.COMPUTE]]
        spoilt.append(replace(launch, streams=streams))
    plan = _with_launches(plan, spoilt)
    assert not all(_is_right(case, plan, order_seed) for order_seed in range(8))


def _is_right(case: Case, plan: Plan, order_seed: int) -> bool:
    try:
        run(case, plan, order_seed)
    except AssertionError:
        return False
    return True


def _without(word: bytes, counters: Range) -> bytes:
    """An instruction that does not wait for these counters."""
    opcode, fields = decode(word)
    if opcode != Opcode.SYNC:
        return word
    del fields["opcode"]
    for number in range(3):
        if counters.first <= fields[f"wait{number}_first"] < counters.end:
            fields[f"wait{number}_count"] = 0
    return encode(opcode, **fields)


def _with_launches(plan: Plan, launches: list[Launch]) -> Plan:
    """The plan with other programs of the same length, in its memory too."""
    segments = [segment for segment in plan.segments if not segment.label.endswith(" program")]
    for launch in launches:
        for core in range(plan.chip.n_cores):
            segments += [Segment(*launch.program(core, unit), f"{launch.name} program") for unit in Unit]
    return replace(plan, steps=tuple(launches), segments=tuple(segments))
