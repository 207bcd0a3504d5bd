"""From a graph node to a `Work`: which engine, which passes, which weights and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from golden.int8.quant import QAdd, QConv, QPool, Requant
from rtl.contract.codec import pack_params
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import PARAM_BYTES_PER_CHANNEL, Engine
from rtl.contract.params import CoreParams
from scheduler.errors import PlanError
from scheduler.plan.layout import Packed, ceil_div, pack_weights
from scheduler.plan.program import Placement
from scheduler.work.source import BlockedSource, FlatSource, PackedSource, Source, Window
from scheduler.work.work import OutBlock, Requantisation, ResidualInput, Work

__all__ = ["is_flat", "lower_add", "lower_conv", "lower_copy", "lower_pool", "lower_pooled_conv"]

IDENTITY_SHIFT = 23
"""Multiplier 2**23 and shift 23 requantise to the value itself."""

Tensors = Mapping[str, Placement]
Order = list[tuple[int, int]] | None


def is_flat(node: QConv, in_shape: tuple[int, int, int]) -> bool:
    """The kernel covers the whole unpadded input once: a product of a matrix and a vector."""
    return node.weight.shape[1:] == in_shape and node.groups == 1 and not any(node.padding)


def lower_conv(
    node: QConv, core: CoreParams, source: Placement, output: Placement, residual: Placement | None = None
) -> Work:
    """Convolution, depthwise convolution or fully connected layer, with the tensor that it adds if it has one."""
    if not isinstance(source.layout, Packed):
        if is_flat(node, source.shape):
            return _lower_flat(node, core, source, output, residual)
        if residual is None and node.groups == source.shape[0] == node.weight.shape[0]:
            return _lower_depthwise(node, core, source, output)
    block = output.layout.block
    packed = source.layout if isinstance(source.layout, Packed) else None
    acts: Source
    if packed:
        acts = PackedSource.of(source, core.rows)
    else:
        acts = BlockedSource.of((source,), _window(node, source), core.act_word_bytes(block))
    filters, depth = node.weight.shape[:2]
    per_group = filters // node.groups
    items = []
    lanes = _lanes(core, residual)
    for channel in range(0, filters, lanes):
        last = min(channel + lanes, filters) - 1
        low, high = channel // per_group * depth, (last // per_group + 1) * depth
        words = (0, 1) if packed else (low // acts.word_bytes, ceil_div(high, acts.word_bytes))
        number = channel // lanes
        items.append((_out_block(channel, filters, lanes, block, words, 0, number, number),))
    if packed:
        weights = _packed_weights(node, core, lanes, packed)
    else:
        weights = _grouped_weights(node, core, lanes, acts.word_bytes)
    offsets = (0,) if packed else tuple(range(0, acts.word_bytes, core.rows))
    return Work(
        node.name, node.op, core, block, acts, Engine.ARRAY, TapMode.MAC, node.pad_value, output, tuple(items),
        node.groups == 1, core.pes, _requant(node.requant, node.bias, lanes, block), weights, offsets=offsets,
        residual=_residual(node, core, residual, output),
    )  # fmt: skip


def lower_pooled_conv(node: QConv, pool: QPool, core: CoreParams, source: Placement, output: Placement) -> Work:
    """A convolution of the array and the maximum pool behind it, in one; `output` is the pool's."""
    work = lower_conv(node, core, source, output)
    window = Window(pool.kernel, _stride(pool.stride, output), (1, 1), pool.padding[0], pool.padding[1], node.out_hw)
    return replace(work, name=f"{node.name}+{pool.name}", op=f"{node.op}+{pool.op}", pool=window)


def _lanes(core: CoreParams, residual: Placement | None) -> int:
    """Channels of an output block of the array; the tap unit, which adds the residual, may have fewer lanes."""
    return core.cols if residual is None else core.tap_lanes


def _residual(node: QConv, core: CoreParams, placement: Placement | None, output: Placement) -> ResidualInput | None:
    if placement is None or node.residual is None:
        return None
    window = Window((1, 1), (1, 1), (1, 1), 0, 0, output.shape[1:])
    source = BlockedSource.of((placement,), window, core.act_word_bytes(output.layout.block))
    return ResidualInput(source, node.residual.weight, node.residual.shift)


def _lower_flat(
    node: QConv, core: CoreParams, source: Placement, output: Placement, residual: Placement | None
) -> Work:
    block, filters, lanes = output.layout.block, node.weight.shape[0], _lanes(core, residual)
    channels, height, width = source.shape
    blocks = ceil_div(channels, block)
    acts = FlatSource.of(source, core.rows, block)

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        part = node.weight[out.channel : out.channel + lanes]
        if channels % block:
            grown = np.zeros((len(part), blocks * block, height, width), np.int8)
            grown[:, :channels] = part
            part = grown
        part = part.reshape(len(part), blocks, block, height, width).transpose(0, 1, 3, 4, 2)
        return pack_weights(part.reshape(len(part), -1), core.rows, core.cols)[0]

    items = tuple(
        (_out_block(channel, filters, lanes, block, (0, acts.words), 0, number, number),)
        for number, channel in enumerate(range(0, filters, lanes))
    )
    return Work(
        node.name, node.op, core, block, acts, Engine.ARRAY, TapMode.MAC, node.pad_value, output, items, True,
        core.pes, _requant(node.requant, node.bias, lanes, block), weights, offsets=(0,),
        residual=_residual(node, core, residual, output),
    )  # fmt: skip


