"""Bids of the sparse engine: every weight in a list once, passes as long as lists allow, no zero point in a bias."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from estimator import Coefficients, MemoryTiming
from golden.int8.qnodes import QConv
from rtl.contract.params import ChipParams, CoreParams, default_chip
from scheduler import PlanError
from scheduler.code.sequence import Sequence
from scheduler.engines import bids
from scheduler.engines.sparse import SparsePasses
from scheduler.map.predict import Prediction
from scheduler.map.search import best_mappings
from scheduler.plan.layout import Blocked, Layout, Packed
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.activations import Activations
from scheduler.work.options import SparseOptions
from scheduler.work.sink import MemorySink
from scheduler.work.source import Window
from scheduler.work.task import Task
from scheduler.work.work import Work
from tb.fuzz.chips import FUZZ_CHIPS
from tests.cases import GraphBuilder

CHIP = FUZZ_CHIPS["1x1_sparse"]
CORE = CHIP.cores[0]
"""PEs of 4 positions an item, with lists of 20 weights."""
FULL = CoreParams(64, 64, acc_entries=256, engines=("tap", "sparse"))
"""PEs of 16 positions, with lists of 96."""


def task_of(
    shape: tuple[int, int, int] = (24, 9, 9),
    kernel: tuple[int, int] = (3, 3),
    kept: float = 1.0,
    options: SparseOptions | None = None,
    *,
    folded: bool = False,
    chip: ChipParams = CHIP,
    filters: int = 20,
) -> Task:
    """A convolution of which a share of the weights is not zero."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder(rng, shape, 10**9)
    above, beside = kernel[0] // 2, kernel[1] // 2
    name = builder.conv("in", filters, kernel, padding=(above, beside, above, beside))
    (node,) = builder.nodes
    assert isinstance(node, QConv)
    weight = node.weight.copy()
    weight[weight == 0] = 1
    weight[rng.random(weight.shape) >= kept] = 0
    layout: Layout = Blocked(shape, chip.link_bytes)
    if folded:
        layout = Packed(shape, 8, kernel, (1, 1), node.padding, (1, 1), node.pad_value, fold=True)
    node = replace(node, weight=weight, out_hw=builder.shape(name)[1:])
    sink = MemorySink(Placement(1 << 16, Blocked(builder.shape(name), chip.link_bytes)))
    return Task(node=node, inputs=(Placement(0, layout),), sink=sink, sparse=options or SparseOptions())


def bid(*arguments: Any, chip: ChipParams = CHIP, **more: Any) -> Work:
    """The first bid for such a convolution."""
    return bids(task_of(*arguments, chip=chip, **more), chip.cores[0])[0]


@pytest.mark.parametrize("kept", [0.0, 0.15, 1.0])
@pytest.mark.parametrize(
    ("shape", "kernel", "folded"),
    [((24, 9, 9), (3, 3), False), ((44, 6, 6), (1, 1), False), ((12, 9, 9), (5, 5), False), ((70, 7, 7), (1, 3), False),
     ((3, 9, 9), (3, 3), True), ((24, 3, 3), (3, 3), False)],
)  # fmt: skip
def test_every_weight_is_in_a_list_once(
    shape: tuple[int, int, int], kernel: tuple[int, int], folded: bool, kept: float
) -> None:
    work = bid(shape, kernel, kept, folded=folded)
    passes = work.passes
    assert isinstance(passes, SparsePasses)
    for mapping in best_mappings(work, (0,), CHIP, MemoryTiming(), 5):
        for block in mapping.weight_blocks():
            steps = mapping.placed_steps(block)
            raw = passes.image(block, steps, mapping.weight_order(block), mapping.slice_passes, work.block)
            (filters,) = passes.operands.filters
            wanted = filters(block)
            found = np.full((*wanted.shape[1:], CORE.cols), 99, np.int16)  # [words, Kh, Kw, R, C], no weight yet
            for first, step in steps:
                count = step.words // step.stacked
                items = step.stacked * step.nky * step.nkx
                size = passes.layout.nbytes(items, step.rounds)
                assert items <= CORE.sparse_items
                assert step.rounds <= CORE.sparse_depth
                assert step.passes <= mapping.slice_passes
                assert step.weight_bytes <= mapping.weight_slot_bytes
                for number in range(count):
                    weights, order = passes.layout.unpack(raw[step.weight + number * size :], items, step.rounds)
                    assert sorted(order) == list(range(CORE.cols))
                    places = product(range(step.stacked), range(step.nky), range(step.nkx))
                    for item, (word, ky, kx) in zip(weights, places, strict=True):
                        at = first + step.word + number * step.stacked + word, step.ky + ky, step.kx + kx
                        assert (found[at] == 99).all()
                        found[at] = item
            np.testing.assert_array_equal(found[..., : len(wanted)], wanted.transpose(1, 2, 3, 4, 0))
            assert not found[..., len(wanted) :].any()


