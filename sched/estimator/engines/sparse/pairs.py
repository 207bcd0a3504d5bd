"""Products of the sparse engine: how many weights of each PE meet an activation that is not zero."""

from __future__ import annotations

import numpy as np

from rtl.contract.params import CoreParams

__all__ = ["met_weights", "of_lanes", "pairs"]


def met_weights(kept: np.ndarray, orders: np.ndarray, core: CoreParams) -> np.ndarray:
    """Weights that each activation of a PE meets there, uint8[passes, T, lanes, A, columns], A = R / lanes.

    Their sum over A is the length of each PE's list.

    Parameters
    ----------
    kept : bool[passes, T, R, C]
        Which weights are in the lists, by item, activation and filter.
    orders : int[passes, C]
        The filters as columns take them: column c has the c-th share.
    """
    passes, items, rows, _ = kept.shape
    lanes, columns = core.sparse_lanes, core.sparse_columns
    met = np.zeros((passes, items, rows, columns), np.uint8)
    for number, order in enumerate(orders):
        for filters in order.reshape(columns, -1).T:
            met[number] += kept[number].take(filters, axis=-1)
    return of_lanes(met.reshape(passes, items, lanes, rows // lanes, columns), 1)


def pairs(met: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Products of each item and PE, uint8[pixels * T, passes, lanes, columns].

    Parameters
    ----------
    met : uint8[passes, T, lanes, A, columns]
        Of `met_weights`.
    live : bool[passes, pixels, T, R]
        Which activations are not zero.
    """
    passes, pixels, items = live.shape[:3]
    lanes, acts, columns = met.shape[2:]
    groups = live.transpose(0, 2, 1, 3).reshape(passes, items, pixels, lanes, acts)
    by_lane = of_lanes(groups.swapaxes(2, 3), 1)
    # Sums of few small integers are exact in float32, whose products are the fastest.
    found = np.matmul(by_lane.astype(np.float32), met.astype(np.float32)).astype(np.uint8)
    return found.transpose(3, 1, 0, 2, 4).reshape(pixels * items, passes, lanes, columns)


def of_lanes(groups: np.ndarray, axis: int) -> np.ndarray:
    """[..., T, lanes, ...] by channel group as lanes have it: group (lane + t) mod lanes at item t.

    Parameters
    ----------
    axis : int
        That of the items; the next one is that of the groups.
    """
    items, lanes = groups.shape[axis : axis + 2]
    item = np.arange(items)[:, None]
    return groups[(slice(None),) * axis + (item, (np.arange(lanes) + item) % lanes)]
