"""A layer as one kind of core sees it: what it reads, the passes that each output block takes, where its output goes.

An engine's lowering (`scheduler.engines`) makes a `Work` of a `Task`; a mapping then says how it is split and tiled,
and `scheduler.code.emit` writes the instructions. Everything that depends on the shape of an engine is decided here.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np

from estimator.transfers import store_cycles
from rtl.contract.codec import table_blocks
from rtl.contract.params import CoreParams
from scheduler.alike import UNMAPPED, kind_of
from scheduler.plan.layout import even_split
from scheduler.plan.program import Placement
from scheduler.work.passes import OutBlock, Passes, Step
from scheduler.work.sink import Sink
from scheduler.work.source import PlanarSource, Source, Tile, Window

__all__ = ["Requantisation", "ResidualInput", "Work"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Requantisation:
    """Parameters of every set, ``uint8[sets][blocks * B * 8]``, and the clamp and activation table all share.

    Attributes
    ----------
    table : uint8[256], optional
    """

    sets: np.ndarray
    blocks: int
    zero_point: Annotated[int, UNMAPPED]
    lo: Annotated[int, UNMAPPED]
    hi: Annotated[int, UNMAPPED]
    table: np.ndarray | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ResidualInput:
    """A tensor that a layer adds to its sums: one pass for each output block, perhaps on another engine.

    Attributes
    ----------
    source : PlanarSource
        The tensor, with a window of 1x1.
    passes : Passes
        The engine that adds it.
    weights : int8[O]
    shift : int
    """

    source: PlanarSource
    passes: Passes
    weights: np.ndarray
    shift: int

    def word(self, block: OutBlock) -> int:
        """Word that holds the channels of an output block."""
        return block.channel // self.source.word_bytes

    def step(self, block: OutBlock) -> Step:
        """Its COMPUTE."""
        return Step(0, 1, block.channel % self.source.word_bytes, 0, 1, 0, 1, 0, 0, self.shift)

    def pass_cycles(self, core: CoreParams, tile: Tile) -> float:
        """Cycles of its pass over a tile of the output."""
        return self.passes.pass_cycles(core, self.source.window, tile)


@dataclass(frozen=True, eq=False, kw_only=True)
class Work:
    """A layer on one kind of core.

    Attributes
    ----------
    name, op : str
        For reports.
    source : Source
        Its input.
    passes : Passes
        What the engine does for each output block.
    items : tuple of tuple of OutBlock
        Output blocks; those of one item always go to the same core.
    shared_input : bool
        Every output block reads every word, so cores with different blocks can share the loads.
    requant : Requantisation
    sink : Sink
        Where the output goes.
    pool : Window, optional
        Maximum pool that the STOREs apply; the output is then what it makes of the layer's own.
    residual : ResidualInput, optional
    row_range : (first, end), optional
        Output rows to compute, if not all.
    row_parts : tuple of (first, end), optional
        Output rows of every row part, if `row_range` is not split evenly. They may overlap: rows that several cores
        need are then computed by each.
    """

    name: Annotated[str, UNMAPPED]
    op: Annotated[str, UNMAPPED]
    core: CoreParams
    source: Source
    passes: Passes
    items: tuple[tuple[OutBlock, ...], ...]
    shared_input: bool = False
    requant: Requantisation
    sink: Sink
    pool: Window | None = None
    residual: ResidualInput | None = None
    row_range: tuple[int, int] | None = None
    row_parts: tuple[tuple[int, int], ...] | None = None

    @cached_property
    def kind(self) -> Hashable:
        """Equal for works that are mapped alike: all but names, values and addresses."""
        return kind_of(self)

    @property
    def block(self) -> int:
        """Channels of a storage block."""
        return self.sink.block

    @property
    def pictures(self) -> int:
        """Pictures that are computed together, each by cores of its own: those share weights, and nothing else."""
        return self.sink.pictures

    def moved(self, pictures: int) -> Work:
        """The same for pictures so many behind."""
        residual = self.residual
        if residual is not None:
            residual = replace(residual, source=residual.source.moved(pictures))
        return replace(
            self, source=self.source.moved(pictures), passes=self.passes.moved(pictures),
            sink=self.sink.moved(pictures), residual=residual,
        )  # fmt: skip

    @property
    def in_memory(self) -> tuple[Placement, ...]:
        """Tensors that it loads from DRAM."""
        added = () if self.residual is None else self.residual.source.in_memory
        weights = self.passes.weights
        computed = () if weights is None or weights.computed is None else (weights.computed,)
        return self.source.in_memory + added + computed

    @property
    def table_blocks(self) -> int:
        """Parameter blocks that the activation table takes."""
        return 0 if self.requant.table is None else table_blocks(self.block)

    @property
    def out_hw(self) -> tuple[int, int]:
        return self.sink.shape[1], self.sink.shape[2]

    @property
    def rows(self) -> tuple[int, int]:
        """Output rows [first, end)."""
        return self.row_range or (0, self.out_hw[0])

    @property
    def height(self) -> int:
        """Output rows to compute, over all row parts."""
        if self.row_parts is not None:
            return sum(end - first for first, end in self.row_parts)
        return self.rows[1] - self.rows[0]

    def split_rows(self, parts: int) -> tuple[tuple[int, int], ...]:
        """Output rows of each of so many row parts."""
        if self.row_parts is not None:
            assert len(self.row_parts) == parts, f"{self.name} has {len(self.row_parts)} row parts, not {parts}"
            return self.row_parts
        start = self.rows[0]
        return tuple((start + first, start + end) for first, end in even_split(self.height, parts))

    def channel_parts(self, parts: int) -> list[list[OutBlock]]:
        """Output blocks of each of so many channel parts; the same list for all who ask."""
        if parts not in self._channel_parts:
            splits = even_split(len(self.items), parts)
            self._channel_parts[parts] = [
                [block for item in self.items[first:end] for block in item] for first, end in splits
            ]
        return self._channel_parts[parts]

    @cached_property
    def _channel_parts(self) -> dict[int, list[list[OutBlock]]]:
        return {}

    @property
    def taps(self) -> int:
        return self.source.window.kernel[0] * self.source.window.kernel[1]

    @property
    def pass_bytes(self) -> int:
        """Weights of a pass."""
        return self.passes.pass_bytes

    @property
    def weight_align(self) -> int:
        return max(self.block, self.core.cols)

    def pass_cycles(self, tile: Tile) -> float:
        """Cycles of a pass over a tile."""
        return self.passes.pass_cycles(self.core, self.source.window, tile)

    def store_cycles(self, pixels: int) -> int:
        """Cycles in which so many output pixels drain, for each group."""
        return store_cycles(pixels, self.pool.kernel if self.pool else None)

    def padded_weights(self, passes: int) -> int:
        """Bytes that the weights of a step take up."""
        return self.passes.weight_bytes(passes, self.block)

    def chunks(self, chunk_words: int) -> list[tuple[int, int]]:
        """Words [first, end) of each chunk."""
        words = self.source.words
        return [(first, min(first + chunk_words, words)) for first in range(0, words, chunk_words)]

    def chunk_steps(self, block: OutBlock, chunk_words: int, slice_passes: int) -> list[tuple[int, Step]]:
        """(chunk, COMPUTE) of a block, in order, with at most `slice_passes` passes each.

        ``weight`` is relative to the start of the block's set. The same list for all blocks that take the same steps.
        """
        key = self.passes.alike(block), chunk_words, slice_passes
        if key not in self._steps:
            self._steps[key] = self._chunk_steps(block, chunk_words, slice_passes)
        return self._steps[key]

    @cached_property
    def _steps(self) -> dict[Hashable, list[tuple[int, Step]]]:
        return {}

    def _chunk_steps(self, block: OutBlock, chunk_words: int, slice_passes: int) -> list[tuple[int, Step]]:
        found: list[tuple[int, Step]] = []
        base = 0
        for number, chunk in enumerate(self.chunks(chunk_words)):
            if chunk[1] <= block.words[0] or chunk[0] >= block.words[1]:
                continue
            size = 0
            for step in self.passes.steps(block, chunk, chunk_words, slice_passes, self.source.window, self.block):
                found.append((number, step._replace(weight=base + step.weight)))
                size = step.weight + step.weight_bytes
            if not self.passes.repeated:
                base += size
        return found
