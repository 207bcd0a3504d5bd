"""How a tile of the input gets from DRAM into the activation scratchpad, and where COMPUTE finds it there.

A *word* is the unit in which channels are split into chunks. A scratchpad *slot* holds the words of one chunk of one
tile, in planes of ``frame.rows x frame.cols`` pixels; all slots of a launch have the same shape (the `Frame`).

`BlockedSource`
    Blocked tensors; a word is what one array read covers (act_groups blocks). Several tensors lie one behind the other.
`FlatSource`
    A blocked tensor read as one long vector by a fully connected layer; a word is R bytes.
`PackedSource`
    A packed network input; one word.
`ResidentSource`
    A tensor that an earlier part of the launch left in the scratchpad; nothing is loaded. Words as of `BlockedSource`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import ClassVar, NamedTuple, Self

from scheduler.errors import PlanError
from scheduler.plan.layout import Blocked, Packed, ceil_div
from scheduler.plan.limits import MAX_RUN_FLITS, MAX_STRIDE, MAX_WIDTH
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence

__all__ = [
    "BlockedSource",
    "FlatSource",
    "Frame",
    "PackedSource",
    "PlanarSource",
    "Reach",
    "ResidentSource",
    "Source",
    "Tile",
    "Transfer",
    "Window",
    "blocked_source",
    "wide_window",
]


class Reach(Enum):
    """How COMPUTEs find out, along an axis, which positions of a window are padding."""

    FIELDS = "by stride and dilation"
    INSIDE = "none is; stride and dilation may be larger than their fields"
    APART = "each COMPUTE takes one tap, for which the padding is so many first and last outputs"


class Window(NamedTuple):
    """Kernel geometry: what part of the input an output rectangle needs."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    top: int
    left: int
    in_hw: tuple[int, int]
    reach: tuple[Reach, Reach] = (Reach.FIELDS, Reach.FIELDS)

    @property
    def apart(self) -> tuple[bool, bool]:
        """Whether kernel rows (columns) are taken one by one."""
        return self.reach[0] is Reach.APART, self.reach[1] is Reach.APART

    def bounds(self, axis: int, start: int, outputs: int, size: int) -> tuple[int, int, int, int]:
        """(stride, dilation, first, size) that say which inputs of a COMPUTE are none of the loaded ones.

        Parameters
        ----------
        start : int
            Loaded row (column) of the first tap of the first output.
        outputs, size : int
            Rows (columns) of the tile, and of the loaded input.
        """
        if self.reach[axis] is Reach.FIELDS:
            return self.stride[axis], self.dilation[axis], start, size
        if self.reach[axis] is Reach.INSIDE:
            return 0, 0, 0, 1
        step = max(1, self.stride[axis])
        first = min(max(0, ceil_div(-start, step)), outputs)
        end = min(max(first, ceil_div(size - start, step)), outputs)
        return (1, 0, -first, end - first) if end > first else (1, 0, -outputs, 0)

    def span(self, axis: int, first: int, end: int) -> tuple[int, int, int]:
        """Input rows (columns) [low, high) of output rows (columns) [first, end), and first tap's offset from low."""
        start = first * self.stride[axis] - (self.top, self.left)[axis]
        stop = (end - 1) * self.stride[axis] - (self.top, self.left)[axis]
        stop += (self.kernel[axis] - 1) * self.dilation[axis] + 1
        size = self.in_hw[axis]
        low = min(max(start, 0), size - 1)
        high = max(min(stop, size), low + 1)
        return low, high, start - low


class Tile(NamedTuple):
    """An output rectangle and the input rectangle that it needs.

    Attributes
    ----------
    y, x : (first, end) of the output that is computed
    iy, ix : (first, end) of the input, clipped to the image
    dy, dx : int
        Input coordinate, relative to the clipped rectangle, of the first tap of the first output pixel.
    store_y, store_x : (first, end) of the output that is stored
        What is computed, or its maximum pool.
    """

    y: tuple[int, int]
    x: tuple[int, int]
    iy: tuple[int, int]
    ix: tuple[int, int]
    dy: int
    dx: int
    store_y: tuple[int, int]
    store_x: tuple[int, int]

    @property
    def height(self) -> int:
        return self.y[1] - self.y[0]

    @property
    def width(self) -> int:
        return self.x[1] - self.x[0]

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def store_rows(self) -> int:
        return self.store_y[1] - self.store_y[0]

    @property
    def store_width(self) -> int:
        return self.store_x[1] - self.store_x[0]

    @property
    def store_pixels(self) -> int:
        return self.store_rows * self.store_width

    @property
    def in_rows(self) -> int:
        return self.iy[1] - self.iy[0]

    @property
    def in_cols(self) -> int:
        return self.ix[1] - self.ix[0]


