"""The search for what stays: against all choices there are, and what it says if nothing fits."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams, CoreParams, default_chip
from scheduler import PlanError
from scheduler.fuse.operations import Tensors, operations, word_channels
from scheduler.fuse.search import LAUNCH_CYCLES, Search
from scheduler.fuse.stay import WHOLE, Grid, Stay, Stays, row_parts
from scheduler.group import pool_candidates
from scheduler.kinds.fused import Fused
from scheduler.place import aliases, place_tensors
from tests.cases import GraphBuilder
from tests.networks import random_network

CHIP = default_chip(2, CoreParams(8, 8, act_bytes=4 * 1024, weight_bytes=16 * 1024, acc_entries=128), link_bytes=8)
SLOW = MemoryTiming(bytes_per_cycle=1)


NO_CHAINS = -1.0


def search_of(graph: QGraph, chip: ChipParams, recomputed: float = NO_CHAINS) -> Search:
    pools = {node.name: pool for node, pool in pool_candidates(graph)}
    parents = aliases(graph, word_channels(chip))
    steps = operations(graph, pools, parents)
    placements, _ = place_tensors(graph, chip, pools, parents)
    return Search(Stays(chip, steps, Tensors(graph, steps, parents), placements), SLOW, 0.25, recomputed)


def every_cost(search: Search, capacity: int) -> Iterator[float]:
    """Of all choices of splits and stays that fit, however they were made."""
    stays, tensors, steps = search.stays, search.tensors, search.stays.steps
    roots = list(dict.fromkeys(tensors.root(step.output) for step in steps))
    options: list[list[Stay]] = [stays.options(root) for root in roots]
    grids: list[list[Grid]] = [stays.grids(number) for number in range(len(steps))]
    for stay in product(*options):
        where = dict(zip(roots, stay, strict=True))
        for grid in product(*grids):
            total = 0.0
            try:
                for number, step in enumerate(steps):
                    read = {name: where.get(tensors.root(name)) for name in step.reads}
                    if any(place not in (None, WHOLE, row_parts(grid[number])) for place in read.values()):
                        raise PlanError("split otherwise")
                    alive = {
                        root: place
                        for root, place in where.items()
                        if place and tensors.first[root] <= number <= tensors.last[root]
                    }
                    once = stays.in_place(number, alive, grid[number])
                    left = capacity - sum(stays.nbytes(root, alive[root]) for root in alive if root != once)
                    if left < 0:
                        raise PlanError("no room")
                    stay_of = where[tensors.root(step.output)]
                    cost = search.price(number, grid[number], read, stay_of, left if alive else None).cost
                    before = any(tensors.first[root] < number for root in alive)
                    total += cost + (0 if before else LAUNCH_CYCLES)
            except PlanError:
                continue
            yield total


@pytest.mark.parametrize("seed", range(6))
def test_no_choice_costs_less_than_what_is_found(seed: int) -> None:
    search = search_of(random_network(seed, CHIP, blocks=2).graph, CHIP)
    capacity = CHIP.cores[0].act_bytes
    found = search.best(0, len(search.stays.steps), capacity)
    assert sum(choice.cost for choice in found) == pytest.approx(min(every_cost(search, capacity)))


def test_strips_are_taken_only_where_they_cost_less() -> None:
    """Of a chain whose middle does not fit: with them less goes to DRAM, and without recomputing they are not taken."""
    builder = GraphBuilder(np.random.default_rng(0), (8, 24, 12), 10**9)
    wide = builder.conv("in", 48, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("wide", builder.conv(wide, 8, (3, 3), padding=(1, 1, 1, 1)))
    chip = replace(CHIP, cores=(replace(CHIP.cores[0], act_bytes=8 * 1024),) * 2)
    costs = []
    for recomputed in (NO_CHAINS, 0.0, 1.0):
        search = search_of(graph, chip, recomputed)
        choices = search.best(0, 2, 8 * 1024)
        assert all((choice.chain is not None) == (recomputed == 1.0) for choice in choices)
        costs.append(sum(choice.cost for choice in choices))
    assert costs[0] == costs[1] > costs[2]


def test_more_scratchpad_never_costs_more() -> None:
    search = search_of(random_network(3, CHIP).graph, CHIP)
    costs = [
        sum(choice.cost for choice in search.best(0, len(search.stays.steps), capacity))
        for capacity in (2048, 3072, 4096)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_a_layer_that_fits_in_no_way_is_named() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (8, 4, 600), 10**9)
    graph = builder.graph("wide", builder.conv("in", 8, (3, 3), padding=(1, 1, 1, 1)))
    chip = replace(CHIP, cores=(replace(CHIP.cores[0], weight_bytes=1024, rows=64, cols=64),) * 2)
    with pytest.raises(
        PlanError, match=r"'conv0' does not fit: the smallest tile .* takes 7680, .* 4032; raise core.act_bytes"
    ):
        Fused().plan(graph, chip, SLOW)


def test_unlike_cores_are_refused() -> None:
    graph = random_network(0, CHIP).graph
    chip = replace(CHIP, cores=(CHIP.cores[0], replace(CHIP.cores[0], rows=16)))
    with pytest.raises(PlanError, match="cores that are all alike; use SCHEDULE=layers"):
        Fused().plan(graph, chip, SLOW)


def test_likely_splits_cost_as_little_as_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """On sixteen cores: fewer splits, and choices that cost at most a hundredth more."""
    chip = default_chip(16, CHIP.cores[0], link_bytes=8, tokens=128)
    graph = random_network(1, chip, blocks=2).graph
    likely, every = search_of(graph, chip), search_of(graph, chip)
    monkeypatch.setattr(every.stays, "likely_grids", every.stays.grids)
    monkeypatch.setattr(every.stays, "likely_options", every.stays.options)
    numbers = range(len(likely.stays.steps))
    assert all(set(likely.stays.likely_grids(number)) <= set(likely.stays.grids(number)) for number in numbers)
    kinds = likely.stays.likely_grids, likely.stays.grids
    few, many = (sum(len(splits(number)) for number in numbers) for splits in kinds)
    assert few < many
    choices = (search.best(0, len(numbers), chip.cores[0].act_bytes) for search in (likely, every))
    found, best = (sum(choice.cost for choice in some) for some in choices)
    assert best <= found <= 1.01 * best


def test_operations_alike_are_priced_once() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (16, 6, 6), 10**9)
    at = "in"
    for _ in range(6):
        at = builder.conv(at, 16, (3, 3), padding=(1, 1, 1, 1))
    search = search_of(builder.graph("chain", at), CHIP)
    search.best(0, 6, CHIP.cores[0].act_bytes)
    kinds = {key[0] for key in search.memo.prices if isinstance(key, tuple)}
    assert {kind for kind in kinds if isinstance(kind, int)} == {0, 1, 2}  # first, between, last
