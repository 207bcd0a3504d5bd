"""Fused schedules: what they compute in the machine, in the most hostile order, and what they keep from DRAM."""

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8 import ops
from golden.machine import Machine
from rtl.contract.params import CoreParams, default_chip
from scheduler import Plan
from scheduler.kinds.fused import Fused
from tests.cases import Case
from tests.networks import random_network
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


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("chip", CHIPS)
def test_random_networks_are_computed_right_in_any_order(chip: str, seed: int) -> None:
    case = random_network(seed, CHIPS[chip])
    plan = Fused().plan(case.graph, case.chip, MEMORY)
    for launch in plan.launches:
        Replay(launch, case.chip).run()
    for order_seed in (None, 1, 2):
        run(case, plan, order_seed)


def kept(plan: Plan) -> int:
    return sum(len(launch.parts) - 1 for launch in plan.launches)
