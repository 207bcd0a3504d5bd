"""Lists of a layer on a sparse engine: how its weights are cut into passes, and what each pass has in its lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np

from estimator.engines.sparse.pairs import met_weights
from rtl.contract.params import CoreParams
from scheduler.engines.convolution import Operands
from scheduler.engines.sparse_reads import places_of
from scheduler.plan.layout import ceil_div

__all__ = ["Cut", "Lists", "PassesAlike", "by_place", "listed_passes"]


class Cut(NamedTuple):
    """How many kernel rows, kernel columns and words of the input a pass takes; rows or words are 1."""

    rows: int
    columns: int
    words: int

    @property
    def items(self) -> int:
        """Of the longest pass."""
        return self.rows * self.columns * self.words

    def parts(self, kernel: tuple[int, int]) -> list[tuple[int, int, int, int]]:
        """(first kernel row, rows, first kernel column, columns) of each part of the kernel."""
        return [
            (ky, min(self.rows, kernel[0] - ky), kx, min(self.columns, kernel[1] - kx))
            for ky, kx in product(range(0, kernel[0], self.rows), range(0, kernel[1], self.columns))
        ]

    def passes(self, kernel: tuple[int, int], words: int) -> int:
        """Of a block with so many words, at one place in a word."""
        return len(self.parts(kernel)) * ceil_div(words, self.words)


@dataclass(frozen=True)
class Lists:
    """How long the lists of every pass of a layer are.

    Attributes
    ----------
    cut : Cut
    kernel : (int, int)
    words : tuple of int
        Of each set of weights.
    shape : tuple of int
        Sets of weights, places in a word, parts of the kernel, and groups of words.
    data : bytes
        Rounds, uint8 of this shape; 0 where a set has fewer words than others.
    orders : uint8[shape, C]
        Filters of every pass as columns take them.
    cycles : bytes
        From pixel to pixel, float64 of this shape, in the mean over the map; nothing where nothing is known of the
        activations.
    of_tiles : callable, optional
        ``of_tiles(rows)`` -> float64[tiles, shape]: the same of tiles of some rows [first, end) of the output each;
        None where rows are not known apart.
    """

    cut: Cut
    kernel: tuple[int, int]
    words: tuple[int, ...]
    shape: tuple[int, ...]
    data: bytes
    orders: np.ndarray = field(compare=False)
    cycles: bytes = b""
    of_tiles: Callable[[Sequence[tuple[int, int]]], np.ndarray] | None = field(default=None, compare=False)

    @cached_property
    def rounds(self) -> np.ndarray:
        """uint8[shape]."""
        return np.frombuffer(self.data, np.uint8).reshape(self.shape)

    @cached_property
    def pixel_cycles(self) -> np.ndarray:
        """float64[shape]; 0 where nobody knows."""
        return np.frombuffer(self.cycles).reshape(self.shape) if self.cycles else np.zeros(self.shape)

    def tile_cycles(self, rows: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], np.ndarray]:
        """From pixel to pixel over tiles of some rows [first, end) of the output, float64[shape] each; 0 where nobody
        knows. They are kept."""
        known = self._tile_cycles
        if self.of_tiles is None:
            return dict.fromkeys(rows, self.pixel_cycles)
        if new := sorted(set(rows) - set(known)):
            known.update(zip(new, self.of_tiles(new), strict=True))
        return known

    @cached_property
    def _tile_cycles(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    @cached_property
    def items(self) -> np.ndarray:
        """Kernel positions of each pass, int[sets, 1, parts, groups]; 0 where there is none."""
        group = np.arange(self.shape[3]) * self.cut.words
        words = np.clip(np.array(self.words)[:, None] - group, 0, self.cut.words)
        taps = np.array([rows * columns for _, rows, _, columns in self.cut.parts(self.kernel)])
        return (taps[:, None] * words[:, None, :])[:, None]


class PassesAlike(NamedTuple):
    """Passes of a layer that have as many items.

    Attributes
    ----------
    numbers : int[passes, 4]
        Which ones: their place in `Lists.shape`.
    met, places
        As of `estimator.engines.sparse.rates.pass_rates`.
    """

    numbers: np.ndarray
    met: np.ndarray
    places: np.ndarray


def listed_passes(operands: Operands, lists: Lists, core: CoreParams, *, zeros: bool = False) -> Iterator[PassesAlike]:
    """All passes of a layer; with `zeros` every weight is in a list."""
    source, starts = operands.source, len(operands.starts)
    numbers, met, places = (defaultdict[int, list[np.ndarray]](list) for _ in range(3))  # by items of a pass
    for number, block in enumerate(operands.blocks):
        of_places = (one for filters in operands.filters for one in by_place(filters(block), starts, core.cols))
        for place, dense in enumerate(of_places):
            units = (block.words[0] + np.arange(len(dense))) * starts + place % starts
            for part, (ky, rows, kx, columns) in enumerate(lists.cut.parts(lists.kernel)):
                kept = (dense[:, ky : ky + rows, kx : kx + columns] != 0) | zeros
                taps = np.meshgrid(units, ky + np.arange(rows), kx + np.arange(columns), indexing="ij")
                found = places_of(source, *taps)
                for group, first in enumerate(range(0, len(dense), lists.cut.words)):
                    of_pass = slice(first, first + lists.cut.words)
                    one = kept[of_pass].reshape(1, -1, core.rows, core.cols)
                    items = one.shape[1]
                    numbers[items].append(np.array([number, place, part, group]))
                    met[items].append(met_weights(one, lists.orders[[number], place, part, group], core))
                    places[items].append(found[of_pass].reshape(items, 3))
    for items, own in numbers.items():
        yield PassesAlike(np.stack(own), np.concatenate(met[items]), np.stack(places[items]))


def by_place(units: np.ndarray, starts: int, cols: int) -> np.ndarray:
    """int8[starts, words, Kh, Kw, R, C] of filters int8[F, units, Kh, Kw, R]; zero beyond the last filter."""
    filters, count, *kernel, rows = units.shape
    grown = np.zeros((starts, count // starts, *kernel, rows, cols), np.int8)
    by_place = units.reshape(filters, count // starts, starts, *kernel, rows)
    grown[..., :filters] = by_place.transpose(2, 1, 3, 4, 5, 0)
    return grown
