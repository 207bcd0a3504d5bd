"""The sparse engine: convolutions and fully connected layers, lists of the weights that are not zero.

A pass is what the engine holds lists of: some kernel positions, of some words of the input. How a layer is cut into
passes (`Cut`) is settled when the engine bids, by the lists themselves: longer passes balance better, join less often
and write fewer accumulators, but the longest list has to fit a PE.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import groupby
from math import lcm
from typing import Annotated, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from estimator.engines import TIMINGS, EngineTiming, Pass
from estimator.engines.sparse.pairs import of_lanes
from estimator.engines.sparse.rates import pass_rates, tile_rates
from golden.int8.batch import plain
from golden.int8.qnodes import QConv
from rtl.contract.isa import Engine
from rtl.contract.params import CoreParams
from scheduler.alike import UNMAPPED
from scheduler.engines.convolution import Operands, convolution
from scheduler.engines.sparse_lists import Cut, Lists, by_place, listed_passes
from scheduler.engines.sparse_reads import reads_of
from scheduler.errors import PlanError
from scheduler.plan.layout import SparseWeights, ceil_div, round_up
from scheduler.plan.limits import MAX_BLOCKS, MAX_TAPS
from scheduler.work.balance import share_columns
from scheduler.work.options import SparseOptions
from scheduler.work.passes import Order, OutBlock, Passes, Step
from scheduler.work.source import FlatSource, PlanarSource, Tile, Window
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["SPARSE", "Cut", "Lists", "SparsePasses"]

SLOWER = 1.03
"""What other bids may take, in cycles of the first one's passes. Short passes of pruned layers balance worse, and take
8 to 11 % more; the closed form, which counts fully what long ones wait for, would choose them in vain (VGG-16)."""
SHARED_BYTES = 4096
"""Of the passes of a COMPUTE, which all have lists as long as the longest: where one pass has more, it stays alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SparsePasses(Passes):
    """Passes of the sparse engine; counted by kernel positions, as `Passes` does.

    Attributes
    ----------
    layout : SparseWeights
    operands : Operands
    lists : Lists
    options : SparseOptions
    """

    timing: ClassVar[EngineTiming] = TIMINGS["sparse"]
    unlike: ClassVar[bool] = True
    shares_loads: ClassVar[bool] = True
    layout: SparseWeights
    operands: Annotated[Operands, UNMAPPED]
    lists: Lists
    options: SparseOptions

    def offsets(self, block: OutBlock) -> tuple[int, ...]:
        return self.operands.starts * len(self.operands.filters)

    @property
    def least(self) -> int:
        return self.lists.cut.items

    def alike(self, block: OutBlock) -> Hashable:
        return block.weights

    # --- weights ------------------------------------------------------------------------------------------------

    @cached_property
    def _bytes(self) -> np.ndarray:
        """Of every pass, int[sets, places, parts, groups]."""
        items, rounds = self.lists.items, self.lists.rounds.astype(np.int64)
        return np.where(items > 0, self.layout.nbytes(items, rounds), 0)

    @cached_property
    def pass_bytes(self) -> int:
        """Most that a kernel position takes, its share of the lists included."""
        return int((-(-self._bytes // np.maximum(self.lists.items, 1))).max())

    @property
    def repeated(self) -> bool:
        return False

    def set_bytes(self, block: OutBlock, taps: int) -> int:
        return self._set_bytes[block.weights]

    @cached_property
    def _set_bytes(self) -> list[int]:
        return self._bytes.sum(axis=(1, 2, 3)).tolist()

    def steps(
        self, block: OutBlock, chunk: tuple[int, int], chunk_words: int, limit: int, window: Window, align: int
    ) -> Iterator[Step]:
        cut, base, weight = self.lists.cut, block.words[0], 0
        first, end = max(chunk[0], base), min(chunk[1], block.words[1])
        assert (first - base) % cut.words == 0, "chunks begin where passes do"
        groups = range((first - base) // cut.words, ceil_div(end - base, cut.words))
        for place, offset in enumerate(self.offsets(block)):
            for part, (ky, nky, kx, nkx) in enumerate(cut.parts(window.kernel)):
                rounds = self.lists.rounds[block.weights, place, part]
                for group, count, stacked in self._together(groups, end - base, nky * nkx, limit):
                    most = int(rounds[group : group + count].max())
                    size = round_up(count * self.layout.nbytes(stacked * nky * nkx, most), align)
                    word = base + group * cut.words - chunk[0]
                    first_pass = np.ravel_multi_index((block.weights, place, part, group), self.lists.shape)
                    yield Step(
                        word, count * stacked, offset, ky, nky, kx, nkx, weight, size, stacked=stacked, rounds=most,
                        listed=int(first_pass),
                    )  # fmt: skip
                    weight += size

    def _together(self, groups: range, words: int, taps: int, limit: int) -> Iterator[tuple[int, int, int]]:
        """(first group, groups, words of each) of the COMPUTEs of a part of the kernel with so many positions."""
        stacked = self.lists.cut.words
        items = taps * stacked
        assert items <= limit, "a slot of weights holds a pass"
        most = min(limit // items, SHARED_BYTES // (items * self.pass_bytes), MAX_BLOCKS // stacked)
        whole = range(groups.start, min(groups.stop, words // stacked))
        for group in range(whole.start, whole.stop, max(1, most)):
            yield group, min(max(1, most), whole.stop - group), stacked
        if whole.stop < groups.stop:  # the last one, of fewer words
            yield whole.stop, 1, words - whole.stop * stacked

    def image(
        self, block: OutBlock, steps: Sequence[tuple[int, Step]], order: Order, most: int, align: int
    ) -> np.ndarray:
        starts = len(self.operands.starts)
        parts = [by_place(filters(block), starts, self.layout.core.cols) for filters in self.operands.filters]
        end = max(step.weight + step.weight_bytes for _, step in steps)
        data = np.zeros(end, np.uint8)
        for first, of_chunk in groupby(steps, key=lambda item: item[0]):
            own = [step for _, step in of_chunk]
            of_place = len(own) // len(self.offsets(block))  # one place in a word behind the other
            for number, step in enumerate(own):
                place = number // of_place
                weights, start = divmod(place, starts)
                raw = self._packed(
                    parts[weights][start], step, (block.weights, place), first + step.word - block.words[0]
                )
                data[step.weight : step.weight + raw.size] = raw
        return data

    def _packed(self, dense: np.ndarray, step: Step, place: tuple[int, int], word: int) -> np.ndarray:
        """Passes of a step from a word on, of weights int8[words, Kh, Kw, R, C] of such a set and place in a word."""
        own = dense[word : word + step.words, step.ky : step.ky + step.nky, step.kx : step.kx + step.nkx]
        passes = own.reshape(step.words // step.stacked, -1, *own.shape[3:])
        listed = self.options.skip != "activations"
        part = self.lists.cut.parts(self.lists.kernel).index((step.ky, step.nky, step.kx, step.nkx))
        orders = self.lists.orders[*place, part, word // self.lists.cut.words :]
        return np.concatenate(
            [
                self.layout.pack(one, order, step.rounds, zeros=not listed)
                for one, order in zip(passes, orders, strict=False)
            ]
        )

    # --- instructions and cost ----------------------------------------------------------------------------------

    def setup(self, core: CoreParams, window: Window, step: Step) -> dict[str, int]:
        skips = int(self.options.skip != "weights")
        return {"engine": Engine.SPARSE, "run_ahead": self.options.ahead(core), "skip_acts": skips}

    def pixel_cycles(self, computes: Sequence[tuple[Step, Tile]]) -> list[float]:
        known = self.lists.tile_cycles({tile.y for _, tile in computes})
        ends = ((step.listed, step.listed + step.words // step.stacked) for step, _ in computes)
        flat = {rows: cycles.reshape(-1) for rows, cycles in known.items()}
        return [float(flat[tile.y][first:end].mean()) for (_, tile), (first, end) in zip(computes, ends, strict=True)]

    def pass_cycles(self, core: CoreParams, window: Window, tile: Tile) -> float:
        key = tile.height, tile.width
        if key not in self._cycles:
            skips = self.options.skip != "weights"
            cycles = [
                count * self.timing.pass_cycles(
                    core, Pass(*key, items=items, rounds=rounds, skips=skips, pixel_cycles=pixel_cycles)
                )
                for items, rounds, count, pixel_cycles in self._kinds
            ]  # fmt: skip
            self._cycles[key] = sum(cycles) / sum(items * count for items, _, count, _ in self._kinds)
        return self._cycles[key]

    @cached_property
    def _cycles(self) -> dict[tuple[int, int], float]:
        return {}

    @cached_property
    def _kinds(self) -> list[tuple[int, int, int, float]]:
        """(items, rounds) of all passes, how many there are of each, and their cycles from pixel to pixel."""
        items = np.broadcast_to(self.lists.items, self.lists.shape)
        every = np.stack([items, self.lists.rounds], axis=-1)[items > 0].astype(np.int64)
        kinds, of_pass, counts = np.unique(every, axis=0, return_inverse=True, return_counts=True)
        cycles = np.bincount(of_pass.reshape(-1), self.lists.pixel_cycles[items > 0]) / counts
        return list(zip(*kinds.T.tolist(), counts.tolist(), cycles.tolist(), strict=True))


class _Sparse:
    """The sparse engine's lowering."""

    def bids(self, task: Task, core: CoreParams) -> list[Work]:
        """With the longest passes; where two of these fill more than half of the weight scratchpad, with such as leave
        the other half to the layer behind; and with blocks of half as many filters, where there are blocks of such a
        number that cores seldom share them evenly. The others only if they take hardly longer than the first."""
        found: list[Work] = []
        ways = [(1, core.cols), (2, core.cols)]
        if isinstance(task.node, QConv) and _uneven(task.node, core, task.sink.block):
            ways.append((2, core.cols // 2))
        for parts, filters in ways:
            work = self._bid(task, core, parts, filters)
            if work is None or any(work.kind == other.kind for other in found):
                continue
            if not found or _cycles_of(work) <= SLOWER * _cycles_of(found[0]):
                found.append(work)
        return found

    def _bid(self, task: Task, core: CoreParams, parts: int, filters: int) -> Work | None:
        """With the longest passes of which two fit such a part of the weight scratchpad."""
        layout = SparseWeights(core)

        def passes(node: QConv, operands: Operands) -> SparsePasses:
            lists = _lists_of(node, operands, core, task.sparse, task.name, task.inputs[0].shape, parts)
            return SparsePasses(
                layout=layout, operands=operands, lists=lists, options=task.sparse, pad_value=node.pad_value
            )

        work = convolution(task, core, passes, less_zero=True, filters=filters)
        if work is None:
            return None
        assert isinstance(work.passes, SparsePasses)
        step = lcm(work.source.word_step, work.passes.lists.cut.words)
        return replace(work, source=replace(work.source, word_step=step))


SPARSE = _Sparse()


def _cycles_of(work: Work) -> float:
    """Of all passes of all blocks, from pixel to pixel; 0 where nobody knows."""
    assert isinstance(work.passes, SparsePasses)
    return float(work.passes.lists.pixel_cycles.sum())


def _uneven(node: QConv, core: CoreParams, block: int) -> bool:
    """Whether blocks are no power of two, and a half of one has a filter for each column, or two, and whole flits."""
    blocks, half = ceil_div(node.weight.shape[0], core.cols), core.cols // 2
    return blocks.bit_count() > 1 and half % core.sparse_columns == 0 and half % block == 0


# --- lists ----------------------------------------------------------------------------------------------------------


def _lists_of(
    node: QConv, operands: Operands, core: CoreParams, options: SparseOptions, name: str, shape: tuple[int, int, int],
    parts: int,
) -> Lists:
    """The longest passes whose lists fit; found once, for a search asks for hundreds of bids for a layer.

    Raises
    ------
    PlanError
        If not even single kernel positions fit.
    """
    window, source = operands.source.window, operands.source
    kind = PlanarSource if isinstance(source, PlanarSource) else type(source)  # what is resident is read alike
    key = core, options, kind, window.kernel, window.apart, operands.starts, operands.blocks, parts
    known = _LISTS.setdefault(node, {})
    if key not in known:
        lists = _longest(operands, core, options, name, parts, stacks=node.groups == 1)
        known[key] = _rated(lists, node, operands, core, options, shape)
    return known[key]


def _rated(
    lists: Lists, node: QConv, operands: Operands, core: CoreParams, options: SparseOptions, shape: tuple[int, int, int]
) -> Lists:
    """Lists with their cycles, by what is known of an input (C, H, W)."""
    live = None if options.activations is None else options.activations.live.get(plain(node.input))
    if live is None:
        return lists
    out = (1, 1) if isinstance(operands.source, FlatSource) else node.out_hw
    reads = None if options.skip == "weights" else reads_of(operands.source, shape, out, live, core.rows)
    passes = tuple(listed_passes(operands, lists, core, zeros=options.skip == "activations"))
    rates = partial(pass_rates, ahead=options.ahead(core), groups=core.collector_groups)

    everywhere = np.zeros(lists.shape)
    for alike in passes:
        everywhere[tuple(alike.numbers.T)] = rates(alike.met, reads, alike.places).pixel_cycles
    lists = replace(lists, cycles=everywhere.tobytes())
    if reads is None or live.ndim < 4 or out[0] == 1:
        return lists  # of densities alone all rows have the same
    tile = partial(tile_rates, ahead=options.ahead(core), groups=core.collector_groups)

    def of_tiles(rows: Sequence[tuple[int, int]]) -> np.ndarray:
        found = np.zeros((len(rows), *lists.shape))
        for alike in passes:
            found[:, *alike.numbers.T] = tile(alike.met, reads, alike.places, rows=rows)
        return found

    return replace(lists, of_tiles=of_tiles)


_LISTS: WeakKeyDictionary[QConv, dict[Hashable, Lists]] = WeakKeyDictionary()


def _longest(
    operands: Operands, core: CoreParams, options: SparseOptions, name: str, parts: int, *, stacks: bool
) -> Lists:
    layout, kernel = SparseWeights(core), operands.source.window.kernel
    words = max(block.words[1] - block.words[0] for block in operands.blocks)
    counts = _counts(operands, core, words, zeros=options.skip == "activations")
    of_sets = tuple(block.words[1] - block.words[0] for block in operands.blocks)
    longest = 0
    for cut in _cuts(operands.source.window, words if stacks else 1, core.sparse_items):
        rounds, orders = _rounds(counts, cut, kernel, core, options)
        longest = int(rounds.max())
        twice = 2 * layout.nbytes(cut.items, longest)
        if longest <= core.sparse_depth and twice <= core.weight_bytes // parts - core.cols:  # a row is for a residual
            return Lists(cut, kernel, of_sets, rounds.shape, rounds.astype(np.uint8).tobytes(), orders)
    raise PlanError(
        f"layer {name!r} does not fit: a kernel position of the sparse engine takes lists of {longest}, there is "
        f"room for {core.sparse_depth} and for passes of {core.weight_bytes // 2} bytes; raise core.sparse_depth or "
        "core.weight_bytes",
        name,
    )


def _cuts(window: Window, words: int, most: int) -> list[Cut]:
    """Ways to make passes of at most so many items, fewest passes first; words are dealt out evenly."""
    kernel, apart = window.kernel, window.apart
    found: dict[Cut, int] = {}
    for items in range(min(most, MAX_TAPS), 0, -1):
        columns = 1 if apart[1] else ceil_div(kernel[1], ceil_div(kernel[1], items))
        rows = 1 if apart[0] or columns < kernel[1] else max(1, min(kernel[0], items // columns))
        rows = ceil_div(kernel[0], ceil_div(kernel[0], rows))
        stacked = max(1, min(words, items // columns))
        stacked = ceil_div(words, ceil_div(words, stacked))
        for cut in (Cut(rows, columns, 1), Cut(1, columns, stacked)):
            found.setdefault(cut, cut.passes(kernel, words))
    return sorted(found, key=lambda cut: (found[cut], cut.items))


def _counts(operands: Operands, core: CoreParams, words: int, *, zeros: bool) -> np.ndarray:
    """Weights in the lists of each kernel position, group of channels and filter: uint8[sets, places, words, Kh, Kw,
    lanes, C]; with `zeros` all of them."""
    starts = len(operands.starts)
    found = []
    for block in operands.blocks:
        of_parts = []
        for filters in operands.filters:
            kept = (by_place(filters(block), starts, core.cols) != 0) | zeros
            lanes = kept.reshape(*kept.shape[:4], core.sparse_lanes, -1, core.cols).sum(axis=5, dtype=np.uint8)
            missing = words - lanes.shape[1]
            of_parts.append(np.pad(lanes, [(0, 0), (0, missing)] + [(0, 0)] * 4) if missing else lanes)
        found.append(np.concatenate(of_parts))
    return np.stack(found)


def _rounds(
    counts: np.ndarray, cut: Cut, kernel: tuple[int, int], core: CoreParams, options: SparseOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Of every pass the longest list, int[sets, places, parts, groups], and the order of its filters, uint8[..., C]."""
    sets, places, words = counts.shape[:3]
    groups = ceil_div(words, cut.words)
    if words % cut.words:
        more = groups * cut.words - words
        counts = np.pad(counts, [(0, 0), (0, 0), (0, more)] + [(0, 0)] * 4)
    rounds = np.empty((sets, places, len(cut.parts(kernel)), groups), np.int64)
    orders = np.empty((*rounds.shape, core.cols), np.uint8)
    for part, (ky, rows, kx, columns) in enumerate(cut.parts(kernel)):
        own = counts[:, :, :, ky : ky + rows, kx : kx + columns]
        items = own.reshape(sets, places, groups, -1, *own.shape[5:])
        totals = of_lanes(items, 3).sum(axis=3, dtype=np.int64)
        order = _shared(totals, core, options)
        shared = np.take_along_axis(totals, order[..., None, :], axis=-1)
        lists = shared.reshape(*shared.shape[:-1], core.sparse_columns, -1).sum(axis=-1)
        rounds[:, :, part], orders[:, :, part] = lists.max(axis=(-2, -1)), order
    return rounds, orders


def _shared(weights: np.ndarray, core: CoreParams, options: SparseOptions) -> np.ndarray:
    """Orders int[..., C] of filters with so many weights int[..., lanes, C], as columns take them."""
    if options.balance == "none":
        return np.broadcast_to(np.arange(core.cols), (*weights.shape[:-2], core.cols))
    return share_columns(weights, core.sparse_columns)
