"""Cycles of passes of the sparse engine, from samples of what they read.

A pass takes so many cycles a pixel: the recursion is linear in the long run, and borders of passes cost little, as the
next one enters while the slowest PEs are not done. So a pass is run on a few stretches of consecutive pixels, and the
cycles of a pixel are those behind the first quarter of each. All passes and stretches of a layer run side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from estimator.engines.sparse.pairs import pairs
from estimator.engines.sparse.reads import Reads
from estimator.engines.sparse.recursion import run_ahead

__all__ = ["PassRates", "pass_cycles", "pass_rates"]

STRETCH_ITEMS = 192
"""Items of a stretch, about."""
STRETCH_PIXELS = (12, 48)
"""Pixels of a stretch, least and most."""
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
    number = np.arange(passes * each)
    of_pass = number // each
    starts = np.floor(number * _GOLDEN % 1 * pixels).astype(np.int64)
    rates, depths = (np.empty(number.size) for _ in range(2))
    for part in np.split(number, np.arange(TOGETHER, number.size, TOGETHER)):
        chosen = met[of_pass[part]]
        if reads is None:
            live = np.ones((part.size, length, items, met.shape[2] * met.shape[3]), bool)
        else:
            run = first + (starts[part, None] + np.arange(length)) % pixels
            live = reads.find(part % len(reads.live), run, places[of_pass[part]])
        times = run_ahead(pairs(chosen, live), items=items, ahead=ahead, groups=groups)
        begin = length // 4
        rates[part] = (times.update[-1] - times.update[begin]) / (length - 1 - begin)
        depths[part] = (times.update[begin:] - times.accept[items - 1 :: items][begin:]).mean(axis=0)
    return PassRates(rates.reshape(passes, each).mean(axis=1), depths.reshape(passes, each).mean(axis=1))


def pass_cycles(pixels: int, pixel_cycles: float, weight_rows: int) -> float:
    """Cycles from a pass to the next, of passes alike that follow each other.

    The rows of the next one's weights come meanwhile, a row a cycle, once it has begun.
    """
    return max(pixels * pixel_cycles, weight_rows + 1)