class Frame(NamedTuple):
    """Pixels of a scratchpad plane, and words of a slot."""

    rows: int
    cols: int
    words: int

    @property
    def plane(self) -> int:
        return self.rows * self.cols


class Transfer(NamedTuple):
    """One LOAD without its tokens; ``dst`` counts flits from the start of the slot."""

    dram_addr: int
    runs: int
    run_flits: int
    dram_stride: int
    dst: int
    dst_stride: int
    planar: int

    @property
    def flits(self) -> int:
        return self.runs * self.run_flits


@dataclass(frozen=True)
class Source:
    """Common part: tiles by the kernel's window.

    Attributes
    ----------
    window : Window
        As COMPUTE sees it.
    words : int
        Words in all.
    word_bytes : int
        Bytes of a word in one pixel of the scratchpad.
    word_step : int
        Chunks are multiples of so many words.
    """

    resident: ClassVar[bool] = False
    """It is in the scratchpad already."""
    window: Window
    words: int
    word_bytes: int
    word_step: int

    def frame(self, rows: int, cols: int, words: int) -> Frame:
        """Of tiles of at most so many input rows and columns, in chunks of so many words."""
        return Frame(rows, cols, words)

    @property
    def in_memory(self) -> tuple[Placement, ...]:
        """Tensors that it loads from DRAM."""
        return ()

    def moved(self, pictures: int) -> Self:
        """The same for pictures so many behind; what stays on the chip lies in the same place."""
        return self

    def tile(self, y: tuple[int, int], x: tuple[int, int]) -> Tile:
        (iy, dy), (ix, dx) = self.side(0, y), self.side(1, x)
        return Tile(y, x, iy, ix, dy, dx, y, x)

    def side(self, axis: int, out: tuple[int, int]) -> tuple[tuple[int, int], int]:
        """Input rows (columns) of output rows (columns), clipped to the image, and the first tap's offset in them."""
        low, high, offset = self.window.span(axis, *out)
        return (low, high), offset

    def slot_flits(self, frame: Frame) -> int:
        raise NotImplementedError

    def transfers(self, tile: Tile, frame: Frame, words: tuple[int, int]) -> Iterator[Transfer]:
        raise NotImplementedError

    def pixel_flits(self, words: int) -> int:
        """Flits to load for each input pixel (packed: flit) of a tile and so many words."""
        raise NotImplementedError

    def geometry(self, frame: Frame) -> dict[str, int]:
        """Address steps for SETUP."""
        raise NotImplementedError

    def address(self, tile: Tile, frame: Frame, word: int, ky: int, kx: int) -> int:
        """Byte offset from the start of the slot of the first pixel's tap (ky, kx); may be negative."""
        raise NotImplementedError

    def rows_of(self, tile: Tile, ky: int) -> tuple[dict[str, int], dict[str, int]]:
        """Vertical bounds of SETUP, and of COMPUTE, for a step that starts at kernel row ky."""
        start = tile.dy + ky * self.window.dilation[0]
        stride, dilation, first, size = self.window.bounds(0, start, tile.height, tile.in_rows)
        return {"stride_h": stride, "dilation_h": dilation}, {"iy0": first, "in_h": size}

    def columns(self, tile: Tile, kx: int) -> dict[str, int]:
        """SETUP's horizontal bounds for a step that starts at kernel column kx."""
        start = tile.dx + kx * self.window.dilation[1]
        stride, dilation, first, size = self.window.bounds(1, start, tile.width, tile.in_cols)
        return {
            "stride_w": stride,
            "dilation_w": dilation,
            "pad_left": max(0, -first),
            "in_w": max(0, size - max(0, first)),
        }


@dataclass(frozen=True)
class PlanarSource(Source):
    """Channel blocks in planes of pixels."""

    def geometry(self, frame: Frame) -> dict[str, int]:
        pixel, row = self.word_bytes, frame.cols * self.word_bytes
        return {
            "step_x": self.window.stride[1] * pixel,
            "tap_x": 0 if self.window.apart[1] else self.window.dilation[1] * pixel,
            "step_y": self.window.stride[0] * row,
            "tap_y": self.window.dilation[0] * row,
            "block_pitch": frame.plane * self.word_bytes,
        }

    def address(self, tile: Tile, frame: Frame, word: int, ky: int, kx: int) -> int:
        row = tile.dy + ky * self.window.dilation[0]
        column = tile.dx + kx * self.window.dilation[1]
        return (word * frame.plane + row * frame.cols + column) * self.word_bytes


