"""The recursion where its answer is known; the bench of the engine holds it to the RTL, cycle by cycle."""

from __future__ import annotations

import numpy as np
import pytest

from estimator.engines.sparse.recursion import run_ahead


def _pairs(seed: int, shape: tuple[int, ...], most: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.binomial(most, rng.choice([0.0, 0.2, 0.9], (shape[0], *[1] * (len(shape) - 1))), shape)


def test_without_run_ahead_each_item_takes_as_long_as_its_slowest_pe() -> None:
    pairs = _pairs(0, (60, 4, 8))
    times = run_ahead(pairs, items=60, ahead=0, groups=4)
    np.testing.assert_array_equal(times.release, np.maximum(pairs.max(axis=(1, 2)), 1).cumsum())
    np.testing.assert_array_equal(times.accept[1:], times.release[:-1])


def test_with_more_run_ahead_than_items_the_busiest_pe_decides() -> None:
    pairs = _pairs(1, (60, 4, 8)) + 1
    times = run_ahead(pairs, items=60, ahead=60, groups=4)
    np.testing.assert_array_equal(times.accept, np.arange(60))
    left = pairs[::-1].cumsum(axis=0)[::-1]  # from each item on
    assert times.release[-1] == max(start + left[start].max() for start in range(60))


@pytest.mark.parametrize(("columns", "groups"), [(2, 2), (8, 8), (32, 8), (32, 4)])
def test_the_collector_takes_a_cycle_for_each_group_of_columns(columns: int, groups: int) -> None:
    times = run_ahead(np.ones((40, 2, columns), int), items=1, ahead=4, groups=groups)
    assert set(np.diff(times.update[8:])) == {groups}


@pytest.mark.parametrize("ahead", [0, 3])
def test_engines_side_by_side_are_nothing_to_each_other(ahead: int) -> None:
    """And times of few cycles, which are kept in short integers, are those of long ones."""
    pairs = _pairs(2, (48, 2, 3, 4, 16))
    together = run_ahead(pairs, items=4, ahead=ahead, groups=8, each=True)
    assert together.update.dtype == np.int16
    assert together.update.shape == (12, 2, 3)
    for way in np.ndindex(2, 3):
        alone = run_ahead(pairs[:, *way], items=4, ahead=ahead, groups=8, offered=np.zeros(48, int), each=True)
        for several, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(several[:, *way], one)
    np.testing.assert_array_equal(together.finish.max(axis=(-2, -1)), together.release)


def test_no_time_is_beyond_the_integers_that_hold_it() -> None:
    pairs = np.full((3000, 1, 2), 16)
    np.testing.assert_array_equal(run_ahead(pairs, items=3, ahead=2, groups=2).release, 16 * np.arange(1, 3001))


@pytest.mark.parametrize(("pixels", "rows"), [(1, 50), (4, 50), (4, 3)])
def test_passes_follow_each_other_as_fast_as_pixels_and_weights_do(pixels: int, rows: int) -> None:
    passes, items = 12, 3
    pairs = np.full((passes * pixels * items, 2, 4), 5)
    times = run_ahead(pairs, items=items, ahead=2, groups=4, weight_rows=[rows] * passes)
    assert times.accept[0] == rows
    assert set(np.diff(times.accept[:: pixels * items])[3:]) == {max(rows + 1, pixels * items * 5)}
