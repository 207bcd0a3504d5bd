"""Memory images of a work's weights and parameters under a mapping."""

from __future__ import annotations

import numpy as np

from scheduler.layout import round_up
from scheduler.mapping import Mapping
from scheduler.work import OutBlock

__all__ = ["build_params", "build_weights", "weight_offsets"]


def weight_offsets(mapping: Mapping) -> tuple[dict[int, int], int]:
    """Byte at which each set of weights starts, and bytes in all."""
    work, offsets, total = mapping.work, dict[int, int](), 0
    if work.weights_of is None:
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
    data = np.zeros(total, np.uint8)
    if work.weights_of is None:
        return data
    for block in mapping.weight_blocks():
        raw = work.weights_of(block, mapping.weight_order(block))
        if work.repeated:
            raw = np.tile(raw, mapping.slice_passes)
        elif not work.digits and work.pass_bytes % work.block:
            raw = _pad_steps(mapping, block, raw)
        first = offsets[block.weights]
        data[first : first + raw.size] = raw
    return data


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
