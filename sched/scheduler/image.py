"""Memory images of a work's weights and parameters under a mapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.layout import round_up
from scheduler.mapping import Mapping
from scheduler.work import OutBlock

__all__ = ["Constants", "build_constants"]


@dataclass(frozen=True, eq=False)
class Constants:
    """Weights and parameters, ready for DRAM.

    Attributes
    ----------
    weights : uint8[N]
    weight_offset : dict of int to int
        Byte at which each set of weights starts.
    params : uint8[sets * param_bytes]
    """

    weights: np.ndarray
    weight_offset: dict[int, int]
    params: np.ndarray


def build_constants(mapping: Mapping) -> Constants:
    """Pack everything that is loaded but not computed."""
    work = mapping.work
    params = work.requant.sets.reshape(-1)
    if work.weights_of is None:
        return Constants(np.zeros(0, np.uint8), {}, params)
    sets: dict[int, np.ndarray] = {}
    for part in mapping.channel_parts:
        for block in part:
            if block.weights in sets:
                continue
            raw = work.weights_of(block, mapping.weight_order(block))
            if work.repeated:
                raw = np.tile(raw, mapping.slice_passes)
                raw = np.pad(raw, (0, -raw.size % work.block))
            elif not work.digits and work.pass_bytes % work.block:
                raw = _pad_steps(mapping, block, raw)
            sets[block.weights] = raw
    offsets, total = {}, 0
    for number, raw in sets.items():
        offsets[number] = total
        total += round_up(raw.size, work.block)
    data = np.zeros(total, np.uint8)
    for number, raw in sets.items():
        data[offsets[number] : offsets[number] + raw.size] = raw
    return Constants(data, offsets, params)


def _pad_steps(mapping: Mapping, block: OutBlock, raw: np.ndarray) -> np.ndarray:
    """Let the weights of every step start at a whole flit."""
    pieces, start = [], 0
    for _, step in mapping.chunk_steps(block):
        size = step.passes * mapping.work.pass_bytes
        pieces.append(np.pad(raw[start : start + size], (0, step.weight_bytes - size)))
        start += size
    return np.concatenate(pieces)
