"""Arms that no build of the RTL has, by the recursion of its cycles on masks: lanes that do not rotate, narrower ports,
and masks that are drawn.

The RTL follows the recursion exactly (`tests/unit/rtl/engines/test_sparse.py`). What it leaves out here are waits for
weights, DRAM, and instructions; so these figures compare with each other, not with simulated layers. The dense array
that they are over has as many multipliers, and never waits either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from estimator.engines.sparse.pairs import of_lanes
from estimator.engines.sparse.recursion import run_ahead
from rtl.contract.params import CoreParams
from scheduler.work.balance import lane_weights, share_columns
from tb.experiment.sparse.masks import LAYERS, MASKS, Layer, masks_of, real_layers
from tb.run.presets import NAMED_CHIPS

__all__ = ["BALANCE_ARMS", "CORE", "MASK_AHEADS", "PORTS", "STUDIES", "over_dense", "passes_of", "products"]

CORE: CoreParams = NAMED_CHIPS["sparse1"].cores[0]
AHEAD = 4
BALANCE_ARMS = {
    "none": (False, False), "rotation": (True, False), "pairing": (False, True), "both": (True, True)
}  # fmt: skip
"""Whether lanes rotate, and whether heavy and light filters share columns."""
PORTS = (64, 32, 16)
"""Bytes of an item that the activation port brings in a cycle."""
MASK_AHEADS = (0, 1, 2, 4, 8)
PASSES, PIXELS = 8, 48
"""Passes of a layer that are looked at, evenly, and consecutive pixels of each."""


def passes_of(layer: Layer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some passes of a layer: weights that are kept, bool[T, R, C], and activations that are not zero, bool[pixels, T,
    R], of consecutive pixels in the middle of the map."""
    kept, live = layer.kept, np.pad(layer.live, ((0, 0), *zip(layer.padding[:2], layer.padding[2:], strict=True)))
    filters, channels, kernel_h, kernel_w = kept.shape
    pairs = [(f, c) for f in range(0, filters, CORE.cols) for c in range(0, channels, CORE.rows)]
    width = live.shape[2] - kernel_w + 1
    height = live.shape[1] - kernel_h + 1
    first = max(0, (height * width - PIXELS) // 2)
    y, x = np.divmod(np.arange(first, min(first + PIXELS, height * width)), width)
    for number in np.linspace(0, len(pairs) - 1, min(PASSES, len(pairs))).astype(int):
        f, c = pairs[number]
        own = kept[f : f + CORE.cols, c : c + CORE.rows]
        own = np.pad(own, ((0, CORE.cols - own.shape[0]), (0, CORE.rows - own.shape[1]), (0, 0), (0, 0)))
        words = np.pad(live[c : c + CORE.rows], ((0, max(0, c + CORE.rows - channels)), (0, 0), (0, 0)))
        items = [words[:, y + ky, x + kx].T for ky in range(kernel_h) for kx in range(kernel_w)]
        yield own.transpose(2, 3, 1, 0).reshape(-1, CORE.rows, CORE.cols), np.stack(items, axis=1)


def products(kept: np.ndarray, live: np.ndarray, *, rotated: bool, paired: bool) -> np.ndarray:
    """Products of each item and PE, int[pixels * T, lanes, columns]."""
    lanes, columns = CORE.sparse_lanes, CORE.sparse_columns
    order = np.arange(CORE.cols)
    if paired:
        order = share_columns(lane_weights(kept, lanes, rotated=rotated).sum(axis=0), columns)
    items = kept.shape[0]
    met = kept[..., order].reshape(items, lanes, -1, columns, CORE.cols // columns).sum(axis=-1)
    found = np.einsum("ptla,tlac->ptlc", live.reshape(*live.shape[:2], lanes, -1).astype(np.int64), met)
    if rotated:
        found = of_lanes(found, 1)
    return found.reshape(-1, lanes, columns)


def over_dense(
    layers: Mapping[str, Layer], *, rotated: bool = True, paired: bool = True, ahead: int = AHEAD, port: int = 64
) -> float:
    """Over a dense array with as many multipliers, of some passes of all layers."""
    dense = sparse = 0.0
    for layer in layers.values():
        passes = list(passes_of(layer))
        pairs = np.stack([products(*each, rotated=rotated, paired=paired) for each in passes], axis=1)
        items = passes[0][0].shape[0]
        times = run_ahead(
            pairs, items=items, ahead=ahead, groups=CORE.collector_groups, item_cycles=CORE.rows // port
        )
        sparse += float(times.update[-1].sum())
        multipliers = CORE.sparse_lanes * CORE.sparse_columns
        dense += len(pairs) * len(passes) * CORE.rows * CORE.cols / multipliers
    return dense / sparse


def _balance() -> dict[str, float]:
    layers = real_layers()
    return {arm: over_dense(layers, rotated=rotated, paired=paired) for arm, (rotated, paired) in BALANCE_ARMS.items()}


def _ports() -> dict[str, float]:
    return {str(port): over_dense(real_layers(), port=port) for port in PORTS}


def _of_kind(kind: str) -> dict[str, float]:
    layers = {name: masks_of(kind, name) for name in LAYERS}
    return {str(ahead): over_dense(layers, ahead=ahead) for ahead in MASK_AHEADS}


STUDIES: dict[str, Callable[[], Mapping[str, float]]] = {
    "balance": _balance, "ports": _ports, **{f"masks {kind}": partial(_of_kind, kind) for kind in MASKS}
}  # fmt: skip
"""By name; figures of each by what they are of."""
