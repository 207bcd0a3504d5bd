"""Lowering that engines share: output blocks, lanes, windows, parameters."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from golden.int8.qnodes import QConv, magnitudes
from golden.int8.requant import Requant
from rtl.contract.codec import pack_params
from rtl.contract.isa import PARAM_BYTES_PER_CHANNEL
from scheduler.errors import PlanError
from scheduler.plan.layout import ceil_div
from scheduler.work.passes import OutBlock
from scheduler.work.source import Window, wide_window
from scheduler.work.work import Requantisation

__all__ = [
    "conv_parameters",
    "conv_window",
    "int8_parts",
    "is_depthwise",
    "is_flat",
    "own_blocks",
    "parameters",
    "pixel_window",
    "same_parameters",
    "shared_block",
    "stride_that_matters",
    "unchanged",
]

IDENTITY_SHIFT = 23
"""Multiplier 2**23 and shift 23 requantise to the value itself."""

ACCUMULATOR_LIMIT = 1 << 31

HW = tuple[int, int]


# --- layers ---------------------------------------------------------------------------------------------------------


def is_flat(node: QConv, in_shape: tuple[int, int, int]) -> bool:
    """The kernel covers the whole unpadded input once: a product of a matrix and a vector."""
    return node.weight.shape[1:] == in_shape and node.groups == 1 and not any(node.padding)


def is_depthwise(node: QConv, in_shape: tuple[int, int, int]) -> bool:
    """Every channel has a filter of its own."""
    return node.groups == in_shape[0] == node.weight.shape[0]


def int8_parts(weight: np.ndarray) -> list[np.ndarray]:
    """int8 arrays whose sum is a weight: one, but for wide weights."""
    if weight.dtype == np.int8:
        return [weight]
    parts = [weight.clip(-128, 127).astype(np.int8)]
    rest = weight - parts[0]
    while rest.any():
        parts.append(rest.clip(-128, 127).astype(np.int8))
        rest = rest - parts[-1]
    return parts


# --- windows --------------------------------------------------------------------------------------------------------


def stride_that_matters(stride: HW, out_hw: HW) -> HW:
    """None where there is but one row or column."""
    return (stride[0] if out_hw[0] > 1 else 1, stride[1] if out_hw[1] > 1 else 1)


def conv_window(node: QConv, in_hw: HW) -> Window:
    """Of a convolution."""
    kernel = (node.weight.shape[2], node.weight.shape[3])
    top, left = node.padding[:2]
    stride = stride_that_matters(node.stride, node.out_hw)
    dilation = stride_that_matters(node.dilation, kernel)
    return wide_window(Window(kernel, stride, dilation, top, left, in_hw), node.out_hw)


def pixel_window(hw: HW) -> Window:
    """Of a layer that makes each pixel of one pixel."""
    return Window((1, 1), (1, 1), (1, 1), 0, 0, hw)


# --- output blocks --------------------------------------------------------------------------------------------------


def shared_block(
    channel: int, channels: int, lanes: int, block: int, words: tuple[int, int], offset: int, weights: int, params: int
) -> OutBlock:
    """Whole flits wherever lanes reach beyond the last channel, so that nothing is left undefined."""
    if lanes >= block:
        groups = ceil_div(min(lanes, channels - channel), block)
        return OutBlock(channel, block, groups, words, offset, weights, params)
    return OutBlock(channel, lanes, 1, words, offset, weights, params)


def own_blocks(
    channels: int, lanes: int, block: int, word: int, *, same_weights: bool, same_params: bool
) -> tuple[tuple[OutBlock, ...], ...]:
    """Blocks of a layer that keeps channels apart, by the input word that they read."""
    items: dict[int, list[OutBlock]] = {}
    for number, channel in enumerate(range(0, channels, lanes)):
        index = channel // word
        sets = 0 if same_weights else number, 0 if same_params else number
        out = shared_block(channel, channels, lanes, block, (index, index + 1), channel % word, *sets)
        items.setdefault(index, []).append(out)
    return tuple(tuple(item) for item in items.values())


# --- parameters -----------------------------------------------------------------------------------------------------


def same_parameters(requant: Requant) -> bool:
    """All channels have the same."""
    return bool(np.ptp(requant.multiplier) == 0 and np.ptp(requant.shift) == 0)


def parameters(requant: Requant, bias: np.ndarray, lanes: int, block: int, same: bool = False) -> Requantisation:
    """Parameter sets for output blocks of so many lanes; one for all where the channels do not differ."""
    columns = np.stack([bias, requant.multiplier, requant.shift]).astype(np.int64)
    if same:
        columns = np.repeat(columns[:, :1], lanes, axis=1)
    sets, blocks = _param_sets(columns, lanes, block)
    table = None if requant.table is None else requant.table.view(np.uint8)
    return Requantisation(
        sets=sets, blocks=blocks, zero_point=requant.zero_point, lo=requant.lo, hi=requant.hi, table=table
    )


def conv_parameters(node: QConv, lanes: int, block: int, *, less_zero: bool = False) -> Requantisation:
    """As `parameters`, of a convolution; found once, for a search asks for hundreds of bids for it.

    Parameters
    ----------
    less_zero : bool
        For sums of weights times activations less their zero point: the bias that a `QConv` has takes the zero point
        off itself.

    Raises
    ------
    PlanError
        If such sums or biases could leave their 32 bits.
    """
    known = _CONV_PARAMETERS.setdefault(node, {})
    key = lanes, block, less_zero
    if key not in known:
        known[key] = parameters(node.requant, _bias_less_zero(node) if less_zero else node.bias, lanes, block)
    return known[key]


_CONV_PARAMETERS: WeakKeyDictionary[QConv, dict[tuple[int, int, bool], Requantisation]] = WeakKeyDictionary()


def _bias_less_zero(node: QConv) -> np.ndarray:
    """int64[O]: the bias without what it holds for the input's zero point."""
    weight = node.weight.reshape(len(node.bias), -1)
    bias = node.bias + node.pad_value * weight.sum(axis=1, dtype=np.int64)
    reach = max(127 - node.pad_value, 128 + node.pad_value) * magnitudes(node.weight)
    if node.residual is not None:
        reach = reach + (node.residual.factor << 7)
    worst = max(int(reach.max()), int(np.abs(bias).max()))
    if worst >= ACCUMULATOR_LIMIT:
        raise PlanError(
            f"layer {node.name!r}: without its zero point a sum may reach {worst}, accumulators end at "
            f"{ACCUMULATOR_LIMIT - 1}; give the core an array, or split the layer",
            node.name,
        )
    return bias


def unchanged(lanes: int, block: int) -> Requantisation:
    """Accumulators are int8 already."""
    columns = np.repeat(np.array([[0], [1 << IDENTITY_SHIFT], [IDENTITY_SHIFT]], np.int64), lanes, axis=1)
    sets, blocks = _param_sets(columns, lanes, block)
    return Requantisation(sets=sets, blocks=blocks, zero_point=0, lo=-128, hi=127)


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
