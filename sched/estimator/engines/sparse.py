"""Cycles of the sparse engine: the recursion that says when each PE is done with each item.

PEs that run ahead of the slowest by up to s items are a max-plus system (Baccelli et al., Synchronization and
Linearity, 1992): whatever waits, waits for the latest of a few things. In cycles, of item j, PE i, pixel p:

    accept(j)    = max(accept(j-1) + 1, offered(j), release(j-1-s))                 a slot is free, or is in this cycle
    finish(i, j) = max(finish(i, j-1), accept(j)) + max(1, pairs(i, j))
                   and, of the last item of p, at least collect(p-1, g)             g: the PE's collector group
    release(j)   = max_i finish(i, j)
    collect(p, g) = max(collect of the group before + 1, max_i finish(i, last item of p) + 2)
    update(p)    = collect(p, last group) + 1

The group before the first one is the last one of pixel p - 1.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np

from estimator.coefficients import EngineCycles
from estimator.engines.engine import EngineTiming, Fields, Pass
from rtl.contract.engines.sparse import SPARSE as CONTRACT
from rtl.contract.params import CoreParams

__all__ = ["COLLECTOR_GROUPS", "SPARSE", "RunAhead", "run_ahead"]

COLLECTOR_GROUPS = 8
"""Cycles in which the collector goes over the columns, if there are as many."""
_COLLECT_CYCLES = 2
"""From the last product of a PE to the first cycle in which its sums can be collected."""


class RunAhead(NamedTuple):
    """When things happen, in cycles.

    Attributes
    ----------
    accept : int[N]
        Each item enters a slot.
    finish : int[N, lanes, columns]
        Each PE is done with each item.
    update : int[N // items]
        Each pixel's update comes out.
    """

    accept: np.ndarray
    finish: np.ndarray
    update: np.ndarray


def run_ahead(pairs: np.ndarray, *, items: int, ahead: int, offered: np.ndarray | None = None) -> RunAhead:
    """The recursion, over items that follow one another without a wait for weights.

    Parameters
    ----------
    pairs : int[N, lanes, columns]
        Products of each item and PE.
    items : int
        Of a pixel; N is a multiple of it.
    ahead : int
        By how many items a PE may be ahead of the slowest.
    offered : int[N], optional
        First cycle in which each item may be accepted; 0 for all.
    """
    count, _, columns = pairs.shape
    work = np.maximum(pairs, 1).astype(np.int64)
    offered = np.zeros(count, np.int64) if offered is None else offered
    groups = min(COLLECTOR_GROUPS, columns)
    accept, release = np.zeros(count, np.int64), np.zeros(count, np.int64)
    finish = np.zeros(work.shape, np.int64)
    update = np.zeros(count // items, np.int64)
    now = np.full(work.shape[1:], -1, np.int64)
    collected = np.full(groups, -1, np.int64)
    for item in range(count):
        accept[item] = max(
            accept[item - 1] + 1 if item else 0,
            offered[item],
            release[item - 1 - ahead] if item > ahead else 0,
        )
        now = np.maximum(now, accept[item]) + work[item]
        if item % items == items - 1:
            now = np.maximum(now, np.repeat(collected, columns // groups))
            due = now.max(axis=0).reshape(groups, -1).max(axis=1) + _COLLECT_CYCLES
            # collect(g) - g grows from group to group.
            order = np.arange(groups)
            collected = np.maximum.accumulate(np.maximum(due - order, collected[-1] + 1)) + order
            update[item // items] = collected[-1] + 1
        finish[item], release[item] = now, now.max()
    return RunAhead(accept, finish, update)


ASSUMED_DENSITY = 0.5
"""Share of the activations that are not zero, where nobody knows it."""


class _Sparse(EngineTiming):
    """Cycles of passes, from the rounds of their lists and an assumed density of the activations.

    The PE with the longest list has so many products a pixel as it has weights with an activation that is not zero; an
    item takes at least a cycle, and so does a group of the collector. What PEs wait for each other is not in it.
    """

    name = "sparse"
    setup_fields = frozenset({"kernel_h", "kernel_w", "out_w", "skip_acts"})
    cycles = EngineCycles(start=2.0, drain=16.0, idle=16.0)

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        items = setup["kernel_h"] * setup["kernel_w"]
        skips = bool(setup["skip_acts"])
        return fields["blocks"], Pass(
            fields["out_h"], setup["out_w"], items=items, rounds=fields["rounds"], skips=skips
        )

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        assert CONTRACT.lists is not None
        products = streamed.rounds * (ASSUMED_DENSITY if streamed.skips else 1.0)
        of_pixel = max(streamed.items, products, min(COLLECTOR_GROUPS, core.sparse_columns))
        weights = streamed.items * CONTRACT.weight_rows(core) + CONTRACT.lists.rows(core, streamed.rounds)
        return max(ceil(streamed.pixels * of_pixel), weights)

    def pass_pixels(self, streamed: Pass) -> int:
        return streamed.pixels * streamed.items


SPARSE = _Sparse()
