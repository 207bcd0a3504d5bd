"""Storage orders in DRAM, each stated once beside its pack and unpack functions.

Everything is int8 and made of blocks of ``B = link_bytes`` bytes.

`Blocked`
    ``[ceil(C/B)][H][W][B]``: every activation the chip itself writes. Lanes past the last channel are arbitrary.
`Packed`
    A network input with few channels, written by the host: one dense row of ``(x, channel)`` bytes for each input
    row, padded left and right with the zero point, so that a kernel row is one run of ``kernel_w * C`` bytes. With
    ``fold`` there is one row for each *output* row, holding ``(x, kernel row, channel)`` bytes, so that a whole
    window is one run of ``kernel_w * kernel_h * C`` bytes.
`pack_weights`
    ``R x C`` tiles in the order in which passes use them.
`SparseWeights`
    Masks, lanes and lists of a pass of the sparse engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np

from rtl.contract.params import CoreParams

__all__ = ["Blocked", "Layout", "Packed", "SparseWeights", "ceil_div", "even_split", "pack_weights", "round_up"]

Shape = tuple[int, int, int]
Count = TypeVar("Count", int, np.ndarray)


def ceil_div(value: int, divisor: int) -> int:
    """Quotient, rounded up."""
    return -(-value // divisor)


def round_up(value: int, multiple: int) -> int:
    """Smallest multiple that is not below value."""
    return ceil_div(value, multiple) * multiple


def even_split(total: int, parts: int) -> list[tuple[int, int]]:
    """`parts` ranges that differ by at most one, longer ones first."""
    base, extra = divmod(total, parts)
    starts = [part * base + min(part, extra) for part in range(parts + 1)]
    return list(pairwise(starts))


@dataclass(frozen=True)
class Blocked:
    """``[ceil(C/B)][H][W][B]``."""

    shape: Shape
    block: int

    @property
    def blocks(self) -> int:
        return ceil_div(self.shape[0], self.block)

    @property
    def plane_flits(self) -> int:
        """Flits of one channel block."""
        return self.shape[1] * self.shape[2]

    @property
    def nbytes(self) -> int:
        return self.blocks * self.plane_flits * self.block

    def pack(self, x: np.ndarray) -> np.ndarray:
        """uint8[nbytes] of int8[C, H, W]; lanes past the last channel become 0."""
        _check(x, self.shape)
        channels, height, width = self.shape
        padded = np.zeros((self.blocks * self.block, height, width), dtype=np.int8)
        padded[:channels] = x
        blocks = padded.reshape(self.blocks, self.block, height, width).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(blocks).view(np.uint8).reshape(-1)

    def unpack(self, raw: np.ndarray) -> np.ndarray:
        """int8[C, H, W] of uint8[nbytes]."""
        channels, height, width = self.shape
        blocks = raw[: self.nbytes].view(np.int8).reshape(self.blocks, height, width, self.block)
        return np.ascontiguousarray(blocks.transpose(0, 3, 1, 2)).reshape(-1, height, width)[:channels]


@dataclass(frozen=True)
class Packed:
    """Dense rows of a shallow input, as its only consumer's kernel reads them.

    Attributes
    ----------
    padding : (top, left, bottom, right)
        Left and right padding is in the rows; top and bottom padding only with ``fold``.
    fill : int
        The zero point, which padding contributes.
    """

    shape: Shape
    block: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    fill: int
    fold: bool

    @property
    def pixel_bytes(self) -> int:
        return self.shape[0] * (self.kernel[0] if self.fold else 1)

    @property
    def rows(self) -> int:
        if not self.fold:
            return self.shape[1]
        return self.out_rows

    @property
    def out_rows(self) -> int:
        """Rows of the consumer's output."""
        top, _, bottom, _ = self.padding
        span = (self.kernel[0] - 1) * self.dilation[0] + 1
        return (self.shape[1] + top + bottom - span) // self.stride[0] + 1

    @property
    def out_columns(self) -> int:
        """Columns of the consumer's output."""
        _, left, _, right = self.padding
        span = (self.kernel[1] - 1) * self.dilation[1] + 1
        return (left + self.shape[2] + right - span) // self.stride[1] + 1

    @property
    def row_bytes(self) -> int:
        _, left, _, right = self.padding
        return round_up((left + self.shape[2] + right) * self.pixel_bytes, self.block)

    @property
    def window_bytes(self) -> int:
        """Consecutive bytes of a row that one output pixel needs."""
        return ((self.kernel[1] - 1) * self.dilation[1] + 1) * self.pixel_bytes

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes

    def pack(self, x: np.ndarray) -> np.ndarray:
        """uint8[nbytes] of int8[C, H, W]."""
        _check(x, self.shape)
        top, left, bottom, right = self.padding
        vertical = (top, bottom) if self.fold else (0, 0)
        padded = np.pad(x, ((0, 0), vertical, (left, right)), constant_values=self.fill)
        if self.fold:
            first = np.arange(self.rows) * self.stride[0]
            taps = np.arange(self.kernel[0]) * self.dilation[0]
            rows = padded[:, first[:, None] + taps].transpose(1, 3, 2, 0)  # [row, x, kernel row, channel]
        else:
            rows = padded.transpose(1, 2, 0)
        out = np.full((self.rows, self.row_bytes), self.fill, dtype=np.int8)
        dense = rows.reshape(self.rows, -1)
        out[:, : dense.shape[1]] = dense
        return out.view(np.uint8).reshape(-1)

    def unpack(self, raw: np.ndarray) -> np.ndarray:
        """int8[C, H, W] of uint8[nbytes]; rows that no window reads (``fold`` only) come back as the zero point."""
        channels, height, width = self.shape
        top, left, _, _ = self.padding
        dense = raw[: self.nbytes].view(np.int8).reshape(self.rows, self.row_bytes)
        used = width * self.pixel_bytes
        body = dense[:, left * self.pixel_bytes : left * self.pixel_bytes + used]
        if not self.fold:
            return np.ascontiguousarray(body.reshape(height, width, channels).transpose(2, 0, 1))
        out = np.full(self.shape, self.fill, dtype=np.int8)
        taps = body.reshape(self.rows, width, self.kernel[0], channels)
        for row in range(self.rows):
            for tap in range(self.kernel[0]):
                y = row * self.stride[0] + tap * self.dilation[0] - top
                if 0 <= y < height:
                    out[:, y] = taps[row, :, tap].T
        return out


