"""The passes of an output block on an engine: the common part; each engine adds options of its own.

Everything that the engine decides about a work is asked here: how its COMPUTEs are cut, what its SETUPs say, and what
a pass costs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, ClassVar, NamedTuple, Self

import numpy as np

from estimator.engines import EngineTiming, Pass
from rtl.contract.params import CoreParams
from scheduler.alike import UNMAPPED
from scheduler.plan.layout import round_up
from scheduler.plan.limits import MAX_BLOCKS, MAX_TAPS
from scheduler.plan.program import Placement
from scheduler.work.source import Tile, Window

__all__ = ["Order", "OutBlock", "Passes", "Step", "Weights"]

Order = list[tuple[int, int]] | None
"""(word, offset) of the passes of a block, kernel taps innermost; None stands for word order."""


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
        Byte in a word at which the lanes start, for an engine whose blocks have words of their own.
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
    its blocks in words. With ``stacked`` words, of an engine whose passes are blocks, a pass takes so many words as if
    they were kernel rows; a step has a single kernel row then. ``rounds`` are those of the lists of such an engine, and
    ``listed`` is the number of its first pass among all of the work.
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
    stacked: int = 1
    rounds: int = 0
    listed: int = 0

    @property
    def passes(self) -> int:
        return self.words * self.nky * self.nkx


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """Weights of the passes of every block.

    Attributes
    ----------
    pass_bytes : int
        Of one pass.
    of : callable
        ``of(block, order)`` -> uint8[passes * pass_bytes].
    repeated : bool
        All passes have the same weights: one set of the longest step serves all.
    computed : Placement, optional
        A tensor (C, 1, 1) that the first pass of every block takes as its weights, in the place of those that `of` has
        there.
    """

    pass_bytes: int
    of: Callable[[OutBlock, Order], np.ndarray]
    repeated: bool = False
    computed: Placement | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Passes:
    """What an engine does for each output block.

    Attributes
    ----------
    weights : Weights, optional
    pad_value : int
        What padding contributes.
    timing : EngineTiming
        What its passes cost.
    own_words : bool
        Every output block reads words of its own, so that nothing is kept for another block.
    halo_cost : int
        How much rows that two tiles read are worth avoiding.
    unlike : bool
        Sets of weights differ in their sizes, even if they are for as many words.
    shares_loads : bool
        Two tiles may take turns with a block's passes (`scheduler.map.mapping.Mapping.in_pairs`): a pass takes long
        enough to empty a bank of accumulators meanwhile.
    """

    timing: ClassVar[EngineTiming]
    own_words: ClassVar[bool] = False
    halo_cost: ClassVar[int] = 2
    unlike: ClassVar[bool] = False
    shares_loads: ClassVar[bool] = False
    weights: Weights | None = None
    pad_value: Annotated[int, UNMAPPED] = 0

    @property
    def pass_bytes(self) -> int:
        """Weights of a pass."""
        return 0 if self.weights is None else self.weights.pass_bytes

    @property
    def repeated(self) -> bool:
        return self.weights is not None and self.weights.repeated

    # --- cuts ---------------------------------------------------------------------------------------------------

    def offsets(self, block: OutBlock) -> tuple[int, ...]:
        """Bytes in a word at which the passes of a block start."""
        return (block.offset,)

    def of_word(self, taps: int) -> int:
        """Passes of a word and an offset, which a COMPUTE keeps together where it can."""
        return taps

    @property
    def least(self) -> int:
        """Passes that a COMPUTE must be able to take."""
        return 1

    def alike(self, block: OutBlock) -> Hashable:
        """Equal for blocks that take the same steps."""
        return block.words, block.offset

    def moved(self, pictures: int) -> Self:
        """The same for pictures so many behind."""
        weights = self.weights
        if weights is None or weights.computed is None:
            return self
        return replace(self, weights=replace(weights, computed=weights.computed.moved(pictures)))

    def weight_at(self, block: OutBlock, step: Step, row: int) -> int:
        """Byte of its loaded weights at which those of a step begin, of blocks of so many bytes."""
        computed = self.weights is not None and self.weights.computed is not None and not step.weight
        return block.channel % row if computed else 0

    def count(self, block: OutBlock, taps: int) -> int:
        """Passes of a block."""
        return (block.words[1] - block.words[0]) * taps * len(self.offsets(block))

    def set_bytes(self, block: OutBlock, taps: int) -> int:
        """Weights of all passes of a block."""
        return self.count(block, taps) * self.pass_bytes

    def steps(
        self, block: OutBlock, chunk: tuple[int, int], chunk_words: int, limit: int, window: Window, align: int
    ) -> Iterator[Step]:
        """COMPUTEs of a block over the words of a chunk, of at most `limit` passes each.

        ``weight`` is relative to the first of them; the weights of each take up a multiple of `align` bytes.
        """
        first, end = max(chunk[0], block.words[0]), min(chunk[1], block.words[1])
        weight = 0
        for offset in self.offsets(block):
            for word, words, ky, nky, kx, nkx in _slices(first, end, limit, window):
                size = self.weight_bytes(limit if self.repeated else words * nky * nkx, align)
                yield Step(word - chunk[0], words, offset, ky, nky, kx, nkx, 0 if self.repeated else weight, size)
                weight += size

    def weight_bytes(self, passes: int, align: int) -> int:
        """Bytes that the weights of a step take up."""
        return round_up(passes * self.pass_bytes, align)

    def image(
        self, block: OutBlock, steps: Sequence[tuple[int, Step]], order: Order, most: int, align: int
    ) -> np.ndarray:
        """Weights of a block as they lie in DRAM, uint8[N].

        Parameters
        ----------
        steps : sequence of (word, Step)
            All of the block, each with the first word of its chunk.
        order : Order
            Of its passes, in these steps.
        most : int
            Passes of the longest step.
        align : int
            Of which the weights of each step take up a multiple.
        """
        assert self.weights is not None
        raw = self.weights.of(block, order)
        if self.repeated:
            return np.tile(raw, most)
        if not self.pass_bytes % align or self.weights.computed is not None:
            return raw
        pieces, start = [], 0
        for _, step in steps:
            size = step.passes * self.pass_bytes
            pieces.append(np.pad(raw[start : start + size], (0, step.weight_bytes - size)))
            start += size
        return np.concatenate(pieces)

    # --- instructions -------------------------------------------------------------------------------------------

    def setup(self, core: CoreParams, window: Window, step: Step) -> dict[str, int]:
        """The engine's own fields of a step's SETUP."""
        raise NotImplementedError

    # --- cost ---------------------------------------------------------------------------------------------------

    def pixel_cycles(self, computes: Sequence[tuple[Step, Tile]]) -> list[float]:
        """Cycles from pixel to pixel of steps, each over a tile, mean of its passes, of an engine whose cycles depend
        on values; 0 where nobody knows."""
        return [0.0] * len(computes)

    def pass_cycles(self, core: CoreParams, window: Window, tile: Tile) -> float:
        """Cycles of a pass over a tile; of a pass that takes several kernel columns, the share of each."""
        return self.timing.pass_cycles(core, Pass(tile.height, tile.width))


def _slices(first: int, end: int, limit: int, window: Window) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(word, words, kernel row, rows, kernel column, columns) of pieces of at most `limit` passes."""
    kh, kw = window.kernel
    if any(window.apart):
        rows, columns = (
            1 if apart else min(size, limit, MAX_TAPS) for apart, size in zip(window.apart, (kh, kw), strict=True)
        )
        rows = rows if columns == kw else 1
        rows = max(1, min(rows, limit // columns))
        for word, ky, kx in product(range(first, end), range(0, kh, rows), range(0, kw, columns)):
            yield word, 1, ky, min(rows, kh - ky), kx, min(columns, kw - kx)
        return
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