def test_passes_are_as_long_as_the_lists_allow() -> None:
    def cut(**more: object) -> tuple[int, int, int]:
        passes = bid(**more).passes
        assert isinstance(passes, SparsePasses)
        return passes.lists.cut

    assert cut(kept=0.2) == (3, 3, 1)  # the whole kernel
    assert cut() == (1, 3, 1)  # dense lists are of 4 weights an item: 5 items fit, a row has 3
    assert cut(shape=(72, 6, 6), kernel=(1, 1), kept=0.2) == (1, 1, 9)  # 9 words as kernel rows
    assert cut(shape=(72, 6, 6), kernel=(1, 1)) == (1, 1, 5)
    assert cut(shape=(16, 6, 6), kernel=(1, 3), kept=0.2) == (1, 3, 2)
    # Dense lists of 20 filters: 23 KB for a kernel, 15 KB for a row of two words; the next pass is loaded meanwhile.
    for weight_bytes, wanted in ((1 << 16, (3, 3, 1)), (1 << 15, (1, 3, 2))):
        assert cut(shape=(128, 6, 6), chip=default_chip(1, replace(FULL, weight_bytes=weight_bytes))) == wanted


def test_bids_with_short_passes_and_with_half_blocks() -> None:
    """Dense lists of 128 channels: 20 filters are in one word of lanes, 160 in two and a half."""
    chip = default_chip(4, FULL, link_bytes=16)

    def offered(**more: object) -> list[tuple[tuple[int, int, int], list[int]]]:
        works = bids(task_of((128, 6, 6), chip=chip, **more), FULL)  # pyright: ignore[reportArgumentType]
        passes = [work.passes for work in works]
        assert all(isinstance(own, SparsePasses) for own in passes)
        return [
            (own.lists.cut, [block.channel for (block,) in work.items])
            for work, own in zip(works, passes, strict=True)
            if isinstance(own, SparsePasses)
        ]

    whole, row = (3, 3, 1), (1, 3, 2)
    # Two passes of a kernel take 47 KB; such of 6 items 31 KB, and leave half of the scratchpad to the layer behind.
    assert offered() == [(whole, [0]), (row, [0])]
    assert offered(kept=0.1) == [(whole, [0])]
    assert offered(filters=160) == [(row, [0, 64, 128]), ((1, 3, 1), [0, 64, 128]), (row, [0, 32, 64, 96, 128])]
    assert [len(channels) for _, channels in offered(filters=256, kept=0.1)] == [4]  # cores share them evenly
    # Of pruned weights short passes balance worse, as is seen where activations are known.
    known = SparseOptions(activations=Activations("mean", {"in": np.array(0.5)}))
    assert offered(kept=0.8, options=known)[1:] == []
    assert len(offered(kept=0.8)) == 2
    assert len(offered(options=SparseOptions(skip="weights", activations=known.activations))) == 2


