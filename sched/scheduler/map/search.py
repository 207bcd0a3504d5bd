"""Choice of a mapping: enumerate splits and tilings that fit, predict each in closed form, take the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod

from estimator.coefficients import Coefficients
from estimator.timing import MemoryTiming
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.map.budget import Budget
from scheduler.map.mapping import Mapping, Tiling
from scheduler.map.predict import instructions, latency_cycles, predict
from scheduler.map.tokens import TokenMap
from scheduler.plan.layout import ceil_div, round_up
from scheduler.plan.limits import MAX_BLOCKS
from scheduler.work.source import BlockedSource, Reach, Window
from scheduler.work.work import Work

__all__ = ["best_mappings", "grids"]

MAX_OUT = 960
"""Output columns of a tile; input coordinates have 10 bits."""
WEIGHT_SLOT_BYTES = 16 * 1024
"""Longer weight loads gain nothing."""
MIN_COLUMNS = 16
"""Of a tile, where whole rows would fit: shorter runs waste DRAM bursts."""
MAX_INSTRUCTIONS = 100_000
"""Of one core in one launch: beyond, the memories are too small for the layer, and its program would outgrow it."""
POOLED_WIDTHS = 4
"""Tile widths of a layer with a fused pool that are tried."""
CHUNK_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)


@dataclass(frozen=True)
class _Limit:
    """Something that does not fit, for the error message."""

    what: str
    need: int
    have: int
    parameter: str


def best_mappings(
    work: Work,
    cores: tuple[int, ...],
    chip: ChipParams,
    memory: MemoryTiming,
    count: int = 1,
    budget: Budget | None = None,
    grid: tuple[int, int] | None = None,
    tiles: int | None = None,
) -> list[Mapping]:
    """Best mappings by prediction, best first; within a budget, or with all of the cores.

    Parameters
    ----------
    grid : (channel parts, row parts), optional
        The split over the cores of a picture, if only one is wanted.
    tiles : int, optional
        Row tiles of each row part, if only so many are wanted.

    Raises
    ------
    PlanError
        If the layer fits in no way.
    """
    budget = budget or Budget.whole(work.core, chip)
    budget.check(work.core, chip)
    coefficients = Coefficients.load()
    limits: list[_Limit] = []
    found: list[tuple[float, int, Mapping]] = []
    team = len(cores) // work.pictures
    splits = [grid] if grid else list(grids(work, team))
    for mapping in _candidates(work, cores, chip, budget, splits, tiles, limits):
        length = instructions(mapping, mapping.steps_per_block, work.sink)
        if length > MAX_INSTRUCTIONS:
            parameter = "core.act_bytes, core.weight_bytes or core.acc_entries"
            limits.append(_Limit("the shortest program", length, MAX_INSTRUCTIONS, parameter))
            continue
        found.append((predict(mapping, chip, memory, coefficients), len(found), mapping))
    if not found:
        limit = min(limits, key=lambda item: item.need / max(1, item.have))
        raise PlanError(
            f"layer {work.name!r} does not fit: {limit.what} takes {limit.need}, there is room for {limit.have}; "
            f"raise {limit.parameter}",
            work.name,
        )
    found.sort(key=lambda item: item[:2])
    one_by_one = work.source.resident and memory.one_way(chip.link_bytes) == chip.link_bytes
    return [
        replace(mapping, pace=_pace(mapping, chip, memory), one_by_one=one_by_one) for _, _, mapping in found[:count]
    ]


def _pace(mapping: Mapping, chip: ChipParams, memory: MemoryTiming) -> int:
    """Loads ahead that hide the memory's latency and the loads of other leaders."""
    work, tile = mapping.work, mapping.tiling.parts[0][0]
    if work.passes.own_words:
        return 0
    words = min(mapping.chunk_words, work.source.words)
    flits = work.source.pixel_flits(words) * tile.in_rows * tile.in_cols
    leaders = mapping.g_row if work.shared_input else len(mapping.cores)
    flit_cycles = chip.link_bytes / memory.one_way(chip.link_bytes)
    load = flits * flit_cycles * max(1.0, leaders / len(chip.memory_nodes)) + 4 * latency_cycles(memory)
    passes = words * work.taps * len(work.passes.offsets(mapping.channel_parts[0][0]))
    used = passes * max(1.0, work.pass_cycles(tile))
    if mapping.alone or len(mapping.chunks) > 1 or not mapping.act_resident:
        return 2 + ceil(1.5 * load / used)
    return ceil(1.5 * load / (used * mapping.blocks_per_core))  # a whole tile, which all blocks use


