"""Random programs for the sparse engine: passes whose masks, lanes and lists agree."""

from __future__ import annotations

import numpy as np

from rtl.contract.codec import field_range
from rtl.contract.isa import Opcode
from rtl.contract.params import CoreParams
from scheduler.plan.layout import SparseWeights
from tb.fuzz.engines.fuzz import EngineFuzz, Fields, Listed

__all__ = ["SPARSE"]

_KERNELS = ((1, 1), (1, 1), (1, 2), (2, 2), (3, 1), (1, 3), (3, 3))


def _options(rng: np.random.Generator, core: CoreParams, geometry: Fields) -> dict[str, int]:
    return {"run_ahead": int(rng.integers(core.sparse_slots)), "skip_acts": int(rng.random() < 0.8)}


def _illegal(rng: np.random.Generator, core: CoreParams) -> list[dict[str, int]]:
    most = field_range(Opcode.SETUP, "run_ahead")[1]
    most_items = core.sparse_items
    spoils = [{"kernel_h": most_items // 2 + 1, "kernel_w": 2}, {"kernel_h": 1, "kernel_w": most_items + 1}]
    if core.sparse_slots <= most:
        spoils.append({"run_ahead": int(rng.integers(core.sparse_slots, most + 1))})
    return spoils


def _passes(rng: np.random.Generator, core: CoreParams) -> Listed | None:
    """One or two passes of some density, weights left out at random, of a whole PE, or of a whole item."""
    kernel_h, kernel_w = _KERNELS[rng.integers(len(_KERNELS))]
    items, blocks = kernel_h * kernel_w, int(rng.integers(1, 3))
    layout = SparseWeights(core)
    packed, rounds = [], 0
    for _ in range(blocks):
        weights = rng.integers(-128, 128, (items, core.rows, core.cols), np.int8)
        weights[rng.random(weights.shape) >= rng.choice([0.0, 0.1, 0.3, 0.6, 1.0])] = 0
        weights[rng.random(items) < 0.1] = 0
        weights[:, :, rng.random(core.cols) < 0.1] = 0
        order = rng.permutation(core.cols)
        packed.append((weights, order))
        rounds = max(rounds, layout.rounds(weights, order))
    rounds = min(core.sparse_depth, rounds + int(rng.choice([0, 0, 2])))
    if items > core.sparse_items or any(layout.rounds(*one) > rounds for one in packed):
        return None
    raw = np.concatenate([layout.pack(weights, order, rounds) for weights, order in packed])
    return Listed({"kernel_h": kernel_h, "kernel_w": kernel_w}, {"blocks": blocks, "rounds": rounds}, raw)


SPARSE = EngineFuzz(_options, _illegal, passes=_passes)
