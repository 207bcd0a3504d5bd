"""Addresses of what stays on the chip."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.fuse.pack import Item, largest_gap, pack
from scheduler.map.budget import Range

LIVES = st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(1, 9)).map(
    lambda drawn: Item(drawn[0], drawn[0] + drawn[1], 8 * drawn[2])
)
ITEMS = st.lists(LIVES, max_size=12).map(lambda items: {f"t{number}": item for number, item in enumerate(items)})


@given(ITEMS, st.integers(4, 30))
def test_what_lives_at_the_same_time_never_overlaps(items: dict[str, Item], words: int) -> None:
    placed = pack(items, 8 * words)
    if placed is None:
        return
    assert placed.keys() == items.keys()
    for part in range(20):
        alive = sorted(placed[name] for name, item in items.items() if item.first <= part <= item.last)
        assert all(before.end <= after.first for before, after in pairwise(alive))
        assert all(place.first >= 0 and place.end <= 8 * words for place in alive)
    for name, item in items.items():
        assert placed[name].size == item.nbytes


@given(ITEMS)
def test_what_fits_side_by_side_is_placed(items: dict[str, Item]) -> None:
    assert pack(items, sum(item.nbytes for item in items.values())) is not None


@given(ITEMS, st.integers(0, 16), st.integers(0, 2))
def test_the_largest_gap_is_free_and_no_smaller_than_any(items: dict[str, Item], first: int, parts: int) -> None:
    capacity = sum(item.nbytes for item in items.values()) + 16
    placed = pack(items, capacity)
    assert placed is not None
    gap = largest_gap(items, placed, first, first + parts, capacity)
    taken = [placed[name] for name, item in items.items() if item.first <= first + parts and first <= item.last]
    used = {byte for place in taken for byte in range(*place)}
    assert not used & set(range(*gap))
    runs = [0]
    for byte in range(capacity):
        runs.append(0 if byte in used else runs[-1] + 1)
    assert gap.size == max(runs)


@pytest.mark.parametrize(("size", "fits"), [(24, True), (25, False)])
def test_three_of_which_two_live_at_once(size: int, fits: bool) -> None:
    items = {"a": Item(0, 1, 8), "b": Item(1, 2, 16), "c": Item(2, 3, size - 16)}
    placed = pack(items, 24)
    assert (placed is not None) == fits
    if placed is not None:
        assert placed["b"] in (Range(8, 24), Range(0, 16))
