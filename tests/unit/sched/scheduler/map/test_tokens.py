"""Token counters of a launch: that none has two meanings, that they fit the chip, and which memory node serves whom."""

import sys
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8.qnodes import QConv
from rtl.contract.params import CoreParams, default_chip
from scheduler.engines import bids
from scheduler.map.budget import Budget
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.map.tokens import TokenMap
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.work.sink import MemorySink
from scheduler.work.task import Task
from tests.cases import GraphBuilder

CHIP = default_chip(16, CoreParams(8, 8), tokens=128)


@cache
def mappings(residual: bool) -> list[Mapping]:
    """A mapping for every grid of cores that a convolution can have on the chip."""
    builder = GraphBuilder(np.random.default_rng(0), (64, 12, 12), 10**9)
    name = builder.conv("in", 64, (1, 1), residual="in" if residual else None)
    node = builder.nodes[-1]
    assert isinstance(node, QConv)
    source, output = (
        Placement(at, Blocked(builder.shape(tensor), CHIP.link_bytes)) for at, tensor in ((0, "in"), (1 << 20, name))
    )
    task = Task(node=node, inputs=(source,), residual=source if residual else None, sink=MemorySink(output))
    (work,) = bids(task, CHIP.cores[0])
    found = best_mappings(work, tuple(range(CHIP.n_cores)), CHIP, MemoryTiming(), sys.maxsize)
    return list({(mapping.g_oc, mapping.g_row): mapping for mapping in found}.values())


@pytest.mark.parametrize("residual", [False, True])
def test_every_counter_has_one_meaning(residual: bool) -> None:
    tokens = TokenMap(3, 4, 2, {}, {}, False, False, residual, {}, False)
    ranges = [
        (tokens.acc_ready, 1), (tokens.acc_free, 1), (tokens.param_ready, 1), (tokens.pace, 1),
        (tokens.act_ready, 3), (tokens.weight_ready, 3), (tokens.act_free, 4), (tokens.weight_free, 2),
        (tokens.param_free, 2),
    ]  # fmt: skip
    if residual:
        ranges += [(tokens.residual_weights, 1), (tokens.residual_free, 1), (tokens.residual_ready, 3)]
    assert [token for first, count in ranges for token in range(first, first + count)] == list(range(tokens.end))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("tokens", [16, 32, 64])
def test_as_many_memory_nodes_are_used_as_counters_allow(tokens: int, residual: bool) -> None:
    chip, counts = replace(CHIP, tokens=tokens), set()
    for mapping in mappings(residual):
        found = TokenMap.of(replace(mapping, budget=Budget.whole(chip.cores[0], chip)), chip)
        assert (found.end > found.residual_weights) is residual
        assert found.end <= tokens or found.memories == 1
        assert found.memories == len(chip.memory_nodes) or replace(found, memories=found.memories + 1).end > tokens
        counts.add(found.memories)
    assert counts == {8} if tokens == 64 else len(counts) > 1


def test_leaders_of_weights_compute_them_and_take_the_rows_in_turn() -> None:
    for mapping in mappings(False):
        leaders = [mapping.cores.index(TokenMap.weight_leader(mapping, o)) for o in range(mapping.g_oc)]
        assert [leader % mapping.g_oc for leader in leaders] == list(range(mapping.g_oc))
        assert len({leader // mapping.g_oc for leader in leaders}) == min(mapping.g_oc, mapping.g_row)


@pytest.mark.parametrize("residual", [False, True])
def test_loads_are_spread_evenly_over_the_memory_nodes(residual: bool) -> None:
    """Each leader keeps to a node where there are enough of them, and to its home if all cores lead."""
    for mapping in mappings(residual):
        tokens = TokenMap.of(mapping, CHIP)
        rings = [(tokens.act_base, tokens.act_memory), (tokens.weight_base, tokens.weight_memory)]
        if residual:
            rings.append((tokens.residual_base, tokens.residual_memory))
        for base, memory in rings:
            loads = Counter(memory(leader, number) for leader in base for number in range(tokens.memories))
            assert loads.keys() == set(range(tokens.memories))
            assert len(set(loads.values())) == 1
            if len(base) % tokens.memories == 0:
                assert all(len({memory(leader, number) for number in range(8)}) == 1 for leader in base)
            else:
                assert all((memory(leader, 5) - memory(leader, 4)) % tokens.memories == 1 for leader in base)
        if len(mapping.cores) == CHIP.n_cores:
            assert tuple(tokens.residual_base.values()) == CHIP.home_memory


def test_few_leaders_of_weights_may_keep_to_a_node_each() -> None:
    for mapping in mappings(False):
        tokens = TokenMap.of(replace(mapping, one_by_one=True), CHIP)
        used = [{tokens.weight_memory(leader, number) for number in range(8)} for leader in tokens.weight_base]
        if mapping.g_oc < tokens.memories:
            assert all(len(nodes) == 1 for nodes in used)
            assert len(set.union(*used)) == mapping.g_oc
        elif mapping.g_oc % tokens.memories:
            assert all(len(nodes) == tokens.memories for nodes in used)
