"""Memory images of a work's weights and parameters under a mapping."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import accumulate

import numpy as np

from scheduler.map.mapping import Mapping
from scheduler.plan.layout import round_up

__all__ = ["build_params", "build_weights", "residual_offsets", "weight_offsets"]


def weight_offsets(mapping: Mapping) -> tuple[dict[int, int], int]:
    """Byte at which each set of weights starts, and bytes in all, without those of a residual."""
    work, offsets, total = mapping.work, dict[int, int](), 0
    if not work.pass_bytes:
        return offsets, 0
    sizes: dict[Hashable, int] = {}
    for block in mapping.weight_blocks():
        offsets[block.weights] = total
        kind = work.passes.alike(block)
        if kind not in sizes:
            ends = [step.weight + step.weight_bytes for _, step in mapping.chunk_steps(block)]
            sizes[kind] = round_up(max(ends), work.block)
        total += sizes[kind]
    return offsets, total


def build_weights(mapping: Mapping) -> np.ndarray:
    """All weights, in the order in which they are loaded, uint8[N]."""
    work = mapping.work
    offsets, total = weight_offsets(mapping)
    residual = _residual_weights(mapping)
    data = np.zeros(total + residual.size, np.uint8)
    data[total:] = residual
    if not work.pass_bytes:
        return data
    for block in mapping.weight_blocks():
        steps, order = mapping.placed_steps(block), mapping.weight_order(block)
        raw = work.passes.image(block, steps, order, mapping.slice_passes, work.block)
        first = offsets[block.weights]
        data[first : first + raw.size] = raw
    return data


def residual_offsets(mapping: Mapping) -> list[int]:
    """Byte at which the residual's weights of each channel part start, behind all others, and their end."""
    _, total = weight_offsets(mapping)
    size = mapping.work.weight_align if mapping.work.residual is not None else 0
    return [total, *(total + size * blocks for blocks in accumulate(map(len, mapping.channel_parts)))]


def _residual_weights(mapping: Mapping) -> np.ndarray:
    """uint8[blocks * weight_align]: one pass of the tap unit for every output block, in order."""
    residual = mapping.work.residual
    if residual is None:
        return np.zeros(0, np.uint8)
    blocks = [block for part in mapping.channel_parts for block in part]
    rows = np.zeros((len(blocks), mapping.work.weight_align), np.int8)
    for row, block in zip(rows, blocks, strict=True):
        part = residual.weights[block.channel :][: mapping.work.core.tap_lanes]
        row[: len(part)] = part
    return rows.view(np.uint8).reshape(-1)


def build_params(mapping: Mapping) -> np.ndarray:
    """All parameter sets, and the activation table behind them, uint8[N]."""
    requant = mapping.work.requant
    sets = requant.sets.reshape(-1)
    return sets if requant.table is None else np.concatenate([sets, requant.table])
