"""Outputs in the place of a residual: where they may be, and where the residual may still be on its way."""

import numpy as np

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import CoreParams, default_chip
from scheduler.fuse.operations import Tensors, operations, word_channels
from scheduler.fuse.stay import WHOLE, Grid, Stays
from scheduler.group import pool_candidates
from scheduler.kinds.fused import Fused
from scheduler.place import aliases, place_tensors
from tests.cases import GraphBuilder
from tests.networks import random_network
from tests.unit.sched.replay import Replay

SMALL = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIP = default_chip(2, SMALL, link_bytes=8)
MEMORY = MemoryTiming(bytes_per_cycle=2)


def stays_of(graph: QGraph) -> Stays:
    pools = {node.name: pool for node, pool in pool_candidates(graph)}
    parents = aliases(graph, word_channels(CHIP))
    steps = operations(graph, pools, parents)
    placements, _ = place_tensors(graph, CHIP, pools, parents)
    return Stays(CHIP, steps, Tensors(graph, steps, parents), placements)


def in_place(adds: str, stay: Grid = WHOLE, grid: Grid = (1, 2)) -> str | None:
    """Of three convolutions, the tensor in whose place the last puts its output; it adds that of the first or second.

    What is not added is its input. All stay alike; the last has this split.
    """
    builder = GraphBuilder(np.random.default_rng(1), (8, 12, 12), 10**9)
    first = builder.conv("in", 16, (1, 1))
    second = builder.conv(first, 16, (1, 1))
    read, added = (second, first) if adds == "first" else (first, second)
    last = builder.conv(read, 16, (1, 1), residual=added)
    behind = builder.conv(last, 8, (1, 1))
    stays = stays_of(builder.graph("chain", behind))
    place = stays.in_place(2, dict.fromkeys((first, second, last), stay), grid)
    assert place in (None, added)
    return place


def test_an_output_takes_the_place_of_a_residual_that_is_two_parts_old() -> None:
    assert in_place("first") is not None


def test_an_output_does_not_take_the_place_of_what_the_part_in_front_has_stored() -> None:
    assert in_place("second") is None


def test_an_output_takes_the_place_of_what_the_part_in_front_has_stored_where_each_core_keeps_its_own_rows() -> None:
    assert in_place("second", stay=(1, 2), grid=(1, 2)) is not None
    assert in_place("second", stay=(1, 2), grid=(2, 1)) is None  # both cores store to both


def test_a_network_that_adds_what_the_part_in_front_has_stored_is_in_order() -> None:
    """If its output took that place, data from both cores would be on their way there at once."""
    case = random_network(18, CHIP)
    for launch in Fused().plan(case.graph, CHIP, MEMORY).launches:
        Replay(launch, CHIP).run()
