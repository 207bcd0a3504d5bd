"""Addresses of what stays on the chip: things that live at the same time never overlap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from scheduler.map.budget import Range

__all__ = ["Item", "largest_gap", "pack"]


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


def pack(items: Mapping[str, Item], capacity: int) -> dict[str, Range] | None:
    """A range of bytes for each, or None if none of several orders of placing them fits."""
    for order in (
        lambda key: (-items[key].nbytes, items[key].first),
        lambda key: (items[key].first, -items[key].nbytes),
        lambda key: (items[key].first - items[key].last, -items[key].nbytes),
    ):
        placed: dict[str, Range] = {}
        for key in sorted(items, key=order):
            placed[key] = _lowest(items[key], _taken(items, placed, items[key].first, items[key].last))
        if all(place.end <= capacity for place in placed.values()):
            return placed
    return None


def largest_gap(items: Mapping[str, Item], placed: Mapping[str, Range], first: int, last: int, capacity: int) -> Range:
    """The largest free range while parts from a first to a last one run."""
    gap, at = Range(0, 0), 0
    for low, high in [*_taken(items, placed, first, last), Range(capacity, capacity)]:
        if low - at > gap.size:
            gap = Range(at, low)
        at = max(at, high)
    return gap


def _taken(items: Mapping[str, Item], placed: Mapping[str, Range], first: int, last: int) -> list[Range]:
    return sorted(place for key, place in placed.items() if items[key].meets(first, last))


def _lowest(item: Item, taken: Iterable[Range]) -> Range:
    at = 0
    for low, high in taken:
        if at + item.nbytes <= low:
            break
        at = max(at, high)
    return Range(at, at + item.nbytes)
