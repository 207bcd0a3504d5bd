"""Prediction of a mapping in closed form: its cycles, and the bytes that cross the memory nodes.

Cycles are the longest of: the busiest core's engine, its store unit, the DRAM traffic over all memory nodes, and the
traffic into one core; plus what cannot overlap (first loads, last stores, tiles that wait for room).
"""

from __future__ import annotations

from functools import cached_property
from math import ceil

from estimator.coefficients import Coefficients
from estimator.engines import switch_cycles
from estimator.timing import MemoryTiming
from rtl.contract.isa import INSTRUCTION_BYTES
from rtl.contract.params import ChipParams
from scheduler.map.mapping import Mapping
from scheduler.map.traffic import input_flits, output_flits, residual_flits
from scheduler.plan.layout import ceil_div
from scheduler.work.sink import Sink

__all__ = ["Prediction", "instructions", "latency_cycles", "predict"]

Rows = tuple[tuple[int, int], ...]

LOAD_CYCLES = 36
"""From a LOAD to its first data, roughly, beside the memory's own latency; the same for all candidates."""
STORE_CYCLES = 11
"""Least of a STORE: it fetches a block of parameters."""
PART_CYCLES = 60
"""From the last STORE of a part to the first step of the next: tokens to all cores, the pipeline of the engine."""
CONTENTION = 0.02
"""Share of the DRAM time that is paid even where computing takes longer."""


