"""Pieces: rectangles of tensors that are copied into another one, which is all that slicing, joining, padding and
repeating are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from golden.net.window import Pair

__all__ = ["Piece", "assemble", "fault_of", "joined", "padded", "repeated", "sliced"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Piece:
    """A rectangle of output pixels, and where each comes from.

    Output pixel (y, x) of the rectangle is pixel ``(start[0] + y * step[0], start[1] + x * step[1])`` of the source,
    or the fill value if the source has no such pixel.

    Attributes
    ----------
    source : int
        Number of the tensor.
    view : (H, W)
        Size as which its map is read: as many pixels as it has, in the same order.
    channels : (first, end)
        Of the source.
    start, step : (int, int)
        Row and column of the first pixel, perhaps outside; from pixel to pixel, 0 for the same one again.
    size : (int, int)
        Rows and columns of the rectangle.
    to : (channel, row, column)
        Of the output, in its view.
    """

    source: int
    view: Pair
    channels: Pair
    start: Pair
    step: Pair
    size: Pair
    to: tuple[int, int, int]

    def inside(self, axis: int) -> bool:
        """Whether no row (column) is fill."""
        last = self.start[axis] + (self.size[axis] - 1) * self.step[axis]
        return min(self.start[axis], last) >= 0 and max(self.start[axis], last) < self.view[axis]

    def take(self, x: np.ndarray, fill: float) -> np.ndarray:
        """Its pixels any[C, rows, columns] out of the source any[C, H, W]."""
        y, columns = (
            self.start[axis] + self.step[axis] * np.arange(self.size[axis], dtype=np.int64) for axis in (0, 1)
        )
        seen = x[self.channels[0] : self.channels[1]].reshape(-1, *self.view)
        taken = seen[:, y.clip(0, self.view[0] - 1)][:, :, columns.clip(0, self.view[1] - 1)]
        if self.inside(0) and self.inside(1):
            return taken
        there = ((y >= 0) & (y < self.view[0]))[:, None] & ((columns >= 0) & (columns < self.view[1]))
        return np.where(there, taken, np.asarray(fill, x.dtype))


def assemble(
    pieces: Sequence[Piece], view: Pair, shape: Shape, fill: float, values: Sequence[np.ndarray]
) -> np.ndarray:
    """The output any[C, H, W] of pieces that lie in a (C, *view)."""
    out = np.empty((shape[0], *view), values[0].dtype)
    for piece in pieces:
        (channel, row, column), (rows, columns) = piece.to, piece.size
        count = piece.channels[1] - piece.channels[0]
        target = out[channel : channel + count, row : row + rows, column : column + columns]
        target[:] = piece.take(values[piece.source], fill)
    return out.reshape(shape)


def fault_of(pieces: Sequence[Piece], view: Pair, shape: Shape, sources: Sequence[Shape]) -> str | None:
    """What is wrong with pieces: they must read what is there, and cover each element of the output once."""
    if shape[1] * shape[2] != view[0] * view[1]:
        return f"its map {shape[1:]} is seen as {view}"
    covered = np.zeros((shape[0], *view), np.uint8)
    for piece in pieces:
        channels, height, width = sources[piece.source]
        (channel, row, column), count = piece.to, piece.channels[1] - piece.channels[0]
        if (
            piece.view[0] * piece.view[1] != height * width
            or not 0 <= piece.channels[0] < piece.channels[1] <= channels
        ):
            return f"{piece} does not fit its source {sources[piece.source]}"
        ends = (channel + count, row + piece.size[0], column + piece.size[1])
        if min(piece.to) < 0 or min(piece.size) < 1 or any(a > b for a, b in zip(ends, covered.shape, strict=True)):
            return f"{piece} does not fit its output {shape}"
        covered[channel : ends[0], row : ends[1], column : ends[2]] += 1
    if (covered != 1).any():
        return f"its pieces cover {np.count_nonzero(covered == 1)} of {covered.size} elements once"
    return None


def sliced(shape: Shape, start: Shape, end: Shape, step: Shape) -> tuple[tuple[Piece, ...], Shape]:
    """Pieces of every step-th element from `start` up to `end` on each axis, as of Python's slices; and the shape.

    Channels are taken in runs, or one by one where they are not neighbours.
    """
    ranges = [range(*item) for item in zip(start, end, step, strict=True)]
    out = (len(ranges[0]), len(ranges[1]), len(ranges[2]))
    runs = [(ranges[0].start, ranges[0].stop, 0)] if step[0] == 1 else [(c, c + 1, n) for n, c in enumerate(ranges[0])]
    pieces = tuple(
        Piece(0, (shape[1], shape[2]), (first, stop), (ranges[1].start, ranges[2].start),
              (ranges[1].step, ranges[2].step), out[1:], (to, 0, 0))
        for first, stop, to in runs
    )  # fmt: skip
    return pieces, out


def joined(shapes: Sequence[Shape], axis: int) -> tuple[tuple[Piece, ...], Shape]:
    """Pieces that lie one behind the other along an axis (0 channels, 1 rows, 2 columns); and the shape."""
    pieces, at = [], 0
    for number, (channels, height, width) in enumerate(shapes):
        to = tuple(at if other == axis else 0 for other in range(3))
        pieces.append(
            Piece(number, (height, width), (0, channels), (0, 0), (1, 1), (height, width), (to[0], to[1], to[2]))
        )
        at += shapes[number][axis]
    out = [at if other == axis else shapes[0][other] for other in range(3)]
    return tuple(pieces), (out[0], out[1], out[2])


def padded(shape: Shape, padding: tuple[int, int, int, int]) -> tuple[tuple[Piece, ...], Shape]:
    """A map with (top, left, bottom, right) pixels of fill around it, or as many fewer where negative; the shape."""
    top, left, bottom, right = padding
    size = (shape[1] + top + bottom, shape[2] + left + right)
    piece = Piece(0, (shape[1], shape[2]), (0, shape[0]), (-top, -left), (1, 1), size, (0, 0, 0))
    return (piece,), (shape[0], *size)


def repeated(shape: Shape, times: int) -> tuple[tuple[Piece, ...], Pair, Shape]:
    """Every column so many times; the view of the output, and its shape.

    The map is read as one column: a row of the output's view is one pixel, again and again.
    """
    channels, height, width = shape
    pixels = height * width
    piece = Piece(0, (pixels, 1), (0, channels), (0, 0), (1, 0), (pixels, times), (0, 0, 0))
    return (piece,), (pixels, times), (channels, height, width * times)
