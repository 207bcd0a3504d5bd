"""The recursion of the sparse engine against a loop over cycles that knows slots, PEs and collector one by one."""

from __future__ import annotations

import numpy as np
import pytest

from estimator.engines.sparse.recursion import run_ahead

SHAPES = (1, 4, 4), (3, 2, 2), (2, 16, 8), (1, 16, 4)
CASES = [(ahead, *shape) for ahead in (0, 1, 3) for shape in SHAPES]


def cycle_by_cycle(
    pairs: np.ndarray, items: int, ahead: int, groups: int, offered: np.ndarray
) -> tuple[list[int], list[int]]:
    """Cycles in which items are accepted and updates come, of int[N, PEs, lane after lane] and columns."""
    count, lanes, columns = pairs.shape
    at, left = np.zeros((lanes, columns), int), np.maximum(pairs[0], 1)
    ready = np.full((lanes, columns), -1)  # cycle from which on the sums of a pixel can be collected; -1: none are kept
    accept, update, released, group = [], [], 0, 0
    for cycle in range(100_000):
        if len(update) * items == count:
            return accept, update
        mine = np.arange(columns) // (columns // groups) == group
        collected = bool(np.all((ready[:, mine] >= 0) & (ready[:, mine] <= cycle)))
        if collected:
            ready[:, mine] = -1
        for pe in np.ndindex(lanes, columns):
            if at[pe] >= len(accept):
                continue
            ends = at[pe] % items == items - 1
            if left[pe] == 1 and ends and ready[pe] >= 0:
                continue
            left[pe] -= 1
            if not left[pe]:
                if ends:
                    ready[pe] = cycle + 2
                at[pe] += 1
                left[pe] = max(pairs[at[pe]][pe], 1) if at[pe] < count else 1
        if collected:
            group = (group + 1) % groups
            update += [cycle + 1] * (group == 0)
        released = max(released, int(at.min()))  # free in the very cycle in which the last PE leaves
        item = len(accept)
        if item < count and cycle >= offered[item] and item - released <= ahead:
            accept.append(cycle)
    raise AssertionError("nothing moves any more")


@pytest.mark.parametrize(("ahead", "items", "columns", "groups"), CASES)
def test_the_recursion_is_a_loop_over_cycles(ahead: int, items: int, columns: int, groups: int) -> None:
    rng = np.random.default_rng(ahead + items)
    pairs = rng.integers(0, 5, (8 * items, 2, columns)) * (rng.random((8 * items, 1, 1)) < 0.8)
    offered = np.cumsum(rng.choice([0, 1, 1, 9], 8 * items))
    wanted = run_ahead(pairs, items=items, ahead=ahead, groups=groups, offered=offered)
    accept, update = cycle_by_cycle(pairs, items, ahead, groups, offered)
    assert (wanted.accept.tolist(), wanted.update.tolist()) == (accept, update)