def predict(mapping: Mapping, chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> float:
    """Cycles, in closed form."""
    return Prediction(mapping, chip, memory, c).cycles(mapping.work.sink)


def latency_cycles(memory: MemoryTiming) -> int:
    """From a LOAD to its first data, roughly."""
    return LOAD_CYCLES + memory.latency_cycles


class Prediction:
    """What a mapping costs, with its output in its own sink or in another one of the same tensor.

    What does not depend on the sink is found once.

    Attributes
    ----------
    mapping : Mapping
    """

    def __init__(self, mapping: Mapping, chip: ChipParams, memory: MemoryTiming, c: Coefficients) -> None:
        self.mapping, self._chip, self._memory = mapping, chip, memory
        work = mapping.work
        self._part = part = mapping.channel_parts[0]
        self._block = block = part[0]
        self._tiles = tiles = mapping.tiling.parts[0]
        self._passes = passes = work.passes.count(block, work.taps)
        self._steps = steps = mapping.steps_per_block
        start = work.passes.timing.start_cycles(c)
        added = 0.0
        if work.residual is not None:
            added = switch_cycles(work.core, work.passes.timing, work.residual.passes.timing, c) + c.compute_issue
        rows = tiles[0].store_rows if mapping.tiling.tiles_x > 1 else 1
        block_of: dict[tuple[int, int], float] = {}
        drain_of: dict[int, int] = {}
        self._block_cycles: list[float] = []
        self._drained: list[int] = []
        for tile in tiles:  # most are of the same size
            size, stored = (tile.height, tile.width), tile.store_pixels
            if size not in block_of:
                cycles = passes * work.pass_cycles(tile) + steps * (start + c.compute_issue)
                if work.residual is not None:
                    cycles = cycles + (work.residual.pass_cycles(work.core, tile) + added)
                block_of[size] = cycles
            if stored not in drain_of:
                drain_of[stored] = max(block.groups * work.store_cycles(stored), rows * STORE_CYCLES)
            self._block_cycles.append(block_of[size])
            self._drained.append(drain_of[stored])
        self._compute = len(part) * sum(self._block_cycles)
        self._drain = len(part) * (sum(self._drained) + len(tiles) * c.store_start)
        self._input = input_flits(mapping)
        self._residual = residual_flits(mapping)
        self._in_memory: float | None = None

    def cycles(self, sink: Sink, row_parts: Rows | None = None) -> float:
        """With its output there.

        Parameters
        ----------
        row_parts : tuple of (first, end), optional
            Where else on the map as many rows lie that are computed.
        """
        if not sink.in_memory:
            return self._cycles(sink, row_parts or self.mapping.tiling.row_parts)
        if self._in_memory is None:  # wherever it is there
            self._in_memory = self._cycles(sink, self.mapping.tiling.row_parts)
        return self._in_memory

    def _cycles(self, sink: Sink, row_parts: Rows) -> float:
        mapping, chip, memory = self.mapping, self._chip, self._memory
        work, tiles, part, block, block_cycles = mapping.work, self._tiles, self._part, self._block, self._block_cycles
        memories = len(chip.memory_nodes)
        flit_cycles = chip.link_bytes / memory.one_way(chip.link_bytes)
        compute, drain, drained, weight_core = self._compute, self._drain, self._drained, self._weights
        if mapping.in_pairs:  # a bank empties during a single step of the other tile
            step = max(block_cycles) / self._steps
            compute += len(part) * sum(max(0.0, each - step) for each in drained)
        copies, crowds = _copies(mapping, sink, row_parts), _crowds(mapping, sink, row_parts)
        drain = max(drain * copies, len(part) * block.groups * sum(crowds))

        act_core, act_dram = self._input
        out_dram = output_flits(mapping, sink)
        residual_core, residual_dram = self._residual
        program = self._instructions(sink) * ceil_div(INSTRUCTION_BYTES, work.block)
        flits = (act_dram + weight_core * mapping.g_oc + out_dram + residual_dram) / memories
        flits += program * len(mapping.cores) / memories
        writes = out_dram / memories
        if flit_cycles > 1:  # slower than the links, it is more often what limits a launch
            homes = [chip.home_memory[core] for core in mapping.cores]  # where outputs go
            uneven = out_dram * max(map(homes.count, homes)) / len(homes) - writes
            flits, writes = flits + uneven, writes + uneven
            # Weights that stay hold up the first tile, with which they come.
            first_reads = (act_dram + residual_dram) / len(tiles)
            first_reads += weight_core * mapping.g_oc / (1 if mapping.weights_resident else len(tiles))
            compute += max(0.0, first_reads / memories * flit_cycles - len(part) * block_cycles[0])
        dram = max(flits * chip.link_bytes / memory.rate(chip.link_bytes), max(writes, flits - writes) * flit_cycles)
        into_core = act_core + weight_core + residual_core + program

        if work.source.resident:  # weights came beside the part before
            last_out = max(drained[-1] * copies, block.groups * crowds[-1])
            homes = [chip.home_memory[core] for core in mapping.cores]  # where programs come from
            busiest = max(map(homes.count, homes)) - len(homes) / memories
            dram += program * busiest * flit_cycles
            return max(max(compute, drain, into_core) + PART_CYCLES + last_out, dram) + CONTENTION * dram
        chunk = work.source.pixel_flits(min(mapping.chunk_words, work.source.words))
        tile_load = tiles[0].in_rows * tiles[0].in_cols
        leaders = len(mapping.cores) if not work.shared_input else mapping.g_row
        shared = max(1.0, leaders / memories)
        first_load = chunk * tile_load * flit_cycles * shared
        last_out = tiles[-1].store_pixels * block.groups * flit_cycles * len(mapping.cores) / memories
        if work.pool:
            last_out = max(last_out, drained[-1])
        exposed = 4 * latency_cycles(memory) + first_load + last_out
        if len(mapping.chunks) > 1 and not mapping.weights_resident and dram > compute:
            # Memory is busy from the start: the second chunk queues behind everybody's first weights.
            filled = mapping.weight_slots * mapping.weight_slot_bytes / work.block
            exposed += filled * flit_cycles * mapping.g_oc / memories
        if mapping.act_resident and not work.passes.own_words:
            # The next tile loads while the last block is at work, or earlier if slots are left over.
            spare = (mapping.act_slots - len(mapping.chunks)) / len(mapping.chunks)
            window = min(block_cycles[0] * (1 + spare), block_cycles[0] * len(part))
            load = act_core * flit_cycles / len(tiles)
            if mapping.alone:  # the estimator compares several
                exposed += (len(tiles) - 1) * max(0.0, load - window)
            else:
                compute += (len(tiles) - 1) * max(0.0, load * shared - window)
        elif mapping.act_slots < 2:
            exposed += act_core * flit_cycles
        return max(compute, drain, dram, into_core) + exposed + CONTENTION * dram

    def dram_bytes(self, sink: Sink) -> float:
        """Bytes that cross the memory nodes with its output there.

        Weights are counted block by block: `cycles` takes as many for every channel part as for the longest.
        """
        mapping, block = self.mapping, self.mapping.work.block
        flits = self._input[1] + output_flits(mapping, sink) + self._residual[1]
        return flits * block + self._weight_bytes + self._instructions(sink) * INSTRUCTION_BYTES * len(mapping.cores)

    @cached_property
    def _weights(self) -> int:
        """Flits of the weights for one core."""
        mapping, work, part = self.mapping, self.mapping.work, self._part
        blocks = part if work.passes.unlike else part[:1]
        set_bytes = sum(work.passes.set_bytes(block, work.taps) for block in blocks)
        set_flits = ceil_div(set_bytes, len(blocks) * work.block)
        once = len({block.weights for block in part}) if mapping.weights_resident else len(part)
        return set_flits * (once if mapping.weights_resident or mapping.blocks_first else once * mapping.weight_turns)

    @cached_property
    def _weight_bytes(self) -> int:
        """Of all cores."""
        mapping, work = self.mapping, self.mapping.work
        once = sum(work.passes.set_bytes(block, work.taps) for part in mapping.channel_parts for block in part)
        return once if mapping.weights_once else once * mapping.weight_turns

    def _instructions(self, sink: Sink) -> int:
        return instructions(self.mapping, self._steps, sink)


def instructions(mapping: Mapping, steps: int, sink: Sink) -> int:
    """Instructions of one core, roughly.

    Parameters
    ----------
    steps : int
        COMPUTEs of an output block of a tile.
    """
    units = mapping.tiles * mapping.blocks_per_core
    rows = mapping.tiling.parts[0][0].store_rows if mapping.tiling.tiles_x > 1 else 1
    runs = mapping.chunk_words if mapping.tiling.tiles_x > 1 else mapping.work.core.act_groups(mapping.work.block)
    act = len(mapping.chunks) * mapping.tiles * (1 if mapping.act_resident else mapping.blocks_per_core) * runs
    if mapping.work.passes.own_words:
        act = ceil_div(act, mapping.g_oc)
    if mapping.work.residual is not None:  # a COMPUTE, a SETUP for every change of the engine, a load
        steps += 2
        act += units * rows
    weights = 0
    if mapping.work.pass_bytes:
        once = mapping.weights_resident or mapping.blocks_first
        weights = steps * mapping.blocks_per_core * (1 if once else mapping.weight_turns)
    stores = ceil(rows * sink.copies((0, mapping.work.height), mapping.work.core))
    return units * (steps + stores) + act + weights


def _crowds(mapping: Mapping, sink: Sink, row_parts: Rows) -> list[int]:
    """Of each tile, the pixels that come to one core, at most: all cores store their tiles at the same time."""
    tiling = mapping.tiling
    if sink.in_memory:
        return [0] * mapping.tiles
    together = list(zip(*tiling.stored(row_parts), strict=True))  # pictures are nothing to each other
    widths = [tile.store_width for tile in tiling.parts[0][: tiling.tiles_x]]
    return [rows * mapping.g_oc * width for rows in sink.crowded(together) for width in widths]


def _copies(mapping: Mapping, sink: Sink, rows: Rows) -> float:
    """STOREs of the core that has most of them, for each that the first would have with a single destination."""
    if sink.in_memory:
        return 1.0
    core = mapping.work.core
    return max((end - first) * sink.copies((first, end), core) for first, end in rows) / max(1, rows[0][1] - rows[0][0])
