"""Pruning by magnitude: the smallest weights of a tensor become zero."""

import numpy as np

__all__ = ["keep_largest"]


def keep_largest(weight: np.ndarray, density: float) -> None:
    """Keep the part `density` of a tensor that is largest in magnitude, in place; the rest becomes 0.

    ``round(density * size)`` elements stay, at least one; of equal ones the first.
    """
    kept = max(1, round(density * weight.size))
    if kept >= weight.size:
        return
    magnitude = np.abs(weight).reshape(-1)
    least = np.partition(magnitude, weight.size - kept)[weight.size - kept]
    dropped = magnitude < least
    equal = np.flatnonzero(magnitude == least)
    above = weight.size - np.count_nonzero(dropped) - equal.size
    dropped[equal[kept - above :]] = True
    weight[dropped.reshape(weight.shape)] = 0
