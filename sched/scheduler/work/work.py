"""A layer as one kind of core sees it: output blocks, the passes that each takes, their weights and parameters.

Lowering (`scheduler.work.lower`) makes a `Work` of a graph node; a mapping then says how it is split and tiled, and
`scheduler.code.emit` writes the instructions. Everything that depends on the shape of the array is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from estimator.compute import window_columns
from rtl.contract.codec import table_blocks
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from scheduler.plan.program import Placement
from scheduler.work.source import BlockedSource, Source, Tile, Window

__all__ = ["MAX_BLOCKS", "OutBlock", "Requantisation", "ResidualInput", "Step", "Work"]

MAX_BLOCKS = 1023
MAX_TAPS = 63


class OutBlock(NamedTuple):
    """Output channels that one pass computes, and what it reads for them.

    Attributes
    ----------
    channel : int
        First output channel.
    lanes, groups : int
        Of the STORE: `groups` flits of `lanes` channels each.
    words : (first, end)
        Input words.
    offset : int
        Byte in a word at which the (TAP) lanes start.
    weights, params : int
        Number of its set of weights, and of its set of parameters.
    """

    channel: int
    lanes: int
    groups: int
    words: tuple[int, int]
    offset: int
    weights: int
    params: int


class Step(NamedTuple):
    """One COMPUTE: `words` words from `word` on, kernel rows [ky, ky + nky), kernel columns [kx, kx + nkx).

    ``weight`` and ``weight_bytes`` say where its weights lie in the block's set; ``pitch_words`` is the distance of
    its blocks in words.
    """

    word: int
    words: int
    offset: int
    ky: int
    nky: int
    kx: int
    nkx: int
    weight: int
    weight_bytes: int
    shift: int = 0
    pitch_words: int = 1

    @property
    def passes(self) -> int:
        return self.words * self.nky * self.nkx


@dataclass(frozen=True, eq=False)
class Requantisation:
    """Parameters of every set, ``uint8[sets][blocks * B * 8]``, and the clamp and activation table all share.

    Attributes
    ----------
    table : uint8[256], optional
    """

    sets: np.ndarray
    blocks: int
    zero_point: int
    lo: int
    hi: int
    table: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class ResidualInput:
    """A tensor that a convolution adds to its sums, on the tap unit: one pass for each output block.

    Attributes
    ----------
    source : BlockedSource
        The tensor, with a window of 1x1.
    weights : int8[O]
    shift : int
    """

    source: BlockedSource
    weights: np.ndarray
    shift: int

    def word(self, block: OutBlock) -> int:
        """Word that holds the channels of an output block."""
        return block.channel // self.source.word_bytes

    def step(self, block: OutBlock) -> Step:
        """Its COMPUTE."""
        return Step(0, 1, block.channel % self.source.word_bytes, 0, 1, 0, 1, 0, 0, self.shift)


@dataclass(frozen=True, eq=False)
class Work:
    """A layer on one kind of core.

    Attributes
    ----------
    items : tuple of tuple of OutBlock
        Output blocks; those of one item always go to the same core.
    shared_input : bool
        Every output block reads every word, so cores with different blocks can share the loads.
    weights_of : callable
        ``weights_of(block, order)`` -> uint8[passes * pass_bytes], the weights of a block. `order` lists (word, offset)
        of its passes, kernel taps innermost; None stands for word order. Without weights, None.
    pass_bytes : int
        Weights of a pass.
    repeated : bool
        All passes have the same weights: one set of the longest step serves all.
    """

    name: str
    op: str
    core: CoreParams
    block: int
    source: Source
    engine: Engine
    tap_mode: TapMode
    pad_value: int
    output: Placement
    items: tuple[tuple[OutBlock, ...], ...]
    shared_input: bool
    pass_bytes: int
    requant: Requantisation
    weights_of: Callable[[OutBlock, list[tuple[int, int]] | None], np.ndarray] | None = None
    repeated: bool = False
    offsets: tuple[int, ...] = ()
    digits: tuple[tuple[int, int, int], ...] = ()
    """Of an addition: (tap_shift, first tensor, tensors) per COMPUTE."""
    row_range: tuple[int, int] | None = None
    """Output rows to compute, if not all."""
    pool: Window | None = None
    """Maximum pool that the STOREs apply; the output is then what it makes of the layer's own."""
    residual: ResidualInput | None = None

    @property
    def kind(self) -> Hashable:
        """Equal for works that are mapped alike: all but names, values and addresses."""
        return (
            self.core, self.block, self.source.unplaced, self.engine, self.tap_mode, self.output.layout, self.items,
            self.shared_input, self.pass_bytes, self.requant.sets.shape, self.requant.blocks, self.table_blocks,
            self.weights_of is None, self.repeated, self.offsets, self.digits, self.row_range, self.pool,
            self.residual and (self.residual.source.unplaced, self.residual.shift),
        )  # fmt: skip

    @property
    def table_blocks(self) -> int:
        """Parameter blocks that the activation table takes: the memory's last ones."""
        return 0 if self.requant.table is None else table_blocks(self.block)

    @property
    def table_base(self) -> int:
        """First of the blocks of the table."""
        return self.core.param_blocks - self.table_blocks

    @property
    def out_hw(self) -> tuple[int, int]:
        return self.output.shape[1], self.output.shape[2]

    @property
    def rows(self) -> tuple[int, int]:
        """Output rows [first, end)."""
        return self.row_range or (0, self.out_hw[0])

    @property
    def height(self) -> int:
        """Output rows to compute."""
        return self.rows[1] - self.rows[0]

    @property
    def taps(self) -> int:
        return self.source.window.kernel[0] * self.source.window.kernel[1]

    @property
    def min_pass(self) -> int:
        """Fewest cycles of a pass."""
        return max(self.core.rows, self.core.cols) if self.engine == Engine.ARRAY else 1

    @property
    def weight_align(self) -> int:
        return max(self.block, self.core.cols)

    def has_window(self, columns: int) -> bool:
        """A kernel row of so many columns goes through the tap unit's window: where that saves cycles."""
        window = self.source.window
        return (
            self.engine == Engine.TAP
            and window.stride[1] < columns <= self.core.tap_columns
            and window.dilation[1] == 1
            and window.kernel[1] == columns
        )

    def pass_cycles(self, tile: Tile) -> float:
        """Cycles of a pass over a tile; of a pass through the window, its share of each kernel column."""
        columns = self.source.window.kernel[1]
        if not self.has_window(columns):
            return max(tile.pixels, self.min_pass)
        streamed = tile.height * window_columns(tile.width, self.source.window.stride[1], columns)
        return max(streamed, columns + 1) / columns

    def store_cycles(self, pixels: int) -> int:
        """Cycles in which so many output pixels drain, for each group."""
        return pixels * (self.pool.kernel[0] * self.pool.kernel[1] if self.pool else 1)

    def padded_weights(self, passes: int) -> int:
        """Bytes that the weights of a step take up."""
        return -(-passes * self.pass_bytes // self.block) * self.block

    def block_offsets(self, block: OutBlock) -> tuple[int, ...]:
        """Where in a word the passes of a block start."""
        return self.offsets or (block.offset,)

    def chunks(self, chunk_words: int) -> list[tuple[int, int]]:
        """Words [first, end) of each chunk."""
        words = self.source.words
        return [(first, min(first + chunk_words, words)) for first in range(0, words, chunk_words)]

    def chunk_steps(self, block: OutBlock, chunk_words: int, slice_passes: int) -> list[tuple[int, Step]]:
        """(chunk, COMPUTE) of a block, in order, with at most `slice_passes` passes each.

        ``weight`` is relative to the start of the block's set. The same list for all blocks that read the same words.
        """
        key = block.words, block.offset, chunk_words, slice_passes
        if key not in self._steps:
            self._steps[key] = list(self._chunk_steps(block, chunk_words, slice_passes))
        return self._steps[key]

    @cached_property
    def _steps(self) -> dict[Hashable, list[tuple[int, Step]]]:
        return {}

    def _chunk_steps(self, block: OutBlock, chunk_words: int, slice_passes: int) -> Iterator[tuple[int, Step]]:
        base = 0
        for number, chunk in enumerate(self.chunks(chunk_words)):
            if chunk[1] <= block.words[0] or chunk[0] >= block.words[1]:
                continue
            size = 0
            for step in self._steps_of(block, chunk, chunk_words, slice_passes):
                yield number, step._replace(weight=base + step.weight)
                size = step.weight + step.weight_bytes
            if not (self.repeated or self.digits):
                base += size

    def _steps_of(self, block: OutBlock, chunk: tuple[int, int], chunk_words: int, slice_passes: int) -> Iterator[Step]:
        """COMPUTEs over a chunk; ``weight`` is relative to the first of them."""
        first, end = max(chunk[0], block.words[0]), min(chunk[1], block.words[1])
        weight = 0
        if self.digits:
            for shift, tensor, tensors in self.digits:
                size = self.padded_weights(tensors)
                word = first - chunk[0] + tensor * chunk_words
                yield Step(word, tensors, block.offset, 0, 1, 0, 1, weight, size, shift, chunk_words)
                weight += size
            return
        for offset in self.block_offsets(block):
            for word, words, ky, nky, kx, nkx in self._slices(first, end, slice_passes):
                size = self.padded_weights(slice_passes if self.repeated else words * nky * nkx)
                yield Step(word - chunk[0], words, offset, ky, nky, kx, nkx, 0 if self.repeated else weight, size)
                weight += size

    def _slices(self, first: int, end: int, limit: int) -> Iterator[tuple[int, int, int, int, int, int]]:
        kh, kw = self.source.window.kernel
        if kh * kw <= limit and max(kh, kw) <= MAX_TAPS:
            count = min(limit // (kh * kw), MAX_BLOCKS)
            for word in range(first, end, count):
                yield word, min(count, end - word), 0, kh, 0, kw
            return
        rows = min(limit // kw, MAX_TAPS) if kw <= MAX_TAPS else 0
        for word in range(first, end):
            if rows:
                for ky in range(0, kh, rows):
                    yield word, 1, ky, min(rows, kh - ky), 0, kw
                continue
            columns = min(limit, MAX_TAPS)
            for ky in range(kh):
                for kx in range(0, kw, columns):
                    yield word, 1, ky, 1, kx, min(columns, kw - kx)