def _lower_depthwise(node: QConv, core: CoreParams, source: Placement, output: Placement) -> Work:
    block, lanes = output.layout.block, core.tap_lanes
    acts = BlockedSource.of((source,), _window(node, source), core.act_word_bytes(block))

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        taps = node.weight[out.channel : out.channel + lanes, 0]
        rows = np.zeros((taps.shape[1] * taps.shape[2], core.cols), np.int8)
        rows[:, : len(taps)] = taps.reshape(len(taps), -1).T
        return rows.view(np.uint8).reshape(-1)

    items = _tap_items(source.shape[0], lanes, block, acts.word_bytes, same_weights=False, same_params=False)
    return Work(
        node.name, node.op, core, block, acts, Engine.TAP, TapMode.MAC, node.pad_value, output, items, False,
        core.cols, _requant(node.requant, node.bias, lanes, block), weights,
    )  # fmt: skip


def lower_pool(node: QPool, core: CoreParams, source: Placement, output: Placement) -> Work:
    """Maximum or average pooling; the average's sum has weights of one."""
    block, lanes = output.layout.block, core.tap_lanes
    top, left = node.padding[:2]
    window = Window(node.kernel, _stride(node.stride, output), (1, 1), top, left, source.shape[1:])
    acts = BlockedSource.of((source,), window, core.act_word_bytes(block))
    if node.requant is None:
        requant, mode, same, weights = _identity(lanes, block), TapMode.MAX, True, None
    else:
        bias = np.full(source.shape[0], node.bias, np.int32)
        same = _uniform(node.requant)
        requant = _requant(node.requant, bias, lanes, block, same)
        mode, weights = TapMode.MAC, _ones(core)
    items = _tap_items(source.shape[0], lanes, block, acts.word_bytes, same_weights=True, same_params=same)
    return Work(
        node.name, node.op, core, block, acts, Engine.TAP, mode, node.pad_value, output, items, False,
        core.cols if weights else 0, requant, weights, repeated=weights is not None,
    )  # fmt: skip


def lower_add(node: QAdd, core: CoreParams, sources: tuple[Placement, Placement], output: Placement) -> Work:
    """Weighted sum: every weight in signed digits to base 256, one pass per digit."""
    block, lanes = output.layout.block, core.tap_lanes
    window = Window((1, 1), (1, 1), (1, 1), 0, 0, output.shape[1:])
    acts = BlockedSource.of(sources, window, core.act_word_bytes(block))
    split = [_digits(weight) for weight in node.weights]
    digits, rows = [], []
    for place in range(3):
        used = [tensor for tensor in range(2) if split[tensor][place]]
        if used:
            digits.append((8 * place, used[0], len(used)))
            rows.append([split[tensor][place] for tensor in used])
    if not digits:  # both weights zero: one pass that adds nothing still has to write the accumulators
        digits, rows = [(0, 0, 1)], [[0]]

    def weights(out: OutBlock, order: Order) -> np.ndarray:
        padded = []
        for row in rows:
            data = np.repeat(np.array(row, np.int8), core.cols)
            padded.append(np.pad(data, (0, -data.size % block)))
        return np.concatenate(padded).view(np.uint8)

    bias = np.full(output.shape[0], node.bias, np.int32)
    same = _uniform(node.requant)
    items = _tap_items(output.shape[0], lanes, block, acts.word_bytes, same_weights=True, same_params=same)
    return Work(
        node.name, node.op, core, block, acts, Engine.TAP, TapMode.MAC, 0, output, items, False, core.cols,
        _requant(node.requant, bias, lanes, block, same), weights, digits=tuple(digits),
    )  # fmt: skip


def lower_copy(name: str, core: CoreParams, source: Placement, output: Placement, channel: int) -> Work:
    """Copy of a tensor into channels [channel, ...) of another: a maximum over one tap."""
    block, lanes = output.layout.block, min(core.tap_lanes, output.layout.block)
    window = Window((1, 1), (1, 1), (1, 1), 0, 0, output.shape[1:])
    acts = BlockedSource.of((source,), window, core.act_word_bytes(block))
    channels, word = source.shape[0], acts.word_bytes
    items: dict[int, list[OutBlock]] = {}
    first = 0
    while first < channels:
        target = channel + first
        count = min(lanes, block - target % block, word - first % word, channels - first)
        number = first // word
        items.setdefault(number, []).append(OutBlock(target, count, 1, (number, number + 1), first % word, 0, 0))
        first += count
    return Work(
        name, "concat", core, block, acts, Engine.TAP, TapMode.MAX, 0, output,
        tuple(tuple(item) for item in items.values()), False, 0, _identity(lanes, block),
    )  # fmt: skip


