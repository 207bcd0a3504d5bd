"""Cycles of passes of the sparse engine, from samples of what they read.

A pass takes so many cycles a pixel: the recursion is linear in the long run, and borders of passes cost little, as the
next one enters while the slowest PEs are not done. So a pass is run on a few stretches of consecutive pixels, and the
cycles of a pixel are those behind the first quarter of each. All passes and stretches of a layer run side by side.
Of a tile all is run, or most of it: some rows of a map have fewer zeros than others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from estimator.engines.sparse.pairs import pairs
from estimator.engines.sparse.reads import Reads
from estimator.engines.sparse.recursion import run_ahead

__all__ = ["PassRates", "pass_cycles", "pass_rates", "tile_rates"]

STRETCH_ITEMS = 192
"""Items of a stretch, about."""
STRETCH_PIXELS = (12, 48)
"""Pixels of a stretch, least and most."""
BEFORE = 12
"""Pixels in front of those of a tile, at most, that are run and do not count."""
TILE_PIXELS = (16, 64)
"""Consecutive pixels of a tile that count, least and most."""
TILE_SAMPLES = 1 << 12
"""Pixels that count of all passes over all tiles, at most, if the least of each are not more."""
SAMPLES = 1 << 10
"""Pixels of all stretches of a layer, at least."""
TOGETHER = 128
"""Stretches that are run side by side: their state stays in the cache."""
_GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, less their whole part, lie evenly in 0..1, however many are taken."""


class PassRates(NamedTuple):
    """Cycles of passes.

    Attributes
    ----------
    pixel_cycles : float[passes]
        From pixel to pixel.
    depth_cycles : float[passes]
        From a pixel's last item to its update.
    """

    pixel_cycles: np.ndarray
    depth_cycles: np.ndarray


def pass_rates(
    met: np.ndarray,
    reads: Reads | None,
    places: np.ndarray,
    *,
    ahead: int,
    groups: int,
    rows: tuple[int, int] | None = None,
    samples: int = SAMPLES,
) -> PassRates:
    """Cycles of each pass of a layer, all of T items.

    Parameters
    ----------
    met : uint8[passes, T, lanes, A, columns]
        Weights that activations meet: `estimator.engines.sparse.pairs.met_weights`.
    reads : Reads, optional
        What is not zero; None if activations are not asked whether they are (``skip_acts`` 0).
    places : int[passes, T, 3]
        Where items find their activations: `Reads.find`.
    ahead : int
        By how many items PEs may be ahead.
    groups : int
        Of columns, as of `run_ahead`.
    rows : (first, end), optional
        Rows of the output that are computed; all without.
    samples : int
        Pixels to look at in all passes together, at least; every pass is looked at.
    """
    passes, items = met.shape[:2]
    least, most = STRETCH_PIXELS
    length = min(most, max(least, -(-STRETCH_ITEMS // items)))
    if reads is None:
        first, pixels, each = 0, 1, 1
    else:
        first, end = rows or (0, reads.out[0])
        first, pixels = first * reads.out[1], (end - first) * reads.out[1]
        each = min(-(-samples // (passes * length)), -(-pixels // length) * len(reads.live))
    of_pass = np.repeat(np.arange(passes), each)
    starts = np.floor(np.arange(of_pass.size) * _GOLDEN % 1 * pixels).astype(np.int64)
    runs = first + (starts[:, None] + np.arange(length)) % pixels
    rates, depths = _run(met, reads, places, of_pass, runs, length // 4, None, ahead, groups)
    return PassRates(rates.reshape(passes, each).mean(axis=1), depths.reshape(passes, each).mean(axis=1))


def tile_rates(
    met: np.ndarray, reads: Reads, places: np.ndarray, *, ahead: int, groups: int, rows: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Cycles from pixel to pixel of each pass over each of some tiles, float[tiles, passes].

    Of tiles that are small all pixels are looked at, of others some.

    Parameters
    ----------
    met, reads, places, ahead, groups
        As of `pass_rates`.
    rows : sequence of (first, end)
        Of the output, of each tile; of their columns all.
    """
    passes, width = len(met), reads.out[1]
    first, end = np.array(rows).T
    pixels = (end - first) * width
    begin = min(int(pixels.max()) // 3 + 1, BEFORE)
    least, most = TILE_PIXELS
    counted = np.minimum(pixels, min(most, max(least, TILE_SAMPLES // (passes * len(rows)))))
    starts = np.floor(np.arange(len(rows) * passes) * _GOLDEN % 1 * pixels.repeat(passes)).astype(np.int64)
    length = begin + 1 + int(counted.max())
    runs = first.repeat(passes)[:, None] * width
    runs = runs + (starts[:, None] + np.arange(length)) % pixels.repeat(passes)[:, None]
    of_pass = np.tile(np.arange(passes), len(rows))
    rates, _ = _run(met, reads, places, of_pass, runs, begin, counted.repeat(passes), ahead, groups)
    return rates.reshape(len(rows), passes)


def _run(
    met: np.ndarray,
    reads: Reads | None,
    places: np.ndarray,
    of_pass: np.ndarray,
    runs: np.ndarray,
    begin: int,
    counted: np.ndarray | None,
    ahead: int,
    groups: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles from pixel to pixel, and from last item to update, float[n] each, of stretches of pixels int[n, length].

    Parameters
    ----------
    of_pass : int[n]
        The pass of each.
    begin : int
        Pixels that do not count.
    counted : int[n], optional
        How many do; all others without.
    """
    rates, depths = (np.empty(len(runs)) for _ in range(2))
    items = met.shape[1]
    for first in range(0, len(runs), TOGETHER):
        part = slice(first, first + TOGETHER)
        chosen, run = met[of_pass[part]], runs[part]
        if reads is None:
            live = np.ones((*run.shape, items, met.shape[2] * met.shape[3]), bool)
        else:
            live = reads.find(np.arange(first, first + len(run)) % len(reads.live), run, places[of_pass[part]])
        times = run_ahead(pairs(chosen, live), items=items, ahead=ahead, groups=groups)
        many = run.shape[1] - 1 - begin if counted is None else counted[part]
        ends = np.take_along_axis(times.update, np.broadcast_to(begin + many, len(run))[None], axis=0)[0]
        rates[part] = (ends - times.update[begin]) / many
        depths[part] = (times.update[begin:] - times.accept[items - 1 :: items][begin:]).mean(axis=0)
    return rates, depths


def pass_cycles(pixels: int, pixel_cycles: float, weight_rows: int) -> float:
    """Cycles from a pass to the next, of passes alike that follow each other.

    The rows of the next one's weights come meanwhile, a row a cycle, once it has begun.
    """
    return max(pixels * pixel_cycles, weight_rows + 1)
