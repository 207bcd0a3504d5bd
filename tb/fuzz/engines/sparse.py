"""Random programs for the sparse engine: passes whose masks, lanes and lists agree."""

from __future__ import annotations

import numpy as np
from amaranth.utils import exact_log2

from rtl.contract.codec import field_range
from rtl.contract.isa import Opcode
from rtl.contract.params import CoreParams
from scheduler.plan.layout import SparseWeights
from tb.fuzz.engines.fuzz import EngineFuzz, Fields, Listed

__all__ = ["SPARSE"]

_KERNELS = ((1, 1), (1, 1), (1, 2), (2, 2), (3, 1), (1, 3), (3, 2), (3, 3))


def _options(rng: np.random.Generator, core: CoreParams, geometry: Fields) -> dict[str, int]:
    return {
        "run_ahead": int(rng.integers(core.sparse_slots)), "skip_acts": int(rng.random() < 0.8),
        "pad_value": int(rng.choice([-128, 127, 0, geometry["pad_value"]])),
    }  # fmt: skip


def _illegal(rng: np.random.Generator, core: CoreParams) -> list[dict[str, int]]:
    most = field_range(Opcode.SETUP, "run_ahead")[1]
    most_items = core.sparse_items
    spoils = [{"kernel_h": most_items // 2 + 1, "kernel_w": 2}, {"kernel_h": 1, "kernel_w": most_items + 1}]
    if core.sparse_slots <= most:
        spoils.append({"run_ahead": int(rng.integers(core.sparse_slots, most + 1))})
    return spoils


_ALL_ROUNDS = 1 << 30
_CORNERS: tuple[tuple[tuple[int, int], int | float, int], ...] = (
    ((1, 1), 1, 0), ((1, 1), 0, 1), ((3, 3), 1.0, 0), ((1, 1), 1.0, 0), ((1, 2), 1, _ALL_ROUNDS),
    ((1, 1), 0, _ALL_ROUNDS), ((3, 1), 1, 3),
)  # fmt: skip
"""Kernel, weights (a number or a density) and rounds to spare, of a COMPUTE of one pass: lists of one weight and of
none with as many rounds, with more and with all, the longest lists, and an item whose weights are all listed."""


def _passes(rng: np.random.Generator, core: CoreParams, number: int) -> Listed | None:
    """A corner; or one or two passes of some density, weights left out at random, of a whole PE, or of a whole item;
    more if they do not fit otherwise. Rounds are as many as needed, some more, or all that the engine holds."""
    layout, corner = SparseWeights(core), number < len(_CORNERS)
    if corner:
        (kernel_h, kernel_w), amount, spare = _CORNERS[number]
        blocks = 1
    else:
        kernel_h, kernel_w = _KERNELS[rng.integers(len(_KERNELS))]
        blocks, amount = int(rng.integers(1, 3)), 0.0
        spare = int(rng.choice([0, 0, 1, 2, _ALL_ROUNDS]))
    items = kernel_h * kernel_w
    packed, rounds = [], 0
    for _ in range(blocks):
        weights = rng.integers(1, 256, (items, core.rows, core.cols), np.uint8).view(np.int8)
        if not corner:
            amount = float(rng.choice([0.0, 0.1, 0.3, 0.6, 1.0]))
            weights[rng.random(items) < 0.1] = 0
            weights[:, :, rng.random(core.cols) < 0.1] = 0
        if isinstance(amount, int):
            weights.reshape(-1)[rng.permutation(weights.size)[amount:]] = 0
        else:
            weights[rng.random(weights.shape) >= amount] = 0
        order = rng.permutation(core.cols)
        while (above := layout.rounds(weights, order) - core.sparse_depth) > 0:
            weights[rng.random(weights.shape) < (0.05 if above > 2 else 0.01)] = 0
        packed.append((weights, order))
        rounds = max(rounds, layout.rounds(weights, order))
    rounds = min(core.sparse_depth, rounds + spare)
    if items > core.sparse_items:
        return None
    raws = [layout.pack(weights, order, rounds).view(np.uint8) for weights, order in packed]
    return Listed(
        {"kernel_h": kernel_h, "kernel_w": kernel_w}, {"blocks": blocks, "rounds": rounds}, np.concatenate(raws),
        _damaged(rng, core, items, raws),
    )  # fmt: skip


def _damaged(rng: np.random.Generator, core: CoreParams, items: int, raws: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Each way in which masks, lanes and lists may contradict each other, in the last of the passes uint8[N]."""
    pes, mask_bytes = core.sparse_lanes * core.sparse_columns, items * core.pes // 8
    raw = raws[-1]
    rounds = (raw.size - mask_bytes - core.cols) // pes
    lanes, spoilt = raw[mask_bytes : mask_bytes + core.cols], {}
    slot = int(rng.integers(core.cols))
    others = {"a lane twice": lanes[slot - 1]}
    if core.cols < 256:
        others["no such lane"] = lanes[slot] | 1 << int(rng.integers(exact_log2(core.cols), 8))
    for fault, lane in others.items():
        spoilt[fault] = raw.copy()
        spoilt[fault][mask_bytes + slot] = lane
    bits = np.unpackbits(raw[:mask_bytes], bitorder="little").reshape(items, pes, -1)
    pe = int(rng.integers(pes))
    own = bits[:, pe].reshape(-1)
    missing = rounds + 1 - int(own.sum())
    if missing <= own.size - own.sum():
        own[rng.permutation(np.flatnonzero(own == 0))[:missing]] = 1
        bits[:, pe] = own.reshape(items, -1)
        spoilt["a weight too many"] = raw.copy()
        spoilt["a weight too many"][:mask_bytes] = np.packbits(bits, bitorder="little")
    return {fault: np.concatenate([*raws[:-1], one]) for fault, one in spoilt.items()}


SPARSE = EngineFuzz(_options, _illegal, passes=_passes)
