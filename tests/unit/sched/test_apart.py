"""Apart: a launch an operator, all tensors in DRAM."""

from __future__ import annotations

import pytest

from golden.int8.qnodes import QConcat
from scheduler import PlanError
from scheduler.kinds.apart import Apart
from tests.networks import random_network
from tests.unit.sched.test_fused import CHIPS, MEMORY, run


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chip", CHIPS)
def test_every_operator_of_a_random_network_has_a_launch_and_is_computed_right(chip: str, seed: int) -> None:
    case = random_network(seed, CHIPS[chip], apart=True)
    plan = Apart().plan(case.graph, case.chip, MEMORY)
    assert set(plan.tensors) == set(case.graph.tensors)
    for launch in plan.launches:
        assert len([node for node in case.graph.nodes if node.name in launch.nodes and node.op != "concat"]) <= 1
    launches = len([node for node in case.graph.nodes if not isinstance(node, QConcat)])
    assert len(plan.launches) >= launches
    run(case, plan, 1)


def test_a_graph_with_a_sum_inside_a_convolution_is_refused() -> None:
    case = random_network(1, CHIPS["one core"])
    (first, *_) = (node for node in case.graph.nodes if getattr(node, "residual", None))
    with pytest.raises(PlanError, match=rf"node '{first.name}' adds .* quantise with fold_sums=False"):
        Apart().plan(case.graph, case.chip, MEMORY)
