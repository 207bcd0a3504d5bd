"""Filters of convolutions in the order in which a source brings its activations, R at a time.

A *unit* is what one read of R activations covers: a word of a source has a unit for each place at which passes start.
All engines that multiply R activations by filters cut their weights out of the same ``int8[F, units, Kh, Kw, R]``: the
filters of an output block, the kernel as COMPUTEs see it (`Source.window`), and zero where a unit reads beyond what the
filter covers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from golden.int8.qnodes import QConv
from scheduler.plan.layout import Packed, ceil_div
from scheduler.work.passes import OutBlock

__all__ = ["Filters", "blocked_filters", "flat_filters", "group_words", "packed_filters"]

Filters = Callable[[OutBlock], np.ndarray]
"""Of an output block, int8[F, units, Kh, Kw, R]; F may be less than the block's lanes in the last one."""


def group_words(node: QConv, lanes: int, word: int) -> Callable[[int], tuple[int, int]]:
    """Input words of the groups to which the channels of a block belong, by its first channel."""
    filters, depth = node.weight.shape[:2]
    per_group = filters // node.groups

    def words(channel: int) -> tuple[int, int]:
        last = min(channel + lanes, filters) - 1
        low, high = channel // per_group * depth, (last // per_group + 1) * depth
        return low // word, ceil_div(high, word)

    return words


def blocked_filters(node: QConv, lanes: int, word: int, rows: int) -> Filters:
    """Of a blocked input: the words that a block reads; zero where output and input are of different groups."""
    filters, depth, kh, kw = node.weight.shape
    per_group = filters // node.groups

    def units(out: OutBlock) -> np.ndarray:
        first, end = out.words[0] * word, out.words[1] * word
        last = min(out.channel + lanes, filters)
        if node.groups == 1 and depth == end:
            dense = node.weight[out.channel : last]
        else:
            dense = np.zeros((last - out.channel, end - first, kh, kw), np.int8)
            for group in range(out.channel // per_group, (last - 1) // per_group + 1):
                own = slice(max(out.channel, group * per_group), min(last, (group + 1) * per_group))
                column = group * depth - first
                dense[own.start - out.channel : own.stop - out.channel, column : column + depth] = node.weight[own]
        return dense.reshape(len(dense), -1, rows, kh, kw).transpose(0, 1, 3, 4, 2)

    return units


def packed_filters(node: QConv, lanes: int, layout: Packed, rows: int) -> Filters:
    """Of a packed row: (column, channel), or (column, kernel row, channel) folded; one unit."""
    _, depth, kh, kw = node.weight.shape
    dilation = node.dilation[1]

    def units(out: OutBlock) -> np.ndarray:
        part = node.weight[out.channel : out.channel + lanes]
        spread = np.zeros((len(part), kh, (kw - 1) * dilation + 1, depth), np.int8)
        spread[:, :, ::dilation] = part.transpose(0, 2, 3, 1)
        if layout.fold:
            spread = spread.transpose(0, 2, 1, 3).reshape(len(part), 1, -1)
        return _in_rows(spread.reshape(len(part), 1, spread.shape[1], -1), rows)

    return units


def flat_filters(node: QConv, lanes: int, block: int, in_shape: tuple[int, int, int], rows: int) -> Filters:
    """Of the bytes of a stored tensor, one behind the other."""
    channels, height, width = in_shape
    blocks = ceil_div(channels, block)

    def units(out: OutBlock) -> np.ndarray:
        part = node.weight[out.channel : out.channel + lanes]
        if channels % block:
            grown = np.zeros((len(part), blocks * block, height, width), np.int8)
            grown[:, :channels] = part
            part = grown
        part = part.reshape(len(part), blocks, block, height, width).transpose(0, 1, 3, 4, 2)
        return _in_rows(part.reshape(len(part), -1), rows)[:, :, None, None]

    return units


def _in_rows(filters: np.ndarray, rows: int) -> np.ndarray:
    """The last axis, in pieces of so many, zero behind its end."""
    *outer, depth = filters.shape
    count = ceil_div(depth, rows)
    if depth % rows:
        filters = np.concatenate([filters, np.zeros((*outer, count * rows - depth), np.int8)], axis=-1)
    return filters.reshape(*outer, count, rows)
