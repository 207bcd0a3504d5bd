"""What the items of a layer on a sparse engine find not zero, by how its input lies in the scratchpad."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from estimator.engines.sparse.reads import PERIOD, Reads, drawn, in_words
from scheduler.plan.layout import Packed
from scheduler.work.source import FlatSource, PackedSource, Source

__all__ = ["places_of", "reads_of"]


def reads_of(source: Source, shape: tuple[int, int, int], out: tuple[int, int], live: np.ndarray, rows: int) -> Reads:
    """Of a source, in words of R activations.

    Parameters
    ----------
    shape : (C, H, W)
        Of the tensor.
    out : (int, int)
        Height and width of the output.
    live : array
        As of `scheduler.work.activations.Activations`.
    rows : int
        R.
    """
    window = source.window
    known = live.ndim == 4
    if isinstance(source, PackedSource):
        words = _packed(live if known else drawn(live, shape), source.layout, window.kernel[1], rows)
        return Reads(
            live=words, size=(words.shape[2], words.shape[3]), out=out, stride=(window.stride[0], 1),
            origin=(-window.top, 0),
        )  # fmt: skip
    if isinstance(source, FlatSource):
        layout = source.placement.layout
        stored = [layout.pack(one.astype(np.int8)) for one in (live if known else drawn(live, shape))]
        flat = np.stack([np.pad(one, (0, -one.size % rows)) for one in stored]) != 0
        return Reads(live=flat.reshape(len(flat), -1, 1, 1, rows), size=(1, 1), out=(1, 1))
    channels, height, width = shape
    tensors = live if known else drawn(live, (channels, min(height, PERIOD), min(width, PERIOD)))
    return Reads(
        live=in_words(tensors, rows), size=(height, width), out=out, stride=window.stride,
        origin=(-window.top, -window.left),
    )  # fmt: skip


def places_of(source: Source, units: np.ndarray, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
    """Where items of kernel positions (ky, kx) of such words find their activations, int[..., 3] of `Reads.find`.

    Parameters
    ----------
    units : int[...]
        Words of R activations.
    """
    window = source.window
    if isinstance(source, PackedSource):
        return np.stack([kx, ky * window.dilation[0], np.zeros_like(kx)], axis=-1)
    return np.stack([units, ky * window.dilation[0], kx * window.dilation[1]], axis=-1)


def _packed(live: np.ndarray, layout: Packed, kernel_w: int, rows: int) -> np.ndarray:
    """bool[tensors, kernel_w, rows of the layout, output columns, R]: what a read of R bytes finds at each column."""
    bare = replace(layout, fill=0)
    stored = np.stack([bare.pack(one.astype(np.int8)).reshape(layout.rows, -1) for one in live]) != 0
    starts = np.arange(layout.out_columns) * layout.stride[1] * layout.pixel_bytes
    places = (np.arange(kernel_w) * rows)[:, None, None] + starts[:, None] + np.arange(rows)
    filled = np.pad(stored, ((0, 0), (0, 0), (0, max(0, int(places.max()) + 1 - stored.shape[2]))))
    return filled[:, :, places].transpose(0, 2, 1, 3, 4)
