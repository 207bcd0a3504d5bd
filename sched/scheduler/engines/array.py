"""The systolic array: convolutions and fully connected layers, dense R x C tiles of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from estimator.engines import TIMINGS, EngineTiming
from golden.int8.qnodes import QConv
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from scheduler.engines.tap import TapPasses
from scheduler.plan.layout import Packed, ceil_div, pack_weights
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
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
from scheduler.work.passes import Order, OutBlock, Passes, Step, Weights
from scheduler.work.source import FlatSource, PackedSource, Source, Window, blocked_source
from scheduler.work.task import Task
from scheduler.work.work import ResidualInput, Work

__all__ = ["ARRAY", "ArrayPasses"]

Tiles = Callable[[OutBlock, Order], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayPasses(Passes):
    """Passes of the array.

    Attributes
    ----------
    starts : tuple of int
        Bytes in a word at which passes start: a read covers R of them. Wide weights take each several times.
    """

    timing: ClassVar[EngineTiming] = TIMINGS["array"]
    starts: tuple[int, ...]

    def offsets(self, block: OutBlock) -> tuple[int, ...]:
        return self.starts

    def setup(self, core: CoreParams, window: Window, step: Step) -> dict[str, int]:
        return {"engine": Engine.ARRAY}


class _Array:
    """The array's lowering."""

    def bid(self, task: Task, core: CoreParams) -> Work | None:
        if not isinstance(task.node, QConv) or (task.residual is not None and "tap" not in core.engines):
            return None  # the tap unit adds the residual
        node, (source,) = task.node, task.inputs
        block, lanes = task.sink.block, _lanes(core, task.residual)
        filters = node.weight.shape[0]
        words: Callable[[int], tuple[int, int]]
        tiles_of: Callable[[QConv], Tiles]
        if isinstance(source, Placement) and isinstance(source.layout, Packed):
            acts: Source = PackedSource.of(source, core.rows)
            starts, words = (0,), lambda channel: (0, 1)
            tiles_of = partial(_packed_tiles, core=core, lanes=lanes, layout=source.layout)
        elif is_flat(node, source.shape) and isinstance(source, Placement):
            acts = FlatSource.of(source, core.rows, block)
            starts, words = (0,), lambda channel: (0, acts.words)
            tiles_of = partial(_flat_tiles, core=core, lanes=lanes, block=block, in_shape=source.shape)
        elif task.residual is None and is_depthwise(node, source.shape):
            return None  # a filter would have one row of PEs at work, and the others' weights zero
        else:
            acts = blocked_source((source,), conv_window(node, source.shape[1:]), core.act_word_bytes(block))
            starts = tuple(range(0, acts.word_bytes, core.rows))
            words = _grouped_words(node, lanes, acts.word_bytes)
            tiles_of = partial(_grouped_tiles, core=core, lanes=lanes, word=acts.word_bytes)
        weights = int8_parts(node.weight)
        parts = [tiles_of(node if len(weights) == 1 else replace(node, weight=part)) for part in weights]
        items = tuple(
            (shared_block(channel, filters, lanes, block, words(channel), 0, number, number),)
            for number, channel in enumerate(range(0, filters, lanes))
        )
        return Work(
            name=task.name,
            op=task.op,
            core=core,
            source=acts,
            passes=ArrayPasses(
                weights=Weights(pass_bytes=core.pes, of=_of_parts(parts)),
                pad_value=node.pad_value,
                starts=starts * len(parts),
            ),
            items=items,
            shared_input=node.groups == 1,
            requant=conv_parameters(node, lanes, block),
            sink=task.sink,
            pool=_pool_window(task, node),
            residual=_residual(task, node, core),
        )


ARRAY = _Array()


def _lanes(core: CoreParams, residual: Placement | Residence | None) -> int:
    """Channels of an output block; the tap unit, which adds the residual, may have fewer lanes."""
    return core.cols if residual is None else core.tap_lanes


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


def _of_parts(parts: list[Tiles]) -> Tiles:
    """Weights whose passes come once for each of several parts, a word and start at a time."""
    if len(parts) == 1:
        return parts[0]

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        assert order is not None  # there are several starts
        met = Counter[tuple[int, int]]()
        numbers = []
        for item in order:
            numbers.append(met[item])
            met[item] += 1
        raws = []
        for number, part in enumerate(parts):
            own = [item for item, of in zip(order, numbers, strict=True) if of == number]
            raws.append(iter(part(out, own).reshape(len(own), -1)))
        return np.concatenate([next(raws[number]) for number in numbers])

    return weights


def _grouped_words(node: QConv, lanes: int, word: int) -> Callable[[int], tuple[int, int]]:
    """Input words of the groups to which a block's channels belong."""
    filters, depth = node.weight.shape[:2]
    per_group = filters // node.groups

    def words(channel: int) -> tuple[int, int]:
        last = min(channel + lanes, filters) - 1
        low, high = channel // per_group * depth, (last // per_group + 1) * depth
        return low // word, ceil_div(high, word)

    return words


def _grouped_tiles(node: QConv, core: CoreParams, lanes: int, word: int) -> Tiles:
    """Dense tiles of the input words that a block reads; zero where output and input are of different groups."""
    filters, depth, kh, kw = node.weight.shape
    per_group = filters // node.groups

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        first, end = out.words[0] * word, out.words[1] * word
        last = min(out.channel + lanes, filters)
        if node.groups == 1 and depth == end:
            dense = node.weight[out.channel : last]
        else:
            dense = np.zeros((last - out.channel, end - first, kh, kw), np.int8)
            for group in range(out.channel // per_group, (last - 1) // per_group + 1):
                rows = slice(max(out.channel, group * per_group), min(last, (group + 1) * per_group))
                column = group * depth - first
                dense[rows.start - out.channel : rows.stop - out.channel, column : column + depth] = node.weight[rows]
        units = dense.reshape(len(dense), -1, core.rows, kh, kw).transpose(0, 1, 3, 4, 2)
        if order is not None:
            units = units[:, [(w - out.words[0]) * (word // core.rows) + offset // core.rows for w, offset in order]]
        return pack_weights(units, core.rows, core.cols)[0]

    return weights


def _packed_tiles(node: QConv, core: CoreParams, lanes: int, layout: Packed) -> Tiles:
    """Lanes follow the bytes of a packed row: (column, channel), or (column, kernel row, channel) folded."""
    _, depth, kh, kw = node.weight.shape
    dilation = node.dilation[1]

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        part = node.weight[out.channel : out.channel + lanes]
        spread = np.zeros((len(part), kh, (kw - 1) * dilation + 1, depth), np.int8)
        spread[:, :, ::dilation] = part.transpose(0, 2, 3, 1)
        if layout.fold:
            spread = spread.transpose(0, 2, 1, 3).reshape(len(part), 1, -1)
        return pack_weights(spread.reshape(len(part), spread.shape[1], -1), core.rows, core.cols)[0]

    return weights


def _flat_tiles(node: QConv, core: CoreParams, lanes: int, block: int, in_shape: tuple[int, int, int]) -> Tiles:
    """Lanes follow the bytes of the stored tensor."""
    channels, height, width = in_shape
    blocks = ceil_div(channels, block)

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        part = node.weight[out.channel : out.channel + lanes]
        if channels % block:
            grown = np.zeros((len(part), blocks * block, height, width), np.int8)
            grown[:, :channels] = part
            part = grown
        part = part.reshape(len(part), blocks, block, height, width).transpose(0, 1, 3, 4, 2)
        return pack_weights(part.reshape(len(part), -1), core.rows, core.cols)[0]

    return weights
