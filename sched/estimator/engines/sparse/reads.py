"""Which activations the items of a layer find not zero: of tensors that are known, or drawn from densities alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PERIOD", "Reads", "drawn", "in_words"]

CHANNEL_SPREAD = 0.6
"""Variance of the channels' densities, as a part of what it is if each is always or never zero: m * (1 - m) of mean m.

The median of the layers of AlexNet and VGG-16 (PRUNE=han2015) and ResNet-50 (PRUNE=distiller2019) is 0.59, half of them
have 0.34 to 0.69.
"""
PERIOD = 12
"""Rows and columns of a drawn tensor that are enough: `Reads` repeats them over the map."""
SEED = 0
DRAWS = 16
"""Tensors that are drawn where nothing is known of the channels: so many times as many channels are looked at."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reads:
    """Where the items of a layer find their activations, and which of these are not zero.

    Attributes
    ----------
    live : bool[tensors, words, rows, columns, R]
        By word of R channels. Of several tensors each is as likely.
    size : (int, int)
        Height and width of the map; a tensor with fewer rows or columns is repeated. Outside the map all is zero.
    out : (int, int)
        Height and width of the output.
    stride : (int, int)
        Rows and columns from one output pixel to the next.
    origin : (int, int)
        Row and column that the first output pixel reads first: minus the padding.
    """

    live: np.ndarray
    size: tuple[int, int]
    out: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    origin: tuple[int, int] = (0, 0)

    def find(self, tensors: np.ndarray, pixels: np.ndarray, places: np.ndarray) -> np.ndarray:
        """What n runs of pixels find not zero, bool[n, pixels, T, R].

        Parameters
        ----------
        tensors : int[n]
        pixels : int[n, pixels]
            Of the output, row by row.
        places : int[n, T, 3]
            Word of each item, and row and column from what the pixel reads first.
        """
        row, column = (each[:, :, None] for each in np.divmod(pixels, self.out[1]))
        word, dy, dx = (places[:, None, :, axis] for axis in range(3))
        y = self.origin[0] + self.stride[0] * row + dy
        x = self.origin[1] + self.stride[1] * column + dx
        inside = (y >= 0) & (y < self.size[0]) & (x >= 0) & (x < self.size[1])
        found = self.live[tensors[:, None, None], word, y % self.live.shape[2], x % self.live.shape[3]]
        found[~inside] = False
        return found


def in_words(live: np.ndarray, rows: int) -> np.ndarray:
    """bool[tensors, words, H, W, R] of bool[tensors, C, H, W]; channels that fill the last word are zero."""
    tensors, channels, height, width = live.shape
    filled = np.pad(live, ((0, 0), (0, -channels % rows), (0, 0), (0, 0)))
    return np.ascontiguousarray(filled.reshape(tensors, -1, rows, height, width).transpose(0, 1, 3, 4, 2))


def drawn(densities: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Random tensors bool[tensors, C, H, W], whose activations are zero or not independently of each other.

    The same ones each time.

    Parameters
    ----------
    densities : float[C] or float[]
        Of each channel, or the mean of all: the channels' are then from a Beta distribution of `CHANNEL_SPREAD`.
    """
    rng = np.random.default_rng(SEED)
    of_channels = densities[None]
    if not densities.ndim:
        each = _channel_densities(float(densities), shape[0], rng)
        of_channels = rng.permuted(np.tile(each, (DRAWS, 1)), axis=1)
    return rng.random((len(of_channels), *shape), np.float32) < of_channels[..., None, None]


def _channel_densities(mean: float, channels: int, rng: np.random.Generator) -> np.ndarray:
    """float[channels], in order, spread like a Beta distribution: means of neighbours in a large sample of it."""
    if not 0 < mean < 1:
        return np.full(channels, mean)
    concentration = 1 / CHANNEL_SPREAD - 1
    neighbours = -(-4096 // channels)
    sample = rng.beta(mean * concentration, (1 - mean) * concentration, channels * neighbours)
    return np.sort(sample).reshape(channels, neighbours).mean(axis=1)