@dataclass(frozen=True)
class BlockedSource(PlanarSource):
    """One or more blocked tensors of equal shape."""

    placements: tuple[Placement, ...]
    groups: int

    @staticmethod
    def of(placements: tuple[Placement, ...], window: Window, word_bytes: int) -> BlockedSource:
        layout = placements[0].layout
        assert isinstance(layout, Blocked)
        groups = word_bytes // layout.block
        return BlockedSource(window, ceil_div(layout.blocks, groups), word_bytes, 1, placements, groups)

    @property
    def in_memory(self) -> tuple[Placement, ...]:
        return self.placements

    def moved(self, pictures: int) -> Self:
        return replace(self, placements=tuple(placement.moved(pictures) for placement in self.placements))

    @property
    def layout(self) -> Blocked:
        layout = self.placements[0].layout
        assert isinstance(layout, Blocked)
        return layout

    def slot_flits(self, frame: Frame) -> int:
        return len(self.placements) * frame.words * frame.plane * self.groups

    def pixel_flits(self, words: int) -> int:
        return len(self.placements) * min(words * self.groups, self.layout.blocks)

    def transfers(self, tile: Tile, frame: Frame, words: tuple[int, int]) -> Iterator[Transfer]:
        layout, groups = self.layout, self.groups
        width, pitch = layout.shape[2], frame.plane * groups
        for number, placement in enumerate(self.placements):
            for lane in range(groups):
                blocks = range(words[0] * groups + lane, min(words[1] * groups, layout.blocks), groups)
                if not blocks:
                    continue
                dst = number * frame.words * pitch + lane
                first = (
                    placement.addr + (blocks[0] * layout.plane_flits + tile.iy[0] * width + tile.ix[0]) * layout.block
                )
                flits = tile.in_rows * tile.in_cols
                if tile.in_cols == width == frame.cols and flits <= MAX_RUN_FLITS:
                    stride = groups * layout.plane_flits
                    yield Transfer(first, len(blocks), flits, stride, dst, pitch, 1)
                    continue
                for index in range(len(blocks)):
                    addr = first + index * groups * layout.plane_flits * layout.block
                    yield Transfer(addr, tile.in_rows, tile.in_cols, width, dst + index * pitch, frame.cols * groups, 1)


@dataclass(frozen=True)
class ResidentSource(PlanarSource):
    """A tensor in the scratchpads of the cores that read it."""

    resident: ClassVar[bool] = True
    residence: Residence

    @staticmethod
    def of(residence: Residence, window: Window, word_bytes: int) -> ResidentSource:
        return ResidentSource(window, residence.words, word_bytes, 1, residence)

    def frame(self, rows: int, cols: int, words: int) -> Frame:
        """The planes of the tensor, whatever the tiles."""
        return Frame(self.residence.height, self.residence.shape[2], self.residence.words)

    def slot_flits(self, frame: Frame) -> int:
        return 0

    def pixel_flits(self, words: int) -> int:
        return 0

    def place(self, core: int, tile: Tile, word: int) -> int:
        """Scratchpad byte of the first pixel of a tile's input, as if a chunk from a word on were loaded there."""
        flit = self.residence.flit(core, word * self.residence.groups, tile.iy[0], tile.ix[0])
        return flit * self.residence.layout.block


def wide_window(window: Window, out_hw: tuple[int, int]) -> Window:
    """The window of so many outputs, with a way to reach each of its positions if fields are too small for it."""
    reach = []
    for axis in (0, 1):
        first = (window.top, window.left)[axis]
        last = (out_hw[axis] - 1) * window.stride[axis] + (window.kernel[axis] - 1) * window.dilation[axis] - first
        if max(window.stride[axis], window.dilation[axis]) <= MAX_STRIDE:
            reach.append(Reach.FIELDS)
        else:
            reach.append(Reach.INSIDE if first <= 0 and last < window.in_hw[axis] else Reach.APART)
    return window._replace(reach=(reach[0], reach[1]))


def blocked_source(tensors: tuple[Placement | Residence, ...], window: Window, word_bytes: int) -> PlanarSource:
    """Blocked tensors of equal shape, wherever they lie.

    Raises
    ------
    PlanError
        If one of several is resident.
    """
    placements = tuple(tensor for tensor in tensors if isinstance(tensor, Placement))
    if len(placements) == len(tensors):
        return BlockedSource.of(placements, window, word_bytes)
    if len(tensors) > 1:
        raise PlanError(f"{len(tensors)} inputs, some on the chip: only a single input can be; put them into DRAM")
    (residence,) = (tensor for tensor in tensors if isinstance(tensor, Residence))
    return ResidentSource.of(residence, window, word_bytes)