def _candidates(
    work: Work,
    cores: tuple[int, ...],
    chip: ChipParams,
    budget: Budget,
    splits: list[tuple[int, int]],
    tiles: int | None,
    limits: list[_Limit],
) -> Iterator[Mapping]:
    blocks = work.requant.blocks * (1 if len(work.requant.sets) == 1 else 2)
    if blocks > budget.params.size - work.table_blocks:
        what = "a block of parameters, twice," + (" with the activation table" if work.table_blocks else "")
        need = blocks + work.table_blocks
        limits.append(_Limit(what, need, budget.params.size, "core.param_blocks"))
        return
    tilings: dict[int, list[Tiling]] = {}
    for g_oc, g_row in splits:
        if g_row not in tilings:
            tilings[g_row] = list(_tilings(work, budget, g_row, tiles))
        if not tilings[g_row] and work.pool is not None:
            need, have = prod(work.pool.kernel), work.core.acc_bank_entries
            limits.append(_Limit("a window of the pool", need, have, "core.acc_entries"))
        elif not tilings[g_row]:  # all parts have as many tiles, and the shortest has fewer rows
            need, have = _extremes(work.split_rows(g_row))[1] * work.out_hw[1], work.core.acc_bank_entries
            limits.append(_Limit("the longest of unequal row parts", need, have, "core.acc_entries"))
        bases = [
            Mapping(work, _in_use(work, cores, g_oc * g_row), g_oc, tiling, budget, chunk_words)
            for tiling in tilings[g_row]
            for chunk_words in _chunk_sizes(work)
        ]
        if bases and (used := TokenMap.of(bases[0], chip).used) > budget.tokens.size:  # whatever the tiling
            limits.append(_Limit("synchronisation", used, budget.tokens.size, "chip.tokens"))
            continue
        for base in bases:
            yield from _fit(base, limits)


def _in_use(work: Work, cores: tuple[int, ...], count: int) -> tuple[int, ...]:
    """So many of the cores of each picture; pictures divide the cores evenly, and what is left over is idle."""
    team = len(cores) // work.pictures
    return tuple(core for picture in range(work.pictures) for core in cores[picture * team :][:count])


def _fit(base: Mapping, limits: list[_Limit]) -> Iterator[Mapping]:
    """Residency and weight slots of a split and tiling."""
    work = base.work
    lacks_residual = base.residual_slot_bytes > 0 and base.residual_slots < 1
    if (base.act_slots < 1 and not work.source.resident) or lacks_residual:
        need = base.slot_bytes + base.residual_slot_bytes
        limits.append(_Limit("the smallest tile of activations", need, base.usable_bytes, "core.act_bytes"))
        return
    # Keeping a tile for all blocks needs room for all of it; blocks with words of their own share nothing.
    resident = work.passes.own_words or work.source.resident or base.blocks_per_core == 1
    resident = resident or base.act_slots >= len(base.chunks)
    for weights_resident, slice_passes in _weight_plans(base, limits):
        mapping = replace(base, slice_passes=slice_passes, act_resident=resident, weights_resident=weights_resident)
        yield replace(mapping, blocks_first=True) if _may_take_blocks_first(mapping) else mapping
        if _may_take_pairs(mapping):
            yield replace(mapping, in_pairs=True)


