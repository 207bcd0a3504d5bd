"""Memory images of a work's weights and parameters under a mapping."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from scheduler.map.mapping import Mapping
from scheduler.plan.layout import round_up
from scheduler.work.passes import OutBlock

__all__ = ["build_params", "build_weights", "residual_offsets", "weight_offsets"]


def weight_offsets(mapping: Mapping) -> tuple[dict[int, int], int]:
    """Byte at which each set of weights starts, and bytes in all, without those of a residual."""
    work, offsets, total = mapping.work, dict[int, int](), 0
    if work.passes.weights is None:
        return offsets, 0
    sizes: dict[tuple[int, int], int] = {}
    for block in mapping.weight_blocks():
        offsets[block.weights] = total
        if block.words not in sizes:  # the same words take the same steps
            ends = [step.weight + step.weight_bytes for _, step in mapping.chunk_steps(block)]
            sizes[block.words] = round_up(max(ends), work.block)
        total += sizes[block.words]
    return offsets, total


def build_weights(mapping: Mapping) -> np.ndarray:
    """All weights, in the order in which they are loaded, uint8[N]."""
    work = mapping.work
    offsets, total = weight_offsets(mapping)
    residual = _residual_weights(mapping)
    data = np.zeros(total + residual.size, np.uint8)
    data[total:] = residual
    weights = work.passes.weights
    if weights is None:
        return data
    for block in mapping.weight_blocks():
        raw = weights.of(block, mapping.weight_order(block))
        if weights.repeated:
            raw = np.tile(raw, mapping.slice_passes)
        elif weights.pass_bytes % work.block and weights.computed is None:
            raw = _pad_steps(mapping, block, raw)
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


def _pad_steps(mapping: Mapping, block: OutBlock, raw: np.ndarray) -> np.ndarray:
    """Let the weights of every step start at a whole flit."""
    pieces, start = [], 0
    for _, step in mapping.chunk_steps(block):
        size = step.passes * mapping.work.pass_bytes
        pieces.append(np.pad(raw[start : start + size], (0, step.weight_bytes - size)))
        start += size
    return np.concatenate(pieces)
