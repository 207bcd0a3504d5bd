"""Multiply-accumulates that are done again, counted from programs, against a count by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming
from rtl.contract.params import CoreParams, default_chip
from scheduler.fuse.forms import Forms
from scheduler.kinds.apart import Apart
from scheduler.kinds.fused import Fused
from scheduler.plan.repeated import repeated_macs
from tests.cases import GraphBuilder
from tests.networks import random_network
from tests.strips import plan_of_strips

CORE = CoreParams(8, 8, act_bytes=4 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64, marks=64)
CHIP = default_chip(4, CORE, link_bytes=8)


def test_rows_at_the_borders_of_four_cores_are_computed_twice() -> None:
    builder = GraphBuilder(np.random.default_rng(1), (16, 40, 8), 10**9)
    first = builder.conv("in", 24, (3, 3), padding=(1, 1, 1, 1))
    last = builder.conv(first, 16, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("chain", last)
    plan = plan_of_strips(Forms(Fused(), graph, CHIP, MemoryTiming()).decider(), longest=True)
    (chain,) = (launch for launch in plan.launches if len(launch.parts) > 1)
    assert len({part.works_on for part in chain.parts}) == 2
    borders, rows_each = 3, 2  # the second layer reads a row beyond its own on either side
    assert repeated_macs(plan) == pytest.approx(graph.nodes[0].macs * borders * rows_each / 40)


def test_operators_alone_do_nothing_twice() -> None:
    for seed in range(4):
        case = random_network(seed, CHIP, apart=True)
        assert repeated_macs(Apart().plan(case.graph, CHIP, MemoryTiming())) == 0


def test_lanes_that_are_no_storage_block_leave_it_unknown() -> None:
    chip = default_chip(1, replace(CORE, cols=16), link_bytes=8)
    case = random_network(1, chip, apart=True)
    assert repeated_macs(Apart().plan(case.graph, chip, MemoryTiming())) is None
