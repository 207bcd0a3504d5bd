"""Two layers in one launch, written by hand: the tensor between them stays in the scratchpads."""

from __future__ import annotations

import numpy as np

from estimator import MemoryTiming
from golden.int8.qnodes import QConv, QPool
from rtl.contract.params import ChipParams
from scheduler.code.draft import Draft
from scheduler.engines import bids
from scheduler.map.budget import BOTH_BANKS, Barriers, Budget, Range
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.plan.bump import Bump
from scheduler.plan.layout import Blocked, even_split, round_up
from scheduler.plan.program import FETCH_SLACK, Part, Placement, Plan, Segment
from scheduler.plan.residence import Residence
from scheduler.work.sink import MemorySink, ScratchpadSink
from scheduler.work.task import Task
from tests.cases import Case, GraphBuilder, random_image

__all__ = ["resident_case", "resident_plan"]

COUNT = 1000
"""Mappings among which one of the wanted grid is looked for."""


def resident_case(
    chip: ChipParams, seed: int = 0, *, kernel: int = 1, channels: int = 20, stride: int = 1, op: str = "conv"
) -> Case:
    """A 3x3 convolution, and behind it another with such a kernel, a depthwise one, or a maximum pool."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(rng, (12, 11, 10), 10**9)
    between = builder.conv("in", channels, (3, 3), padding=(1, 1, 1, 1))
    pad, strides = (kernel // 2,) * 4, (stride, stride)
    if op == "maxpool":
        target = builder.pool("maxpool", between, (kernel, kernel), strides, pad)
    elif op == "depthwise":
        target = builder.conv(
            between, channels, (kernel, kernel), padding=pad, stride=strides, groups=channels, op="depthwise"
        )
    else:
        target = builder.conv(between, 24, (kernel, kernel), padding=pad, stride=strides)
    graph = builder.graph("resident", target)
    return Case(seed, f"resident {op}{kernel}", chip, graph, random_image(rng, graph))


def resident_plan(case: Case, first_grid: tuple[int, int], second_grid: tuple[int, int]) -> Plan:
    """Both layers of a case in one launch.

    Parameters
    ----------
    first_grid, second_grid : (channel parts, row parts)
        Split of each layer; both take as many cores.
    """
    chip, graph, core = case.chip, case.graph, case.chip.cores[0]
    first, second = graph.nodes
    assert isinstance(first, QConv)
    assert isinstance(second, QConv | QPool)
    cores = tuple(range(first_grid[0] * first_grid[1]))
    assert len(cores) == second_grid[0] * second_grid[1]
    source, output = (Blocked(graph.tensors[name].shape, chip.link_bytes) for name in (graph.input, second.output))
    bump = Bump(0)
    tensors = {
        name: Placement(bump.take(layout.nbytes), layout)
        for name, layout in ((graph.input, source), (second.output, output))
    }
    residence = _residence(case, second, cores, second_grid)
    sink = ScratchpadSink(residence)
    tasks = (
        Task(node=first, inputs=(tensors[graph.input],), sink=sink),
        Task(node=second, inputs=(residence,), sink=MemorySink(tensors[second.output])),
    )
    word = core.act_word_bytes(chip.link_bytes)
    ring = Range(round_up(residence.addr + residence.nbytes, word), core.act_bytes)
    tokens = Range(BOTH_BANKS.tokens.end, Barriers.of(chip).first)
    halves = zip(
        _halves(tokens), _halves(Range(0, core.weight_bytes)), _halves(Range(0, core.param_blocks)), strict=True
    )
    budgets = [Budget(tokens, ring, weight, params) for tokens, weight, params in halves]
    mappings = [
        _mapping(task, cores, chip, budget, grid)
        for task, budget, grid in zip(tasks, budgets, (first_grid, second_grid), strict=True)
    ]
    draft = Draft.of([[mapping] for mapping in mappings], chip, bump.top)
    parts = tuple(
        Part((task.name,), task.op, draft.described(number), node.macs)
        for number, (task, node) in enumerate(zip(tasks, (first, second), strict=True))
    )
    segments: list[Segment]
    launch, segments = draft.place(f"{first.name}..{second.name}", parts, bump)
    return Plan(chip, graph, (launch,), tuple(segments), tensors, bump.top + FETCH_SLACK)


def _halves(whole: Range) -> tuple[Range, Range]:
    middle = (whole.first + whole.end) // 2
    return Range(whole.first, middle), Range(middle, whole.end)


def _residence(case: Case, second: QConv | QPool, cores: tuple[int, ...], grid: tuple[int, int]) -> Residence:
    """The tensor between the layers: on each core the rows that its part of the second layer reads."""
    chip, (g_oc, g_row) = case.chip, grid
    shape = case.graph.tensors[second.input].shape
    height = case.graph.tensors[second.output].shape[1]
    kernel = second.kernel[0] if isinstance(second, QPool) else second.weight.shape[2]
    rows = []
    for part, (low, high) in enumerate(even_split(height, g_row)):
        first = max(0, low * second.stride[0] - second.padding[0])
        end = min(shape[1], (high - 1) * second.stride[0] - second.padding[0] + kernel)
        rows += [(cores[part * g_oc + o], first, end) for o in range(g_oc)]
    layout = Blocked(shape, chip.link_bytes)
    groups = chip.cores[0].act_groups(chip.link_bytes)
    return Residence(layout, 0, groups, tuple(rows))


def _mapping(
    task: Task, cores: tuple[int, ...], chip: ChipParams, budget: Budget, grid: tuple[int, int]
) -> Mapping:
    """The best mapping of a task with such a grid."""
    (work,) = bids(task, chip.cores[0])
    found = best_mappings(work, cores, chip, MemoryTiming(), COUNT, budget)
    of_grid = [mapping for mapping in found if (mapping.g_oc, mapping.g_row) == grid]
    assert of_grid, f"{task.name} has no mapping of {grid[0]} channel parts x {grid[1]} row parts"
    return of_grid[0]
