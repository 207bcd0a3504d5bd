"""Works of convolutions and fully connected layers on an engine that multiplies R activations by C filters.

Such engines differ in their passes alone: which activations are read, which filters an output block has, what a fused
pool and a residual want is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from golden.int8.qnodes import QConv
from rtl.contract.engines.tap import TapMode
from rtl.contract.params import CoreParams
from scheduler.engines.tap import TapPasses
from scheduler.plan.layout import Packed
from scheduler.plan.program import Placement
from scheduler.work.filters import Filters, blocked_filters, flat_filters, group_words, packed_filters
from scheduler.work.lower import (
    conv_parameters,
    conv_window,
    int8_parts,
    is_depthwise,
    is_flat,
    pixel_window,
    shared_block,
    stride_that_matters,
)
from scheduler.work.passes import OutBlock, Passes
from scheduler.work.source import FlatSource, PackedSource, Source, Window, blocked_source
from scheduler.work.task import Task
from scheduler.work.work import ResidualInput, Work

__all__ = ["Operands", "convolution"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operands:
    """What a convolution multiplies.

    Attributes
    ----------
    source : Source
    starts : tuple of int
        Bytes in a word at which passes start: a read covers R of them.
    filters : tuple of Filters
        Of every part of the weights, which add up to them: wide weights have several.
    blocks : tuple of OutBlock
        Output blocks, each with a set of weights and of parameters of its own.
    """

    source: Source
    starts: tuple[int, ...]
    filters: tuple[Filters, ...]
    blocks: tuple[OutBlock, ...]


def convolution(
    task: Task,
    core: CoreParams,
    passes_of: Callable[[QConv, Operands], Passes],
    *,
    less_zero: bool = False,
    filters: int | None = None,
) -> Work | None:
    """A work whose passes are an engine's; None of what is no convolution, and of a depthwise one.

    Parameters
    ----------
    less_zero : bool
        The engine takes the zero point off its activations, so that the bias must not.
    filters : int, optional
        Of an output block, at most; as many as the engine has columns without.
    """
    if not isinstance(task.node, QConv) or (task.residual is not None and "tap" not in core.engines):
        return None  # the tap unit adds the residual
    node, block = task.node, task.sink.block
    lanes = core.cols if task.residual is None else core.tap_lanes  # the tap unit may have fewer
    lanes = min(lanes, filters or lanes)
    operands = _operands(task, node, core, lanes)
    if operands is None:
        return None
    return Work(
        name=task.name,
        op=task.op,
        core=core,
        source=operands.source,
        passes=passes_of(node, operands),
        items=tuple((out,) for out in operands.blocks),
        shared_input=node.groups == 1,
        requant=conv_parameters(node, lanes, block, less_zero=less_zero),
        sink=task.sink,
        pool=_pool_window(task, node),
        residual=_residual(task, node, core),
    )


def _operands(task: Task, node: QConv, core: CoreParams, lanes: int) -> Operands | None:
    (source,), block, rows = task.inputs, task.sink.block, core.rows
    words: Callable[[int], tuple[int, int]]
    filters_of: Callable[[QConv], Filters]
    if isinstance(source, Placement) and isinstance(source.layout, Packed):
        layout = source.layout
        acts: Source = PackedSource.of(source, rows)
        starts, words = (0,), lambda channel: (0, 1)
        filters_of = lambda part: packed_filters(part, lanes, layout, rows)  # noqa: E731
    elif is_flat(node, source.shape) and isinstance(source, Placement):
        acts = FlatSource.of(source, rows, block)
        starts, words = (0,), lambda channel: (0, acts.words)
        filters_of = lambda part: flat_filters(part, lanes, block, source.shape, rows)  # noqa: E731
    elif task.residual is None and is_depthwise(node, source.shape):
        return None  # a filter would have one row of PEs at work, and the others' weights zero
    else:
        acts = blocked_source((source,), conv_window(node, source.shape[1:]), core.act_word_bytes(block))
        starts, words = tuple(range(0, acts.word_bytes, rows)), group_words(node, lanes, acts.word_bytes)
        filters_of = lambda part: blocked_filters(part, lanes, acts.word_bytes, rows)  # noqa: E731
    weights, count = int8_parts(node.weight), node.weight.shape[0]
    return Operands(
        source=acts,
        starts=starts,
        filters=tuple(filters_of(node if len(weights) == 1 else replace(node, weight=part)) for part in weights),
        blocks=tuple(
            shared_block(channel, count, lanes, block, words(channel), 0, number, number)
            for number, channel in enumerate(range(0, count, lanes))
        ),
    )


def _pool_window(task: Task, node: QConv) -> Window | None:
    if task.pool is None:
        return None
    pool, (top, left) = task.pool, task.pool.padding[:2]
    stride = stride_that_matters(pool.stride, task.sink.shape[1:])
    return Window(pool.kernel, stride, (1, 1), top, left, node.out_hw)


def _residual(task: Task, node: QConv, core: CoreParams) -> ResidualInput | None:
    if task.residual is None or node.residual is None:
        return None
    return ResidualInput(
        source=blocked_source(
            (task.residual,), pixel_window(task.sink.shape[1:]), core.act_word_bytes(task.sink.block)
        ),
        passes=TapPasses(mode=TapMode.MAC),
        weights=node.residual.weight,
        shift=node.residual.shift,
    )
