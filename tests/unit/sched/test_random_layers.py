"""Random layers on random chips: the machine, running the schedule, and golden.ops agree bit for bit."""

from functools import cache

import numpy as np
import pytest

from golden import ops
from golden.machine import Machine
from scheduler import Plan, schedule
from tests.cases import CHIPS, Case, random_case

SEEDS = range(70)
BUDGET_MACS = 200_000


@cache
def planned(seed: int) -> tuple[Case, Plan]:
    case = random_case(seed, budget_macs=BUDGET_MACS)
    return case, schedule(case.graph, case.chip)


def check(case: Case, plan: Plan, order_seed: int | None) -> None:
    """Run all launches; every tensor as soon as it is complete, and nothing else, holds what ops says."""
    expected = ops.run(case.graph, case.image)
    memory = plan.memory_image(case.image)
    producer = {node.name: node.output for node in case.graph.nodes}
    machine = Machine(case.chip)
    for launch in plan.launches:
        result = machine.run(
            memory, launch.program_base, launch.program_stride, order_seed=order_seed, fill_seed=order_seed
        )
        assert result.ok, f"{launch.name}: {result}\n{case}"
        assert not any(any(core.tokens) for core in result.cores), f"{launch.name} leaves tokens behind\n{case}"
        for name in launch.nodes:
            tensor = producer[name]
            got = plan.tensors[tensor].read(memory)
            np.testing.assert_array_equal(got, expected[tensor], err_msg=f"{tensor}\n{case}")
    for segment in plan.segments:
        kept = memory[segment.addr : segment.addr + segment.data.size]
        assert np.array_equal(kept, segment.data.reshape(-1)), f"{segment.label} was overwritten\n{case}"


@pytest.mark.parametrize("order", ["in turn", "at random"])
@pytest.mark.parametrize("seed", SEEDS)
def test_machine_equals_ops(seed: int, order: str) -> None:
    case, plan = planned(seed)
    check(case, plan, None if order == "in turn" else seed)


@pytest.mark.parametrize("chip", CHIPS)
def test_machine_equals_ops_on_the_simulated_chips(chip: str) -> None:
    """The same chips that co-simulation builds, with each kind of network."""
    for seed in range(14):
        case = random_case(seed, chip=CHIPS[chip], budget_macs=30_000)
        check(case, schedule(case.graph, case.chip), None)