def _window(node: QConv, source: Placement) -> Window:
    kernel = (node.weight.shape[2], node.weight.shape[3])
    top, left = node.padding[:2]
    rows, cols = node.out_hw
    stride = (node.stride[0] if rows > 1 else 1, node.stride[1] if cols > 1 else 1)
    for what, value in (("stride", max(stride)), ("dilation", max(node.dilation))):
        if value > 15:
            raise PlanError(f"layer {node.name!r}: {what} {value} exceeds the hardware's 15")
    return Window(kernel, stride, node.dilation, top, left, source.shape[1:])


def _stride(stride: tuple[int, int], output: Placement) -> tuple[int, int]:
    """Stride that matters: none where there is but one row or column."""
    _, rows, cols = output.shape
    return (stride[0] if rows > 1 else 1, stride[1] if cols > 1 else 1)


def _out_block(
    channel: int, channels: int, lanes: int, block: int, words: tuple[int, int], offset: int, weights: int, params: int
) -> OutBlock:
    """Whole flits wherever lanes reach beyond the last channel, so that nothing is left undefined."""
    if lanes >= block:
        groups = ceil_div(min(lanes, channels - channel), block)
        return OutBlock(channel, block, groups, words, offset, weights, params)
    return OutBlock(channel, lanes, 1, words, offset, weights, params)


def _tap_items(
    channels: int, lanes: int, block: int, word: int, *, same_weights: bool, same_params: bool
) -> tuple[tuple[OutBlock, ...], ...]:
    items: dict[int, list[OutBlock]] = {}
    for number, channel in enumerate(range(0, channels, lanes)):
        index = channel // word
        sets = 0 if same_weights else number, 0 if same_params else number
        out = _out_block(channel, channels, lanes, block, (index, index + 1), channel % word, *sets)
        items.setdefault(index, []).append(out)
    return tuple(tuple(item) for item in items.values())


def _grouped_weights(node: QConv, core: CoreParams, lanes: int, word: int) -> Callable[[OutBlock, Order], np.ndarray]:
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


def _packed_weights(
    node: QConv, core: CoreParams, lanes: int, layout: Packed
) -> Callable[[OutBlock, Order], np.ndarray]:
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


def _ones(core: CoreParams) -> Callable[[OutBlock, Order], np.ndarray]:
    def weights(out: OutBlock, order: Order) -> np.ndarray:
        return np.ones(core.cols, np.uint8)

    return weights


def _digits(weight: int) -> tuple[int, int, int]:
    """Signed digits of an integer below 2**22 to base 256, lowest first."""
    low = (weight + 128) % 256 - 128
    middle = ((weight - low >> 8) + 128) % 256 - 128
    return low, middle, (weight - low >> 8) - middle >> 8


def _uniform(requant: Requant) -> bool:
    return bool(np.ptp(requant.multiplier) == 0 and np.ptp(requant.shift) == 0)


def _requant(requant: Requant, bias: np.ndarray, lanes: int, block: int, same: bool = False) -> Requantisation:
    """Parameter sets for output blocks of so many lanes; one for all where the channels do not differ."""
    columns = np.stack([bias, requant.multiplier, requant.shift]).astype(np.int64)
    if same:
        columns = np.repeat(columns[:, :1], lanes, axis=1)
    table = None if requant.table is None else requant.table.view(np.uint8)
    return Requantisation(*_param_sets(columns, lanes, block), requant.zero_point, requant.lo, requant.hi, table)


def _identity(lanes: int, block: int) -> Requantisation:
    columns = np.repeat(np.array([[0], [1 << IDENTITY_SHIFT], [IDENTITY_SHIFT]], np.int64), lanes, axis=1)
    return Requantisation(*_param_sets(columns, lanes, block), 0, -128, 127)


def _param_sets(columns: np.ndarray, lanes: int, block: int) -> tuple[np.ndarray, int]:
    """uint8[sets][blocks * block * 8] and blocks, channels beyond the last zero."""
    blocks = ceil_div(lanes, block)
    sets = ceil_div(columns.shape[1], lanes)
    grown = np.zeros((3, sets * lanes), np.int64)
    grown[:, : columns.shape[1]] = columns
    wide = np.zeros((3, sets, blocks * block), np.int64)
    wide[:, :, :lanes] = grown.reshape(3, sets, lanes)
    data = pack_params(*wide.reshape(3, -1))
    return data.reshape(sets, blocks * block * PARAM_BYTES_PER_CHANNEL), blocks
