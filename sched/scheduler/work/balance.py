"""The static half of the sparse engine's balance: which weights share a PE.

A pass of the engine (`lanes` x `columns` PEs) holds weights of T items, R activations and C filters. Two things decide
how long the list of each PE is, and both are settled before anything runs:

- Filters differ in density. `share_columns` puts heavy and light ones into the same column. The engine's lane table
  gives the sums back their places, so the order costs nothing.
- So do channels. The channels of a lane rotate by one group from item to item, hence over `lanes` items each lane has
  had them all.

What is left, that lists differ from item to item, PEs make up for by running ahead.
"""

from __future__ import annotations

import numpy as np

from estimator.engines.sparse.pairs import of_lanes

__all__ = ["lane_weights", "list_lengths", "share_columns"]


def lane_weights(kept: np.ndarray, lanes: int, *, rotated: bool = True) -> np.ndarray:
    """Number of weights of each item, lane and filter, int[..., T, lanes, C].

    Parameters
    ----------
    kept : bool[..., T, R, C]
        Which weights are in the lists, by item, activation and filter; `lanes` divides R.
    rotated : bool
        Lane r has channel group (r + t) mod lanes at item t; without, always group r.
    """
    *passes, items, rows, filters = kept.shape
    groups = kept.reshape(*passes, items, lanes, rows // lanes, filters).sum(axis=-2)
    return of_lanes(groups, groups.ndim - 3) if rotated else groups


def list_lengths(kept: np.ndarray, order: np.ndarray, lanes: int, columns: int, *, rotated: bool = True) -> np.ndarray:
    """Number of weights of each item and PE of a pass, int[T, lanes, columns].

    Parameters
    ----------
    kept, rotated
        As of `lane_weights`, of one pass.
    order : int[C]
        The filters as columns take them: column c has the c-th share.
    """
    weights = lane_weights(kept, lanes, rotated=rotated)[..., order]
    return weights.reshape(*weights.shape[:-1], columns, -1).sum(axis=-1)


def share_columns(weights: np.ndarray, columns: int) -> np.ndarray:
    """Orders of the filters, int[..., C], in which no PE of a pass has a list much longer than the others.

    Greedy, heaviest filter first: each goes to the column, among those with room, whose longest list is then shortest;
    of equal ones to that with fewest weights. Of one lane and two filters a column no order is better; of several
    lanes it comes within 2 % of the best in the mean (`tests/unit/sched/scheduler/work/test_balance.py`).

    Parameters
    ----------
    weights : int[..., lanes, C]
        Number of weights of each lane and filter in a pass: `lane_weights`, added up over the items. `columns`
        divides C.
    """
    *passes, lanes, filters = weights.shape
    flat = weights.reshape(-1, lanes, filters)
    each = np.arange(len(flat))
    share = filters // columns
    lists = np.zeros((len(flat), columns, lanes), np.int64)
    taken = np.zeros((len(flat), columns), np.int64)
    order = np.empty((len(flat), filters), np.int64)
    unit = 1 + int(flat.sum(axis=(1, 2)).max(initial=0))  # one weight of the longest list counts more than all others
    for number in np.argsort(-flat.sum(axis=1), axis=1, kind="stable").T:
        grown = lists + flat[each, :, number][:, None, :]
        cost = unit * grown.max(axis=2) + grown.sum(axis=2)
        column = np.where(taken < share, cost, unit * unit + unit).argmin(axis=1)
        lists[each, column] = grown[each, column]
        order[each, share * column + taken[each, column]] = number
        taken[each, column] += 1
    return order.reshape(*passes, filters)
