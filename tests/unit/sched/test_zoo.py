"""Whole networks at their full size: every launch, run by the machine, computes what golden.int8.ops does."""

from functools import lru_cache

import numpy as np
import pytest

from golden import zoo
from golden.int8 import ops
from golden.int8.pools import pools_before_concats
from golden.int8.quant import quantize
from golden.machine import Machine
from golden.net.inputs import load_image
from golden.net.weights import seeded
from rtl.contract.params import default_chip
from scheduler import Plan, schedule
from tests.unit.sched.replay import Replay

QUICK = [("lenet5", 1), ("lenet5", 4), ("squeezenet1_1", 4), ("mobilenet_v2", 4), ("resnet18", 4)]
SLOW = [(name, cores) for name in zoo.ZOO for cores in (1, 4, 16) if (name, cores) not in QUICK]
"""Together some minutes, so not part of the regression: `pytest -m slow`."""
SLOW_MARKS = (pytest.mark.slow, pytest.mark.timeout(3600))
"""The large ones take minutes each on a machine with other work."""


@lru_cache(maxsize=len(QUICK))
def planned(name: str, cores: int) -> tuple[Plan, np.ndarray]:
    """The plan of a network, and its picture as the plan's integers."""
    float_graph = zoo.load(name)
    picture = load_image(None, float_graph.input_shape)
    graph = pools_before_concats(quantize(float_graph, seeded(float_graph, 1), picture))
    return schedule(graph, default_chip(cores)), graph.tensors[graph.input].quantize(picture)


@pytest.mark.parametrize(
    ("name", "cores"), [*QUICK, *(pytest.param(*case, marks=SLOW_MARKS) for case in SLOW)]
)  # fmt: skip
def test_the_programs_of_a_network_compute_what_its_mathematics_says(name: str, cores: int) -> None:
    plan, image = planned(name, cores)
    graph, expected = plan.graph, ops.run(plan.graph, image)
    assert sorted(name for launch in plan.launches for name in launch.nodes) == sorted(n.name for n in graph.nodes)
    assert set(graph.outputs) <= plan.tensors.keys()
    memory, machine = plan.memory_image(image), Machine(plan.chip)
    for launch in plan.launches:
        result = machine.run(memory, launch.program_base, launch.program_stride)
        assert result.ok, f"{launch.name}: {result}"
        for tensor in plan.written(launch):
            np.testing.assert_array_equal(plan.tensors[tensor].read(memory), expected[tensor], err_msg=launch.name)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_no_order_of_events_breaks_the_programs_of_a_network(name: str) -> None:
    plan, _ = planned(name, 4)
    for launch in plan.launches:
        Replay(launch, plan.chip).run()
