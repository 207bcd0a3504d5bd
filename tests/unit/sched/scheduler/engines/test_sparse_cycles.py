"""Cycles of sparse passes: products against a count of the layer, and the way of the cycles to the estimator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimator import MemoryTiming
from estimator.engines.sparse.pairs import pairs
from golden.int8.qnodes import QConv
from rtl.contract.codec import decode, opcode_of
from rtl.contract.isa import Engine, Opcode, Unit
from scheduler.engines import bids
from scheduler.engines.sparse import SparsePasses
from scheduler.engines.sparse_lists import listed_passes
from scheduler.engines.sparse_reads import reads_of
from scheduler.plan.layout import Blocked, Layout, Packed
from scheduler.plan.program import Placement
from scheduler.schedule import schedule, schedule_kind
from scheduler.work.activations import ACTIVATIONS, Activations, activations_of
from scheduler.work.options import SparseOptions
from scheduler.work.sink import MemorySink
from scheduler.work.source import FlatSource
from scheduler.work.task import Task
from tb.fuzz.chips import FUZZ_CHIPS
from tests.cases import GraphBuilder

CHIP = FUZZ_CHIPS["1x1_sparse"]
CORE = CHIP.cores[0]


def _bid(
    node: QConv, shape: tuple[int, int, int], out: tuple[int, int, int], packed: str, known: np.ndarray | None
) -> SparsePasses:
    layout: Layout = Blocked(shape, CHIP.link_bytes)
    if packed:
        layout = Packed(
            shape, 8, node.weight.shape[2:], node.stride, node.padding, node.dilation, node.pad_value,
            fold=packed == "fold",
        )  # fmt: skip
    activations = None if known is None else Activations("masks", {node.input: known})
    sink = MemorySink(Placement(1 << 16, Blocked(out, CHIP.link_bytes)))
    options = SparseOptions(activations=activations)
    work = bids(Task(node=node, inputs=(Placement(0, layout),), sink=sink, sparse=options), CORE)[0]
    assert isinstance(work.passes, SparsePasses)
    return work.passes


CASES = {
    "3x3": ((24, 9, 9), (3, 3), {}, ""),
    "stride and dilation": ((24, 13, 11), (3, 3), {"stride": (2, 2), "dilation": (2, 2)}, ""),
    "kernel in parts": ((12, 9, 9), (5, 5), {}, ""),
    "words stacked": ((44, 6, 6), (1, 1), {}, ""),
    "packed rows": ((3, 9, 9), (3, 3), {}, "rows"),
    "packed windows": ((3, 9, 9), (3, 3), {"stride": (2, 2)}, "fold"),
    "flat": ((24, 3, 3), (3, 3), {"padding": (0, 0, 0, 0)}, ""),
}


def _layer(case: str) -> tuple[QConv, np.ndarray, tuple[int, int, int]]:
    """A convolution with zeros, which of its inputs are not zero, and the shape of its output."""
    shape, kernel, more, _ = CASES[case]
    rng = np.random.default_rng(len(case))
    builder = GraphBuilder(rng, shape, 10**9)
    above, beside = kernel[0] // 2, kernel[1] // 2
    name = builder.conv("in", 20, kernel, **{"padding": (above, beside, above, beside), **more})
    (node,) = builder.nodes
    assert isinstance(node, QConv)
    weight = np.where(rng.random(node.weight.shape) < 0.3, node.weight | 1, 0).astype(np.int8)
    out = builder.shape(name)
    return replace(node, weight=weight, out_hw=out[1:]), rng.random(shape) < 0.4, out


@pytest.mark.parametrize("case", CASES)
def test_passes_have_the_products_of_the_layer(case: str) -> None:
    """Counted over all pixels: each weight that is not zero meets each activation that it reads."""
    shape, packed = CASES[case][0], CASES[case][3]
    node, live, out = _layer(case)
    top, left, bottom, right = node.padding
    padded = np.pad(live, ((0, 0), (top, bottom), (left, right)))
    expected = 0
    for ky, kx in np.ndindex(*node.weight.shape[2:]):
        y, x = ky * node.dilation[0], kx * node.dilation[1]
        read = padded[:, y :: node.stride[0], x :: node.stride[1]][:, : out[1], : out[2]]
        expected += int(((node.weight[:, :, ky, kx] != 0).sum(axis=0) * read.sum(axis=(1, 2))).sum())
    passes = _bid(node, shape, out, packed, live[None])
    source = passes.operands.source
    reads = reads_of(source, shape, (1, 1) if isinstance(source, FlatSource) else out[1:], live[None], CORE.rows)
    found = 0
    for alike in listed_passes(passes.operands, passes.lists, CORE):
        count = len(alike.met)
        pixels = np.tile(np.arange(reads.out[0] * reads.out[1]), (count, 1))
        found += int(pairs(alike.met, reads.find(np.zeros(count, int), pixels, alike.places)).sum())
        numbers = tuple(alike.numbers.T)
        assert (alike.met.sum(axis=(1, 3), dtype=int).max(axis=(1, 2)) == passes.lists.rounds[numbers]).all()
        assert (passes.lists.pixel_cycles[numbers] >= alike.met.shape[1] - 1e-9).all(), "an item takes a cycle"
    assert found == expected


def test_more_zeros_take_fewer_cycles_and_none_known_leave_it_open() -> None:
    node, live, out = _layer("3x3")
    shape = live.shape
    cycles = [
        _bid(node, shape, out, "", known).lists.pixel_cycles.sum()
        for known in (np.zeros((1, *shape), bool), live[None], np.array(0.7), np.ones((1, *shape), bool), None)
    ]
    assert cycles[4] == 0
    assert cycles[0] < cycles[1] < cycles[2] < cycles[3]


def test_activations_say_as_much_as_is_asked_for() -> None:
    builder = GraphBuilder(np.random.default_rng(0), (8, 6, 6), 10**9)
    graph = builder.graph("one", builder.conv("in", 16, (3, 3)))
    (node,) = graph.nodes
    maps = [np.random.default_rng(seed).integers(-3, 3, (8, 6, 6), np.int8) for seed in range(2)]
    tensors = {f"{node.input}@{picture}": value for picture, value in enumerate(maps, 1)}
    masks, channels, mean = (activations_of(graph, tensors, detail, 2).live[node.input] for detail in ACTIVATIONS)
    np.testing.assert_array_equal(masks, np.stack(maps) != node.pad_value)
    np.testing.assert_allclose(channels, masks.mean(axis=(0, 2, 3)))
    assert mean == pytest.approx(channels.mean())


def test_computes_have_the_cycles_of_the_rows_that_they_cover() -> None:
    """Of a map that is empty below; of densities alone all rows have the same."""
    builder = GraphBuilder(np.random.default_rng(0), (16, 30, 12), 10**9)
    graph = builder.graph("one", builder.conv("in", 8, (3, 3)))
    live = np.broadcast_to(np.arange(30)[:, None] < 15, (16, 30, 12))
    maps = {node.input: live[None] for node in graph.nodes}
    found = []
    for known in (Activations("masks", maps), Activations("mean", {name: np.array(0.5) for name in maps})):
        plan = schedule(graph, CHIP, MemoryTiming(), schedule_kind("layers", sparse=SparseOptions(activations=known)))
        (launch,) = plan.launches
        found.append(launch.rates[0])
    by_rows, by_mean = found
    assert min(by_rows) == CORE.collector_groups, "there is nothing to multiply"
    assert max(by_rows) > 2 * min(by_rows)
    steps = len(set(by_mean))
    assert by_mean == by_mean[:steps] * (len(by_mean) // steps)


@pytest.mark.parametrize("kind", ["layers", "fused", "serial"])
def test_every_sparse_compute_has_its_rate(kind: str) -> None:
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng, (8, 9, 9), 10**9)
    graph = builder.graph("two", builder.conv(builder.conv("in", 24, (3, 3)), 12, (1, 1)))
    known = Activations("mean", {node.input: np.array(0.5) for node in graph.nodes})
    name, overlap = ("layers", False) if kind == "serial" else (kind, True)
    plans = schedule_kind(name, overlap=overlap, sparse=SparseOptions(activations=known))
    for launch in schedule(graph, CHIP, MemoryTiming(), plans).launches:
        engine, count = None, 0
        for word in launch.streams[0, Unit.COMPUTE]:
            if opcode_of(word) == Opcode.SETUP:
                engine = decode(word)[1]["engine"]
            count += opcode_of(word) == Opcode.COMPUTE and engine == Engine.SPARSE
        assert count == len(launch.rates[0]) > 0
        assert min(launch.rates[0]) > 0
