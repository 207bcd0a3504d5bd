"""Batches: every picture is computed right, whatever order the machine takes, and weights are loaded once where they can be."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming, estimate
from golden.int8 import ops
from golden.int8.batch import expected_of
from golden.machine import Machine
from rtl.contract.params import ChipParams, CoreParams, default_chip
from scheduler import Plan, PlanError, schedule
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from scheduler.plan.traffic import part_bytes
from scheduler.rounds import pictures_at_once
from tests.cases import Case, GraphBuilder, random_image
from tests.networks import random_network
from tests.unit.sched.replay import Replay

MEMORY = MemoryTiming(bytes_per_cycle=2)
SMALL = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIPS = {
    "one core": default_chip(1, SMALL, link_bytes=8, vc_depth=32),
    "two cores": default_chip(2, SMALL, link_bytes=8),
    "tiny scratchpads": default_chip(2, replace(SMALL, act_bytes=4 * 1024), link_bytes=8),
    "four cores": default_chip(4, SMALL, link_bytes=8),
    "four cores, two blocks a word": default_chip(4, replace(SMALL, rows=16), link_bytes=8),
}
KINDS: dict[str, ScheduleKind] = {"fused": Fused(), "layers": Layers()}


def pictures_of(case: Case, batch: int) -> list[np.ndarray]:
    rng = np.random.default_rng(case.seed)
    return [case.image, *(random_image(rng, case.graph) for _ in range(batch - 1))]


def run(case: Case, plan: Plan, pictures: list[np.ndarray], order_seed: int | None) -> None:
    """All launches in the machine, on one memory; every tensor of every picture that reaches DRAM is compared."""
    expected = expected_of(ops.run(case.graph, picture) for picture in pictures)
    memory = plan.memory_image(*pictures)
    seen: set[str] = set()
    for launch in plan.launches:
        result = Machine(case.chip).run(
            memory, launch.program_base, launch.program_stride, order_seed=order_seed, fill_seed=order_seed
        )
        assert result.ok, (str(case), launch.name, result)
        assert not any(any(core.tokens) for core in result.cores)
        for name in plan.written(launch):
            np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name], f"{case}: {name}")
            seen.add(name)
    assert set(plan.graph.outputs) <= seen
    for name in plan.graph.outputs:
        np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name], f"{case}: {name} at the end")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [2, 3, 4, 5])
@pytest.mark.parametrize("chip", CHIPS)
def test_random_networks_are_computed_right_in_any_order(chip: str, batch: int, kind: str) -> None:
    for seed in range(batch, batch + 2):
        case = random_network(seed, CHIPS[chip])
        plan = KINDS[kind].plan(case.graph, case.chip, MEMORY, batch)
        for launch in plan.launches:
            Replay(launch, case.chip).run()
        for order_seed in (None, 1):
            run(case, plan, pictures_of(case, batch), order_seed)