Layout = Blocked | Packed


def _check(x: np.ndarray, shape: Shape) -> None:
    if x.dtype != np.int8 or x.shape != shape:
        raise ValueError(f"activation is {x.dtype}{x.shape}: it must be int8{shape}")


def pack_weights(lanes: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Tiles of ``rows x cols`` weights in pass order.

    Parameters
    ----------
    lanes : int8[O, ..., K]
        Output channels, passes (outermost first), input lanes. O is padded with zeros to a multiple of `cols`, K to a
        multiple of `rows`; the whole passes that K holds are innermost of all.

    Returns
    -------
    uint8[ceil(O/cols), passes * rows * cols]
    """
    filters, depth = lanes.shape[0], lanes.shape[-1]
    tail = ceil_div(depth, rows)
    passes = int(np.prod(lanes.shape[1:-1])) * tail
    packed = np.zeros((ceil_div(filters, cols), passes, rows, cols), dtype=np.int8)
    for group, tile in enumerate(packed):  # one group at a time: the transposition stays in the cache
        part = lanes[group * cols : (group + 1) * cols]
        if depth != tail * rows:
            part = np.concatenate([part, np.zeros((*part.shape[:-1], tail * rows - depth), np.int8)], axis=-1)
        tile[:, :, : len(part)] = part.reshape(len(part), passes, rows).transpose(1, 2, 0)
    return packed.view(np.uint8).reshape(len(packed), -1)


@dataclass(frozen=True)
class SparseWeights:
    """Weights of a pass of the sparse engine, in the format of `rtl.contract.engines.sparse`."""

    core: CoreParams
    """A core with the engine."""

    def rounds(self, weights: np.ndarray, order: np.ndarray) -> int:
        """Rounds that the longest list takes, without zeros; the other arguments are those of `pack`."""
        return int(np.count_nonzero(self._positions(weights, order), axis=1).max())

    def nbytes(self, items: Count, rounds: Count) -> Count:
        """Bytes of a pass, or of many."""
        return items * self.core.pes // 8 + self.core.cols + rounds * self._pes

    def pack(self, weights: np.ndarray, order: np.ndarray, rounds: int, *, zeros: bool = False) -> np.ndarray:
        """Masks of what is listed, lanes and lists.

        Parameters
        ----------
        weights : int8[T, R, C]
            By item, activation and lane.
        order : int[C]
            The lane of each slot: a permutation.
        rounds : int
            At least as many as the longest list takes.
        zeros : bool
            Weights of zero are listed, too.

        Returns
        -------
        uint8[nbytes]

        Raises
        ------
        ValueError
            For fewer rounds than the longest list takes.
        """
        positions = self._positions(weights, order)
        set_bits = (positions != 0) | zeros
        longest = int(np.count_nonzero(set_bits, axis=1).max())
        if rounds < longest:
            raise ValueError(f"{rounds} rounds: the longest list takes {longest}")
        masks = set_bits.reshape(self._pes, len(weights), -1).transpose(1, 0, 2).reshape(-1)
        lists = np.zeros((rounds, self._pes), np.int8)
        pes, places = np.nonzero(set_bits)
        lists[(np.cumsum(set_bits, axis=1) - 1)[pes, places], pes] = positions[pes, places]
        parts = (np.packbits(masks, bitorder="little"), order.astype(np.uint8), lists.view(np.uint8).reshape(-1))
        return np.concatenate(parts)

    def unpack(self, raw: np.ndarray, items: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Inverse of `pack`: weights int8[items, R, C] and order uint8[C]."""
        masks, order, lists = np.split(raw[: self.nbytes(items, rounds)], self._ends(items))
        bits = np.unpackbits(masks, bitorder="little").reshape(items, self._pes, -1)
        set_bits = bits.transpose(1, 0, 2).reshape(self._pes, -1) != 0
        positions = np.zeros(set_bits.shape, np.int8)
        pes, places = np.nonzero(set_bits)
        number = (np.cumsum(set_bits, axis=1) - 1)[pes, places]
        positions[pes, places] = lists.view(np.int8).reshape(rounds, self._pes)[number, pes]
        slots = self._grid(positions.reshape(self._lanes, self.core.sparse_columns, items, -1, self._acts), items)
        weights = np.empty(slots.shape, np.int8)
        weights[:, :, order] = slots
        return weights, order

    @property
    def _lanes(self) -> int:
        return self.core.sparse_lanes

    @property
    def _pes(self) -> int:
        return self._lanes * self.core.sparse_columns

    @property
    def _acts(self) -> int:
        """Activations of a PE."""
        return self.core.rows // self._lanes

    def _ends(self, items: int) -> list[int]:
        masks = items * self.core.pes // 8
        return [masks, masks + self.core.cols]

    def _positions(self, weights: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Weights in the order of each PE's mask bits, int8[PEs, T * F * A]."""
        items = len(weights)
        groups = weights[:, :, order].reshape(items, self._lanes, self._acts, self.core.sparse_columns, -1)
        turned = np.stack([np.roll(group, -item, axis=0) for item, group in enumerate(groups)])
        return np.ascontiguousarray(turned.transpose(1, 3, 0, 4, 2)).reshape(self._pes, -1)

    def _grid(self, positions: np.ndarray, items: int) -> np.ndarray:
        """Inverse of `_positions` but for the order of the slots, int8[T, R, C]."""
        turned = positions.transpose(2, 0, 4, 1, 3)
        groups = np.stack([np.roll(group, item, axis=0) for item, group in enumerate(turned)])
        return groups.reshape(items, self.core.rows, self.core.cols)