def test_two_tiles_share_each_load_of_weights() -> None:
    """9 x 9 pixels in three tiles and more, there already: weights that do not stay are loaded for every pair."""
    chip = replace(CHIP, cores=(replace(CORE, weight_bytes=2048, acc_entries=64, act_bytes=16384),))
    task = task_of(chip=chip)
    (source,) = task.inputs
    there = Residence(source.layout, 0, 1, ((0, 0, 9),))
    assert not any(mapping.in_pairs for mapping in best_mappings(bid(chip=chip), (0,), chip, MemoryTiming(), 1000))
    work = bids(replace(task, inputs=(there,)), chip.cores[0])[0]
    found = best_mappings(work, (0,), chip, MemoryTiming(), 1000)
    pairs = [mapping for mapping in found if mapping.in_pairs]
    assert pairs
    for pair in pairs:
        alone = replace(pair, in_pairs=False)
        loads = [len(Sequence(mapping, chip).weights[0].loads) for mapping in (pair, alone)]
        steps = pair.steps_per_block * len(work.items)
        assert loads == [steps * -(-pair.tiles // 2), steps * pair.tiles]
        saved = alone.tiles - -(-pair.tiles // 2)
        both = [Prediction(mapping, chip, MemoryTiming(), Coefficients.load()) for mapping in (pair, alone)]
        fewer = both[1].dram_bytes(work.sink) - both[0].dram_bytes(work.sink)
        assert fewer >= saved * sum(work.passes.set_bytes(block, work.taps) for (block,) in work.items)


def test_sparse_weights_are_short_and_lists_of_zeros_long() -> None:
    dense = 8 * 24 * 9 * 20
    few, all_of_them = bid(kept=0.1), bid(kept=0.1, options=SparseOptions(skip="activations"))
    sizes = [sum(work.passes.set_bytes(block, work.taps) for (block,) in work.items) for work in (few, all_of_them)]
    assert sizes[0] < dense * 0.1
    # Dense lists: a byte a weight and a bit each, and a row of lanes for each of 3 x 3 rows of a kernel, 3 blocks.
    assert sizes[1] == 3 * 9 * (3 * 64 * 9 // 8 + 8)
    assert few.kind != all_of_them.kind


def test_options_are_in_the_setup() -> None:
    work = bid(options=SparseOptions(2, "weights"))
    window = Window((3, 3), (1, 1), (1, 1), 1, 1, (9, 9))
    step = work.chunk_steps(work.items[0][0], 3, 9)[0][1]
    assert work.passes.setup(CORE, window, step) == {"engine": 2, "run_ahead": 2, "skip_acts": 0}
    assert bid().passes.setup(CORE, window, step) == {"engine": 2, "run_ahead": 4, "skip_acts": 1}
    with pytest.raises(PlanError, match="RUN_AHEAD=5: the engine has 5 slots, so at most 4"):
        SparseOptions(5).check(CHIP)
    with pytest.raises(PlanError, match="no sparse engine"):
        SparseOptions(1).check(FUZZ_CHIPS["1x1_8x8"])
    with pytest.raises(PlanError, match="SKIP=none: use both, weights, activations"):
        SparseOptions(skip="none")


def test_sums_that_outgrow_accumulators_without_their_zero_point_are_refused() -> None:
    channels = (1 << 31) // (255 * 127) + 8
    builder = GraphBuilder(np.random.default_rng(0), (8, 1, 1), 10**9)
    builder.conv("in", 8, (1, 1))
    (node,) = builder.nodes
    assert isinstance(node, QConv)
    weight = np.full((8, channels, 1, 1), 127, np.int8)
    node = replace(node, name="long", weight=weight, pad_value=-128, out_hw=(1, 1))
    places = Placement(0, Blocked((channels, 1, 1), 8)), MemorySink(Placement(1 << 20, Blocked((8, 1, 1), 8)))
    task = Task(node=node, inputs=places[:1], sink=places[1])
    with pytest.raises(PlanError, match="layer 'long': without its zero point a sum may reach 21477"):
        bids(task, CORE)
    assert bids(replace(task, node=replace(node, pad_value=-1)), CORE)