@dataclass(frozen=True)
class FlatSource(Source):
    """A whole blocked tensor as a vector, in storage order."""

    placement: Placement
    block: int

    @staticmethod
    def of(placement: Placement, rows: int, block: int) -> FlatSource:
        window = Window((1, 1), (1, 1), (1, 1), 0, 0, (1, 1))
        return FlatSource(window, ceil_div(placement.nbytes, rows), rows, max(1, block // rows), placement, block)

    @property
    def in_memory(self) -> tuple[Placement, ...]:
        return (self.placement,)

    def moved(self, pictures: int) -> Self:
        return replace(self, placement=self.placement.moved(pictures))

    def slot_flits(self, frame: Frame) -> int:
        return ceil_div(frame.words * self.word_bytes, self.block)

    def pixel_flits(self, words: int) -> int:
        return ceil_div(min(words * self.word_bytes, self.placement.nbytes), self.block)

    def transfers(self, tile: Tile, frame: Frame, words: tuple[int, int]) -> Iterator[Transfer]:
        first = words[0] * self.word_bytes
        flits = (min(words[1] * self.word_bytes, self.placement.nbytes) - first) // self.block
        for start in range(0, flits, MAX_RUN_FLITS):
            addr = self.placement.addr + first + start * self.block
            yield Transfer(addr, 1, min(MAX_RUN_FLITS, flits - start), 0, start, 0, 0)

    def geometry(self, frame: Frame) -> dict[str, int]:
        return {"step_x": 0, "tap_x": 0, "step_y": 0, "tap_y": 0, "block_pitch": self.word_bytes}

    def address(self, tile: Tile, frame: Frame, word: int, ky: int, kx: int) -> int:
        return word * self.word_bytes


@dataclass(frozen=True)
class PackedSource(Source):
    """A packed network input: a kernel row (``fold``: a whole window) is one run of bytes.

    Input columns of a tile and a frame are flits.
    """

    placement: Placement
    rows: int

    @staticmethod
    def of(placement: Placement, rows: int) -> PackedSource:
        layout = placement.layout
        assert isinstance(layout, Packed)
        kernel_w = ceil_div(layout.window_bytes, rows)
        if layout.fold:
            window = Window((1, kernel_w), (1, 1), (1, 1), 0, 0, (layout.rows, 1))
        else:
            window = Window(
                (layout.kernel[0], kernel_w), (layout.stride[0], 1), (layout.dilation[0], 1), layout.padding[0], 0,
                (layout.rows, 1),
            )  # fmt: skip
            window = wide_window(window, (layout.out_rows, 1))
        return PackedSource(window, 1, layout.row_bytes, 1, placement, rows)

    @property
    def in_memory(self) -> tuple[Placement, ...]:
        return (self.placement,)

    def moved(self, pictures: int) -> Self:
        return replace(self, placement=self.placement.moved(pictures))

    @property
    def layout(self) -> Packed:
        layout = self.placement.layout
        assert isinstance(layout, Packed)
        return layout

    def side(self, axis: int, out: tuple[int, int]) -> tuple[tuple[int, int], int]:
        return super().side(axis, out) if axis == 0 else (self._flits(out), 0)

    def _flits(self, x: tuple[int, int]) -> tuple[int, int]:
        """Flits of a row that output columns need: all for all columns, so that rows are one run of bytes."""
        row = self.layout.row_bytes // self.layout.block
        if x == (0, self.layout.out_columns):
            return 0, row
        end = (x[1] - 1) * self._step_x + self.window.kernel[1] * self.rows
        return x[0] * self._step_x // self.layout.block, min(row, ceil_div(end, self.layout.block))

    @property
    def _step_x(self) -> int:
        """Bytes from output column to output column."""
        return self.layout.stride[1] * self.layout.pixel_bytes

    def slot_flits(self, frame: Frame) -> int:
        return frame.plane

    def pixel_flits(self, words: int) -> int:
        return 1

    def transfers(self, tile: Tile, frame: Frame, words: tuple[int, int]) -> Iterator[Transfer]:
        row = self.layout.row_bytes // self.layout.block
        addr = self.placement.addr + (tile.iy[0] * row + tile.ix[0]) * self.layout.block
        if tile.in_cols == row == frame.cols and tile.in_rows * row <= MAX_RUN_FLITS:
            yield Transfer(addr, 1, tile.in_rows * row, 0, 0, 0, 0)
        else:
            yield Transfer(addr, tile.in_rows, tile.in_cols, row, 0, frame.cols, 0)

    def geometry(self, frame: Frame) -> dict[str, int]:
        row = frame.cols * self.layout.block
        return {
            "step_x": self._step_x,
            "tap_x": self.rows,
            "step_y": self.window.stride[0] * row,
            "tap_y": self.window.dilation[0] * row,
            "block_pitch": 0,
        }

    def address(self, tile: Tile, frame: Frame, word: int, ky: int, kx: int) -> int:
        row = tile.dy + ky * self.window.dilation[0]
        pixel = tile.x[0] * self._step_x
        return (row * frame.cols - tile.ix[0]) * self.layout.block + pixel + kx * self.rows

    def columns(self, tile: Tile, kx: int) -> dict[str, int]:
        """Padding is in the rows, so every column is inside."""
        return {"stride_w": 1, "dilation_w": 1, "pad_left": 0, "in_w": MAX_WIDTH}