def _may_take_blocks_first(mapping: Mapping) -> bool:
    """An input that is there already serves every block over all tiles, if the ring holds the weights of a block."""
    work = mapping.work
    held = mapping.weights_resident or not work.pass_bytes or mapping.tiles == 1
    return work.source.resident and (held or mapping.steps_per_block <= mapping.weight_slots)


def _may_take_pairs(mapping: Mapping) -> bool:
    """Weights that are loaded for every tile can be for every other one, with an input that is there already."""
    work, both = mapping.work, len(mapping.budget.acc.banks) == 2
    one_group = mapping.param_group == mapping.param_sets  # parameters come once
    return work.passes.shares_loads and work.source.resident and both and one_group and not mapping.weights_once


def _weight_plans(base: Mapping, limits: list[_Limit]) -> Iterator[tuple[bool, int]]:
    """(all weights resident, passes per COMPUTE)."""
    work = base.work
    taps, least = work.passes.of_word(work.taps), work.passes.least
    whole = base.chunk_words * taps
    capacity = base.weight_capacity
    if not work.pass_bytes:
        yield True, max(whole, MAX_BLOCKS)
        return
    if work.passes.repeated:
        passes = min(taps, (capacity - work.weight_align) // work.pass_bytes)
        if passes > 0:
            yield True, passes
            return
    sets = {block.weights: block for block in base.channel_parts[0]}
    total = sum(work.passes.set_bytes(block, work.taps) for block in sets.values())
    if total <= capacity and base.weight_bytes(whole) <= capacity:
        yield True, whole
        return
    together = round_up(max(taps, least) * work.pass_bytes, work.weight_align)
    for slots in (4, 3, 2):
        room = min(capacity // slots, max(WEIGHT_SLOT_BYTES, together))
        passes = room // work.weight_align * work.weight_align // work.pass_bytes
        if passes >= max(taps, least) or (slots == 2 and passes >= least):
            most = min(whole, max(least, passes // taps * taps)) if passes >= taps else passes
            if work.source.resident and most >= taps:  # steps of a block alike: loads take memory nodes in turn
                most = max(least, min(most, round_up(ceil_div(whole, ceil_div(whole, most)), taps)))
            yield False, most
            return
    need = round_up(least * work.pass_bytes, work.weight_align)
    limits.append(_Limit("a pass of weights, twice,", 2 * need, capacity, "core.weight_bytes"))


def grids(work: Work, cores: int) -> Iterator[tuple[int, int]]:
    """(channel parts, row parts) that use most of so many cores, or one."""
    items, rows = len(work.items), work.height
    pairs = [
        (g_oc, g_row) for g_oc in range(1, min(cores, items) + 1) for g_row in range(1, min(cores // g_oc, rows) + 1)
    ]
    most = max(g_oc * g_row for g_oc, g_row in pairs)
    for g_oc, g_row in pairs:
        if 4 * g_oc * g_row > 3 * most or g_oc * g_row == 1:
            yield g_oc, g_row


def _tilings(work: Work, budget: Budget, g_row: int, tiles: int | None) -> Iterator[Tiling]:
    """As few tiles as the accumulators allow, and some more; narrow ones only where whole rows make many halos.

    Or so many row tiles as are wanted; if whole rows of those are too many for the accumulators, narrow ones too.
    """
    if work.pool is not None:
        yield from _pooled_tilings(work, work.pool, g_row, tiles)
        return
    bank = work.core.acc_bank_entries
    width, parts = work.out_hw[1], work.split_rows(g_row)
    window = work.source.window
    highest, widest = _most_outputs(window, 0), _most_outputs(window, 1)
    least = ceil_div(width, min(bank, widest))
    shortest, longest = _extremes(parts)
    splits = [least]
    halo = max(0, (window.kernel[0] - 1) * window.dilation[0] + 1 - window.stride[0])
    if isinstance(work.source, BlockedSource):
        tallest = max(1, min(bank // ceil_div(width, least), longest))
        row = len(work.source.placements) * work.source.word_bytes * window.in_hw[1]
        reach = tallest * window.stride[0]
        if work.passes.halo_cost * halo > reach or 2 * row * (reach + halo) > budget.act.size:
            fits = row * min(window.stride[0] + halo, window.in_hw[0]) * 2 <= budget.act.size
            columns = MIN_COLUMNS if fits else 1
            splits += [n for n in (2, 4, 8, 16, 32, 64) if least < n and n * columns <= width]
    tall = ceil_div(longest, tiles or longest)
    if tiles is not None and tall * ceil_div(width, least) > bank >= tall:
        splits = sorted({*splits, ceil_div(width, bank // tall)})
    for columns in splits:
        fewest = ceil_div(longest, max(1, min(bank // ceil_div(width, columns), highest)))
        counts = {fewest, fewest + 1, fewest + 2, 2 * fewest, shortest} if columns == least else {fewest, shortest}
        for tiles_y in sorted(counts) if tiles is None else (tiles,):
            if fewest <= tiles_y <= shortest:
                yield Tiling(work.source, parts, width, tiles_y, columns, None, work.pictures)


def _most_outputs(window: Window, axis: int) -> int:
    """Most rows (columns) of a tile whose inputs the chip's fields count."""
    if window.in_hw[axis] <= MAX_OUT or window.reach[axis] is not Reach.FIELDS:
        return MAX_OUT
    span = (window.kernel[axis] - 1) * window.dilation[axis] + 1
    return min(MAX_OUT, max(1, (MAX_OUT - span) // max(1, window.stride[axis]) + 1))


def _pooled_tilings(work: Work, pool: Window, g_row: int, tiles: int | None) -> Iterator[Tiling]:
    """The widths with which tiles recompute least, and the widest that fits: that one needs fewest instructions."""
    bank, width, parts = work.core.acc_bank_entries, work.out_hw[1], work.split_rows(g_row)
    shortest, longest = _extremes(parts)

    def reach(axis: int, count: int) -> int:
        """Rows (columns) that the layer computes for so many of the pool."""
        return min((count - 1) * pool.stride[axis] + pool.kernel[axis], pool.in_hw[axis])

    found: list[tuple[int, int, int]] = []  # computed pixels, columns, rows
    for columns in range(1, width + 1):
        across = reach(1, ceil_div(width, columns))
        if across > min(bank, MAX_OUT):
            continue
        room = min(bank // across, MAX_OUT)
        tallest = longest if reach(0, longest) <= room else (room - pool.kernel[0]) // pool.stride[0] + 1
        if tallest < 1:
            continue
        rows = max(ceil_div(longest, tallest), tiles or 1)
        found.append((rows * reach(0, ceil_div(longest, rows)) * columns * across, columns, rows))
    for _, columns, fewest in {*found[:1], *sorted(found)[:POOLED_WIDTHS]}:
        for tiles_y in sorted({fewest, fewest + 1, 2 * fewest, shortest}) if tiles is None else (tiles,):
            if fewest <= tiles_y <= shortest:
                yield Tiling(work.source, parts, width, tiles_y, columns, pool, work.pictures)


def _extremes(parts: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Rows of the shortest part and of the longest."""
    rows = [end - first for first, end in parts]
    return min(rows), max(rows)


def _chunk_sizes(work: Work) -> list[int]:
    words, step = work.source.words, work.source.word_step
    if work.passes.own_words:
        return [1]
    if work.source.resident:  # nothing is loaded in pieces
        return [min(words, MAX_BLOCKS // step * step)]
    sizes = {min(round_up(ceil_div(words, count), step), MAX_BLOCKS // step * step) for count in (*CHUNK_COUNTS, words)}
    return sorted(size for size in sizes if size > 0)
