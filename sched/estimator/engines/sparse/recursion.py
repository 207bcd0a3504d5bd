"""Cycles of the sparse engine: the recursion that says when each PE is done with each item.

PEs that run ahead of the slowest by up to s items are a max-plus system (Baccelli et al., Synchronization and
Linearity, 1992): whatever waits, waits for the latest of a few things. In cycles, of item j, PE i, pixel p:

    accept(j)    = max(accept(j-1) + 1, offered(j), release(j-1-s))                 a slot is free, or is in this cycle
    finish(i, j) = max(finish(i, j-1), accept(j)) + max(1, pairs(i, j))
                   and, of the last item of p, at least collect(p-1, g)             g: the PE's collector group
    release(j)   = max_i finish(i, j)
    collect(p, g) = max(collect of the group before + 1, max_i finish(i, last item of p) + 2)
    update(p)    = collect(p, last group) + 1

The group before the first one is the last one of pixel p - 1. The first item of pass k also waits for its weights, n
rows of them, a row a cycle, for which the engine has two banks:

    accept(first item of k) >= max(accept(first item of k-1) + 1, update(last pixel of k-2)) + n
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

__all__ = ["RunAhead", "run_ahead"]

_COLLECT_CYCLES = 2
"""From the last product of a PE to the first cycle in which its sums can be collected."""


class RunAhead(NamedTuple):
    """When things happen, in cycles.

    Attributes
    ----------
    accept, release : int[N, ...]
        Each item enters a slot; all PEs are done with it.
    update : int[N // items, ...]
        Each pixel's update comes out.
    finish : int[N, ..., lanes, columns]
        Each PE is done with each item; of no item unless it was asked for.
    """

    accept: np.ndarray
    release: np.ndarray
    update: np.ndarray
    finish: np.ndarray


def run_ahead(
    pairs: np.ndarray,
    *,
    items: int,
    ahead: int,
    groups: int,
    offered: np.ndarray | None = None,
    weight_rows: Sequence[int] = (),
    each: bool = False,
    item_cycles: int = 1,
) -> RunAhead:
    """The recursion, of one engine or of many side by side.

    Parameters
    ----------
    pairs : int[N, ..., lanes, columns]
        Products of each item and PE; an axis between for each way to tell engines apart.
    items : int
        Of a pixel; N is a multiple of it.
    ahead : int
        By how many items a PE may be ahead of the slowest.
    groups : int
        Of columns, which the collector takes one after the other (`CoreParams.collector_groups`).
    offered : int[N, ...], optional
        First cycle in which each item may be accepted; 0 for all.
    weight_rows : sequence of int, optional
        Rows of weights of each pass, of N / items / passes pixels each; without, no item waits for weights. Those of
        the first pass come from cycle 0 on.
    each : bool
        Say when each PE is done, too.
    item_cycles : int
        From one accepted item to the next, at least: 1 in the RTL, more for a port that is narrower than an item.
    """
    count, *engines, lanes, columns = pairs.shape
    of_pass = count // max(1, len(weight_rows))
    # Times of a run are below `bound`; those of the PEs take most of the work, and are half as long where they can be.
    bounded = offered is None and not weight_rows
    kind = _kind(count, int(pairs.max(initial=item_cycles)), groups) if bounded else np.int64
    pairs = pairs.reshape(count, -1, lanes * columns)
    many = pairs.shape[1]
    accept, release = (np.zeros((count, many), kind) for _ in range(2))
    update = np.zeros((count // items, many), kind)
    finish = np.zeros((count if each else 0, *pairs.shape[1:]), kind)
    work = np.empty(pairs.shape[1:], pairs.dtype)
    now = np.full(pairs.shape[1:], -1, kind)
    accepted = np.full(many, -1, kind)
    collected = np.full((groups, many), -1, kind)
    order = np.arange(groups, dtype=kind)[:, None]
    for item in range(count):
        accepted += item_cycles if item else 1
        if offered is not None:
            np.maximum(accepted, offered[item].reshape(-1), out=accepted)
        if weight_rows and not item % of_pass:
            bank_free = accept[item - of_pass] + 1 if item else np.zeros(many, kind)
            if item >= 2 * of_pass:
                bank_free = np.maximum(bank_free, update[(item - of_pass) // items - 1])
            np.maximum(accepted, bank_free + weight_rows[item // of_pass], out=accepted)
        if item > ahead:
            np.maximum(accepted, release[item - 1 - ahead], out=accepted)
        accept[item] = accepted
        np.maximum(now, accepted[:, None], out=now)
        now += np.maximum(pairs[item], 1, out=work)
        if item % items == items - 1:
            by_lane = now.reshape(many, lanes, columns)
            np.maximum(by_lane, collected.repeat(columns // groups, axis=0).T[:, None], out=by_lane)
            of_columns = by_lane.max(axis=1)
            due = reduce(np.maximum, (of_columns[:, n :: columns // groups] for n in range(columns // groups))).T
            # collect(g) - g grows from group to group.
            due = np.maximum(due + (_COLLECT_CYCLES - order), collected[-1] + 1)
            np.maximum.accumulate(due, axis=0, out=collected)
            collected += order
            update[item // items] = collected[-1] + 1
        now.max(axis=1, out=release[item])
        if each:
            finish[item] = now
    accept, release, update = (times.reshape(-1, *engines) for times in (accept, release, update))
    return RunAhead(accept, release, update, finish.reshape(len(finish), *engines, lanes, columns))


def _kind(items: int, most: int, groups: int) -> type[np.signedinteger]:
    """The shortest integers that hold every time of a run without waits, of at most `most` products an item."""
    return np.int16 if items * (most + groups + _COLLECT_CYCLES + 1) < 1 << 15 else np.int32
