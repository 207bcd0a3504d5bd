"""Balance of the sparse engine: lists against plain loops, orders of filters against all there are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from scheduler.work.balance import lane_weights, list_lengths, share_columns

SMALL = (2, 3)
"""Lanes and columns of a small engine."""


def _masks(seed: int, items: int = 3, rows: int = 8, filters: int = 6) -> np.ndarray:
    """Filters and channels that differ in density."""
    rng = np.random.default_rng(seed)
    density = 0.4 * np.exp(0.5 * rng.standard_normal(filters)) * np.exp(0.5 * rng.standard_normal((rows, 1)))
    return rng.random((items, rows, filters)) < density


@pytest.mark.parametrize("rotated", [True, False])
def test_a_pe_has_the_weights_of_its_channels_and_filters(rotated: bool) -> None:
    lanes, columns = 4, 3
    kept, order = _masks(0, items=6), np.random.default_rng(1).permutation(6)
    lengths = list_lengths(kept, order, lanes, columns, rotated=rotated)
    expected = np.zeros((6, lanes, columns), int)
    for item in range(6):
        for row in range(8):
            for slot in range(6):
                lane = (row // 2 - item * rotated) % lanes
                expected[item, lane, slot // 2] += kept[item, row, order[slot]]
    np.testing.assert_array_equal(lengths, expected)


def test_over_as_many_items_as_lanes_each_lane_has_all_channels() -> None:
    """So lanes have equal work where channels alone differ; without rotation they do not."""
    kept = np.broadcast_to(np.arange(8)[:, None] < 3, (4, 8, 6))
    even, uneven = (lane_weights(kept, 4, rotated=rotated).sum(axis=(0, 2)) for rotated in (True, False))
    assert even.tolist() == [18, 18, 18, 18]
    assert uneven.tolist() == [48, 24, 0, 0]


def _pairings(filters: list[int]) -> Iterator[list[int]]:
    """All ways to put filters into pairs, as orders."""
    if not filters:
        yield []
        return
    first, *others = filters
    for other in others:
        for rest in _pairings([each for each in others if each != other]):
            yield [first, other, *rest]


def _longest(kept: np.ndarray, order: np.ndarray | list[int], lanes: int, columns: int) -> int:
    return int(list_lengths(kept, np.array(order), lanes, columns).sum(axis=0).max())


def test_with_one_lane_no_pairing_is_better() -> None:
    for seed in range(20):
        kept = _masks(seed, filters=8)
        order = share_columns(lane_weights(kept, 1).sum(axis=0), 4)
        assert sorted(order) == list(range(8))
        assert _longest(kept, order, 1, 4) == min(_longest(kept, each, 1, 4) for each in _pairings(list(range(8))))


def test_with_several_lanes_the_longest_list_is_close_to_the_shortest_there_is() -> None:
    lanes, columns = SMALL
    kept = np.stack([_masks(seed) for seed in range(100)])
    orders = share_columns(lane_weights(kept, lanes).sum(axis=1), columns)
    pairings = list(_pairings(list(range(6))))
    found = [_longest(each, order, lanes, columns) for each, order in zip(kept, orders, strict=True)]
    best = [min(_longest(each, order, lanes, columns) for order in pairings) for each in kept]
    plain = [_longest(each, np.arange(6), lanes, columns) for each in kept]
    assert all(np.array_equal(np.sort(order), np.arange(6)) for order in orders)
    assert sum(found) < 1.02 * sum(best) < 0.9 * sum(plain)


def test_more_than_two_filters_share_a_column_and_none_is_lost() -> None:
    kept = _masks(5, filters=12)
    order = share_columns(lane_weights(kept, 4).sum(axis=0), 3)
    assert sorted(order) == list(range(12))
    assert _longest(kept, order, 4, 3) < _longest(kept, np.arange(12), 4, 3)
    nothing = share_columns(np.zeros((4, 12), int), 3)
    assert sorted(nothing) == list(range(12))
