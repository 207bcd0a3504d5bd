"""Addresses of what stays on the chip: things that live at the same time never overlap."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from scheduler.map.budget import Range

__all__ = ["Item", "largest_gap", "pack"]

K = TypeVar("K", bound=Hashable)

STEPS = 20_000
"""Of the search, before it gives up."""


class Item(NamedTuple):
    """Something of so many bytes that lives from a first part to a last one.

    Attributes
    ----------
    first, last : int
    nbytes : int
    """

    first: int
    last: int
    nbytes: int

    def meets(self, first: int, last: int) -> bool:
        return self.first <= last and first <= self.last


def pack(items: Mapping[K, Item], capacity: int) -> dict[K, Range] | None:
    """A range of bytes for each; None if a search of limited length finds no way to fit them."""
    for order in (
        lambda key: (items[key].first, -items[key].nbytes),
        lambda key: (items[key].first - items[key].last, items[key].first),
    ):
        if placed := _placed(items, sorted(items, key=order), capacity):
            return placed
    return None if items else {}


def _placed(items: Mapping[K, Item], order: Sequence[K], capacity: int) -> dict[K, Range] | None:
    """Each goes to an end of a free range, one after the other, and back if one behind it then finds no room."""
    beside = [
        [other for other in order[:place] if items[other].meets(*items[key][:2])] for place, key in enumerate(order)
    ]
    placed: dict[K, Range] = {}
    tries: list[Iterator[Range]] = []
    for _ in range(STEPS):
        if len(placed) == len(order):
            return placed
        if len(tries) == len(placed):
            taken = sorted([placed[other] for other in beside[len(placed)]])
            tries.append(_ends(items[order[len(placed)]], taken, capacity))
        if place := next(tries[-1], None):
            placed[order[len(placed)]] = place
            continue
        tries.pop()
        if not placed:
            return None
        placed.popitem()
    return None


def _ends(item: Item, taken: Iterable[Range], capacity: int) -> Iterator[Range]:
    """Where it may go: either end of every free range, the smallest that holds it first."""
    for gap in sorted(_gaps(taken, capacity), key=lambda gap: (gap.size, gap.first)):
        if gap.size >= item.nbytes:
            yield Range(gap.first, gap.first + item.nbytes)
            if gap.size > item.nbytes:
                yield Range(gap.end - item.nbytes, gap.end)


def _gaps(taken: Iterable[Range], capacity: int) -> Iterator[Range]:
    """Free ranges, in order."""
    at = 0
    for low, high in [*taken, Range(capacity, capacity)]:
        if low > at:
            yield Range(at, low)
        at = max(at, high)


def largest_gap(items: Mapping[K, Item], placed: Mapping[K, Range], first: int, last: int, capacity: int) -> Range:
    """The largest free range while parts from a first to a last one run."""
    taken = sorted(place for key, place in placed.items() if items[key].meets(first, last))
    return max(_gaps(taken, capacity), key=lambda gap: gap.size, default=Range(0, 0))
