"""The least time of a plan: what each launch computes and moves at least."""

from math import prod

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv
from rtl.contract.params import default_chip
from scheduler import schedule
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from tb.fuzz.chips import FUZZ_CHIPS
from tb.run.bound import lower_bound_cycles
from tb.run.workload import load_workload, select_layers
from tests.cases import GraphBuilder, pruned, random_case


def bound(graph: QGraph, memory: MemoryTiming | None = None, kind: ScheduleKind | None = None) -> float:
    memory = memory or MemoryTiming()
    return lower_bound_cycles(schedule(graph, default_chip(4), memory, kind), memory)


def test_bound_counts_convolutions_and_fully_connected_layers_alone() -> None:
    lenet5 = load_workload("lenet5")
    parts = (select_layers(lenet5.graph, name) for name in ("conv2", "fc3"))
    conv2, fc3 = (bound(part) for part in parts)
    assert (conv2, fc3) == (16 * 10 * 10 * 6 * 25 / 1024, (84 * 10 + 84 + 10) / 32)
    assert bound(lenet5.graph) > conv2 + fc3
    assert bound(select_layers(lenet5.graph, "pool1")) == 0


@pytest.mark.parametrize(
    ("channels", "filters", "rate", "cycles"),
    [
        (20, 10, 2, (200 + 320 + 160) / 4),
        (20, 10, None, (200 + 320 + 160) / 32),
        (20, 10, 32, (200 + 320) / 32),  # the ports read no faster, however little is written
        (20, 10, 64, (200 + 320) / 32),
        (2, 20, 32, 320 / 32),
    ],
)
def test_bound_is_what_the_ports_carry(channels: int, filters: int, rate: float | None, cycles: float) -> None:
    """Of a layer with few MACs, on two memory nodes whose ports carry 16 bytes each way."""
    builder = GraphBuilder(np.random.default_rng(0), (channels, 4, 4), 10**6)
    graph = builder.graph("net", builder.conv("in", filters, (1, 1)))
    assert bound(graph, MemoryTiming(bytes_per_cycle=rate)) == cycles


def test_bound_leaves_out_what_stays_on_the_chip() -> None:
    """Two layers in a launch: their weights, the input and the output cross the memory nodes."""
    builder = GraphBuilder(np.random.default_rng(0), (32, 8, 8), 10**6)
    between = builder.conv("in", 48, (1, 1))
    graph = builder.graph("net", builder.conv(between, 16, (1, 1)))
    slow = MemoryTiming(bytes_per_cycle=1)
    moved = 32 * 48 + 48 * 16 + (32 + 16) * 64
    assert bound(graph, slow, Fused()) == moved / 2
    assert bound(graph, slow) == (moved + 2 * 48 * 64) / 2


def test_bound_of_a_sparse_engine_counts_items_and_weights_that_are_not_zero() -> None:
    """Its items are of 8 x 8 products; its 16 multipliers bound nothing, for products may be left out."""
    chip = FUZZ_CHIPS["1x1_sparse"]
    case = pruned(random_case(1, kind="conv1x1", chip=chip, budget_macs=30_000), 0.1)
    plan = schedule(case.graph, chip)
    (node,) = case.graph.nodes
    assert isinstance(node, QConv)
    assert lower_bound_cycles(plan, MemoryTiming(bytes_per_cycle=16)) >= node.macs / 64
    sizes = [prod(case.graph.tensors[name].shape) for name in (node.input, node.output)]
    moved = np.count_nonzero(node.weight) + sum(sizes)
    assert lower_bound_cycles(plan, MemoryTiming(bytes_per_cycle=0.5)) == moved / 0.5
