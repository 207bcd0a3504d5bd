"""`SparseCollector` against what it says: groups in turn, sums where the lanes name them, an update behind the last."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.utils import exact_log2

from rtl.contract.params import CoreParams
from rtl.engines.sparse_collector import SparseCollector
from rtl.engines.sparse_grid import update_bits
from tests.unit.rtl.drivers import simulate

SHAPES = {"8 groups": (8, 16, 2, 16, 8), "2 groups": (8, 8, 4, 2, 4)}
"""Rows, cols, lanes, columns, groups at most."""
PIXELS = 40


@pytest.mark.parametrize("rate", [1.0, 0.4])
@pytest.mark.parametrize("shape", SHAPES)
def test_updates_hold_each_sum_in_its_lane(shape: str, rate: float) -> None:
    """Of both signs; lanes change with every pixel, and sums are noise unless they are taken."""
    rows, cols, lanes, columns, most = SHAPES[shape]
    core = CoreParams(
        rows, cols, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns, sparse_groups=most
    )
    dut, rng = SparseCollector(core=core), random.Random(f"{shape} {rate}")
    groups, bits = core.collector_groups, update_bits(core)
    of_group = cols // groups
    tag_bits = len(dut.tag.as_value())

    async def bench(ctx: Any) -> None:
        update: tuple[list[int], int] | None = None
        pixels = 0
        while pixels < PIXELS:
            order, tag = rng.sample(range(cols), cols), rng.getrandbits(tag_bits)
            ctx.set(dut.lanes, sum(lane << exact_log2(cols) * slot for slot, lane in enumerate(order)))
            ctx.set(dut.tags.valid, 1)
            ctx.set(dut.tags.payload.as_value(), tag)
            values, group = [0] * cols, 0
            while group < groups:
                there = rng.getrandbits(groups) if rng.random() >= rate else rng.getrandbits(groups) | 1 << group
                sums = [rng.choice([rng.getrandbits(bits), 1 << bits - 1, 1]) for _ in range(of_group)]
                ctx.set(dut.full, there)
                ctx.set(dut.sums, sum(value << bits * place for place, value in enumerate(sums)))
                taken = bool(there >> group & 1)
                assert ctx.get(dut.group) == group
                assert ctx.get(dut.collect) == taken
                assert ctx.get(dut.tags.ready) == (taken and group == groups - 1)
                assert ctx.get(dut.valid) == (update is not None)
                if update:
                    data, told = update
                    assert ctx.get(dut.data) == sum((value % (1 << 32)) << 32 * lane for lane, value in enumerate(data))
                    assert ctx.get(dut.tag.as_value()) == told
                    update = None
                if taken:
                    for place, value in enumerate(sums):
                        signed = value - (1 << bits) * (value >> bits - 1)
                        values[order[group * of_group + place]] = signed
                    group += 1
                await ctx.tick()
            update = (values, tag)
            pixels += 1

    simulate(dut, bench)
