"""What launches read and may write: units in any order, each with the inputs that it brings, leave what they must."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8 import ops
from golden.int8.batch import expected_of
from golden.machine import Machine
from rtl.contract.params import CoreParams, default_chip
from scheduler import Plan, schedule
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from tb.run.launches import Launches, owner_of, units_of, writes_of
from tb.run.workload import load_workload
from tb.sim.job import POISON, HostJob
from tests.cases import CHIPS, Case, random_case
from tests.networks import pictures_of, random_network

SMALL = default_chip(
    4, CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64), link_bytes=8
)
SEEDS = [*range(17), *(("concat", seed) for seed in range(12)), *(("chain", seed) for seed in range(3))]


def _case(seed: int | tuple[str, int]) -> Case:
    kind, number = (None, seed) if isinstance(seed, int) else seed
    return random_case(number, kind=kind, budget_macs=20_000)


def _launches(plan: Plan, expected: dict[str, np.ndarray], folder: Path) -> Launches:
    runs = SimpleNamespace(work=folder, launch=lambda index, name: folder / f"{index}-{name}")
    return Launches(plan, expected, runs, watchdog_cycles=1000)


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_units_in_any_order_write_their_outputs_whole_and_nothing_else(
    seed: int | tuple[str, int], tmp_path: Path
) -> None:
    case = _case(seed)
    plan, expected = schedule(case.graph, case.chip), ops.run(case.graph, case.image)
    launches = _launches(plan, expected, tmp_path)
    memory = plan.memory_image()
    for place in plan.tensors.values():
        memory[place.addr : place.end] = POISON
    units = units_of(plan)
    assert [index for unit in units for index in unit] == list(range(len(plan.steps)))
    for number in np.random.default_rng(case.seed).permutation(len(units)):
        unit = units[number]
        for job in launches.jobs(unit, follows=False):
            assert not isinstance(job, HostJob)
            assert job.writes == writes_of(plan, unit)
            for file in job.memory:
                memory[file.address : file.address + file.array().size] = file.array()
            for region in job.clear:
                memory[region.address : region.end] = POISON
            before = memory.copy()
            assert Machine(case.chip).run(memory, job.program_base, job.program_stride).ok
            allowed = np.zeros(memory.size, bool)
            for region in job.writes or ():
                allowed[region.address : region.end] = True
            assert np.array_equal(memory[~allowed], before[~allowed]), f"{job.name} writes elsewhere\n{case}"
        for tensor in plan.written(plan.steps[unit[-1]]):
            assert np.array_equal(plan.tensors[tensor].read(memory), expected[tensor]), f"{tensor}\n{case}"


@pytest.mark.parametrize("kind", [Layers(), Fused()], ids=["layers", "fused"])
@pytest.mark.parametrize("seed", range(3))
def test_units_of_a_batch_in_any_order(seed: int, kind: ScheduleKind, tmp_path: Path) -> None:
    """Each with the inputs that it brings, as a process that begins in the middle does."""
    case = random_network(seed, SMALL)
    plan = kind.plan(case.graph, case.chip, MemoryTiming(bytes_per_cycle=2), 4)
    expected = expected_of(ops.run(case.graph, picture) for picture in pictures_of(case, 4))
    launches, memory, units = _launches(plan, expected, tmp_path), plan.memory_image(), units_of(plan)
    for number in np.random.default_rng(seed).permutation(len(units)):
        for place in plan.tensors.values():
            memory[place.addr : place.end] = POISON
        for job in launches.jobs(units[number], follows=False):
            assert not isinstance(job, HostJob)
            for file in job.memory:
                memory[file.address : file.address + file.array().size] = file.array()
            assert Machine(case.chip).run(memory, job.program_base, job.program_stride).ok
        for index in units[number]:
            for tensor in plan.written(plan.steps[index]):
                assert np.array_equal(plan.tensors[tensor].read(memory), expected[tensor]), f"{tensor}\n{case}"


def test_parts_of_a_concatenation_stay_together_and_clear_their_output_once(tmp_path: Path) -> None:
    plans = ((case, schedule(case.graph, case.chip)) for case in map(_case, SEEDS))
    case, plan = next((case, plan) for case, plan in plans if not all(step.nodes for step in plan.steps))
    unit = next(unit for unit in units_of(plan) if len(unit) > 1)
    assert {plan.steps[index].op for index in unit} == {"concat"}
    first, *others = _launches(plan, ops.run(case.graph, case.image), tmp_path).jobs(unit, follows=False)
    assert first.memory
    assert first.clear == first.writes == others[0].writes
    assert [(job.memory, job.clear) for job in others] == [((), ())] * len(others)
    follower = _launches(plan, {}, tmp_path).jobs(unit, follows=True)[0]
    assert follower.memory == ()


def test_every_byte_has_an_owner_with_a_name() -> None:
    workload = load_workload("lenet5")
    plan = schedule(workload.graph, CHIPS["2x1_16x4"])
    for segment in plan.segments:
        assert owner_of(plan, segment.addr + segment.data.size - 1, 0) == segment.label
    assert {segment.label.split()[-1] for segment in plan.segments} == {"weights", "parameters", "program"}
    place = plan.tensors["pool2"]
    assert plan.steps[1].name == "conv2+pool2"
    assert owner_of(plan, place.end - 1, 1) == "tensor pool2"
    assert owner_of(plan, place.addr, 4) != "tensor pool2"
    moved = replace(plan, tensors={**plan.tensors, "pool2": replace(place, addr=1 << 30)})
    assert owner_of(moved, place.addr, 1) == "nothing that is needed"
