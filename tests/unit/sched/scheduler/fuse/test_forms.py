"""Which pools are joined with the convolution in front of them."""

from __future__ import annotations

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import CoreParams, default_chip
from scheduler.fuse.decide import Decider
from scheduler.fuse.forms import Forms
from scheduler.group import pool_candidates
from scheduler.kinds.fused import Fused
from scheduler.plan.repeated import repeated_macs
from tests.cases import GraphBuilder

CORE = CoreParams(8, 8, act_bytes=32 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIP = default_chip(4, CORE, link_bytes=8, tokens=128)
SLOW = MemoryTiming(bytes_per_cycle=1)


def three_pools() -> QGraph:
    """Convolutions with pools whose windows overlap; few accumulators, so that tiles are few rows."""
    builder = GraphBuilder(np.random.default_rng(1), (24, 52, 52), 10**9)
    at = "in"
    for _ in range(3):
        at = builder.conv(at, 24, (3, 3), padding=(1, 1, 1, 1))
        at = builder.pool("maxpool", at, (3, 3), (2, 2), (0, 0, 0, 0))
    return builder.graph("pooled", builder.conv(at, 16, (1, 1)))


def share(decider: Decider) -> float:
    """Of the network's multiply-accumulates, those that are done again."""
    return (repeated_macs(decider.plan) or 0.0) / sum(node.macs for node in decider.form.graph.nodes)


def test_pools_are_joined_one_by_one_where_the_whole_plan_gets_cheaper_and_little_is_done_again() -> None:
    graph = three_pools()
    forms = Forms(Fused(repeated=1.0), graph, CHIP, SLOW)
    free = forms.settled()
    pools = {node.name: pool for node, pool in pool_candidates(graph)}
    assert len(pools) == 3
    for name in list(pools)[1:]:
        other = forms.decider(
            {some: pool for some, pool in pools.items() if (some in free.form.pools) != (some == name)},
            free.form.input_layout,
        )
        assert other.predicted >= free.predicted or other.total >= free.total
    assert free.total < forms.decider().total  # each pool for itself had decided otherwise
    assert share(free) > 0.03
    frugal = Forms(Fused(repeated=0.03), graph, CHIP, SLOW).settled()
    assert share(frugal) <= 0.03
    assert free.total < frugal.total <= 1.03 * free.total
    dear = Forms(Fused(repeated=0.01), graph, CHIP, SLOW).settled()  # would cost more than 1 %
    assert frugal.total > 1.01 * free.total
    assert dear.form.pools == free.form.pools


@pytest.mark.parametrize(("slower", "taken"), [(0.0, True), (0.002, True), (0.003, False)])
def test_a_way_to_store_the_input_that_costs_less_is_taken_if_it_takes_no_longer(
    monkeypatch: pytest.MonkeyPatch, slower: float, taken: bool
) -> None:
    builder = GraphBuilder(np.random.default_rng(3), (3, 20, 20), 10**9)
    graph = builder.graph("shallow", builder.conv("in", 16, (7, 7), stride=(2, 2)))
    forms = Forms(Fused(), graph, CHIP, SLOW)
    likely = forms.decider().form.input_layout
    monkeypatch.setattr(Decider, "total", property(lambda decider: 9.0 - (decider.form.input_layout != likely)))
    cycles = {True: 1000.0, False: 1000.0 * (1 + slower)}
    monkeypatch.setattr(Decider, "cycles", property(lambda decider: cycles[decider.form.input_layout == likely]))
    monkeypatch.setattr(Decider, "predicted", 9.0)
    assert (forms.settled().form.input_layout != likely) == taken
