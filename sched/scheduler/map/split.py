"""Shares of one layer for cores of different kinds, in proportion to their speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from rtl.contract.params import CoreParams
from scheduler.work.work import Work

__all__ = ["shares", "split_channels", "split_rows"]


def shares(total: int, speeds: list[float]) -> list[tuple[int, int]]:
    """Consecutive ranges of `total` things, in proportion to speed; some may be empty."""
    whole, edges, done = sum(speeds), [0], 0.0
    for speed in speeds:
        done += speed
        edges.append(round(total * done / whole))
    return list(pairwise(edges))


def split_rows(works: Mapping[CoreParams, Work], speeds: Mapping[CoreParams, float]) -> dict[CoreParams, Work]:
    """The same layer with a range of output rows for every kind; kinds with none are left out."""
    height = next(iter(works.values())).height
    ranges = shares(height, [speeds[core] for core in works])
    return {
        core: replace(work, row_range=rows)
        for (core, work), rows in zip(works.items(), ranges, strict=True)
        if rows[0] < rows[1]
    }


def split_channels(works: Mapping[CoreParams, Work], speeds: Mapping[CoreParams, float]) -> dict[CoreParams, Work]:
    """The same layer with a range of output channels for every kind.

    Kinds differ in the channels of a block, so they change at a multiple of the largest.
    """
    edges = [{item[0].channel for item in work.items} for work in works.values()]
    common = sorted(set.intersection(*edges))
    ranges = shares(len(common), [speeds[core] for core in works])
    out = {}
    for (core, work), (first, end) in zip(works.items(), ranges, strict=True):
        if first == end:
            continue
        low, high = common[first], common[end] if end < len(common) else None
        items = tuple(
            item for item in work.items if low <= item[0].channel and (high is None or item[0].channel < high)
        )
        out[core] = replace(work, items=items)
    return out
