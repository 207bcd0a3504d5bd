"""How a work is split over cores and tiled to their memories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from scheduler.map.budget import Budget
from scheduler.plan.layout import ceil_div, even_split, round_up
from scheduler.work.passes import Order, OutBlock, Step
from scheduler.work.source import Frame, Source, Tile, Window
from scheduler.work.work import Work

__all__ = ["Mapping", "Tiling"]

AHEAD = 4
"""Slots of a ring beyond those that are in use anyway. More would only fill the queues of the memory nodes, in front of
what other cores and the fetch units need sooner."""
WEIGHTS_AHEAD = 8
"""Slots of the ring of weights where nothing else is loaded: what it holds is there when the part begins."""


Side = tuple[tuple[int, int], tuple[int, int], int, tuple[int, int]]
"""Of a tile: rows (columns) that are computed, those of the input, the first tap's offset in them, those stored."""


@dataclass(frozen=True)
class Tiling:
    """Output rows and columns cut into row parts, and these into tiles.

    With a pool, output means what the pool makes; tiles next to each other compute the positions that both need twice.

    Attributes
    ----------
    row_parts : tuple of (first, end)
        Rows of the output, of a picture; parts may overlap.
    width : int
        Of the output.
    tiles_y, tiles_x : int
        Tiles of a row part, and tiles of a row.
    pictures : int
        That are computed together: row parts of the first come first.
    """

    source: Source
    row_parts: tuple[tuple[int, int], ...]
    width: int
    tiles_y: int
    tiles_x: int
    pool: Window | None = None
    pictures: int = 1

    @cached_property
    def parts(self) -> list[list[Tile]]:
        """Tiles of every row part of every picture, in order."""
        parts = [
            [
                Tile(y, x, iy, ix, dy, dx, store_y, store_x)
                for y, iy, dy, store_y in rows
                for x, ix, dx, store_x in self._columns
            ]
            for rows in self.rows
        ]
        return parts * self.pictures

    def stored(self, row_parts: tuple[tuple[int, int], ...]) -> list[list[tuple[int, int]]]:
        """Rows [first, end) that the tiles store, one below the other, of each of some row parts."""
        return [
            [(first + low, first + high) for low, high in even_split(end - first, self.tiles_y)]
            for first, end in row_parts
        ]

    @cached_property
    def rows(self) -> list[list[Side]]:
        """Of the tiles below each other, of each row part of one picture."""
        return [[self._side(0, rows) for rows in part] for part in self.stored(self.row_parts)]

    @cached_property
    def _columns(self) -> list[Side]:
        """Of the tiles beside each other."""
        return [self._side(1, columns) for columns in even_split(self.width, self.tiles_x)]

    def _side(self, axis: int, store: tuple[int, int]) -> Side:
        out = store if self.pool is None else self.pool.span(axis, *store)[:2]
        inside, offset = self.source.side(axis, out)
        return out, inside, offset, store

    @cached_property
    def in_rows(self) -> int:
        return max([high - low for rows in self.rows for _, (low, high), _, _ in rows])

    @cached_property
    def in_cols(self) -> int:
        return max([high - low for _, (low, high), _, _ in self._columns])

    @cached_property
    def in_pixels(self) -> list[int]:
        """Input pixels of all tiles of each row part."""
        columns = sum([high - low for _, (low, high), _, _ in self._columns])
        return [sum([high - low for _, (low, high), _, _ in rows]) * columns for rows in self.rows] * self.pictures


@dataclass(frozen=True)
class Mapping:
    """Split and tiling of one work over equal cores.

    Attributes
    ----------
    cores : tuple of int
        Node numbers; core ``cores[r * g_oc + o]`` computes row part r of output channel part o. Of several pictures,
        the row parts of the first come first.
    budget : Budget
        What it may use of each core.
    chunk_words : int
        Words of an activation chunk.
    slice_passes : int
        Most passes of a COMPUTE, and so of a weight slot.
    act_resident : bool
        A tile's chunks stay until all output blocks have used them; else they are loaded for each block.
    weights_resident : bool
        All weights of a core stay for the whole launch.
    blocks_first : bool
        An output block is computed over all tiles before the next block, so that its weights are loaded once; else
        a tile of all blocks before the next tile.
    in_pairs : bool
        Two tiles, each with a bank of accumulators, take every pass of an output block one after the other, so that its
        weights are loaded once for both.
    pace : int
        Activation loads that may be under way before the first of them is used; 0 for no limit.
    one_by_one : bool
        Of a few groups that share weights, each loads all of them from one memory node: so they come one behind the
        other and the first is there soon, where a node alone fills the way into a core.
    """

    work: Work
    cores: tuple[int, ...]
    g_oc: int
    tiling: Tiling
    budget: Budget
    chunk_words: int
    slice_passes: int = 1
    act_resident: bool = True
    weights_resident: bool = True
    blocks_first: bool = False
    in_pairs: bool = False
    pace: int = 0
    one_by_one: bool = False

    def of(self, work: Work) -> Mapping:
        """The same mapping of another work of the same kind."""
        if work is self.work:
            return self
        rows = work.split_rows(len(self.tiling.row_parts))
        return replace(self, work=work, tiling=replace(self.tiling, source=work.source, row_parts=rows))

    def describe(self) -> str:
        """For reports."""
        tiles = self.tiling.parts[0]
        acts = f" in {self.act_slots} slots" + ("" if self.act_resident else ", input streamed")
        if self.work.source.resident:
            acts = ", input resident"
        weights = f"{self.weight_slots} weight slots"
        if not self.work.pass_bytes:
            weights = "no weights"
        elif self.weights_resident:
            weights = "weights resident"
        elif self.in_pairs:
            weights += ", two tiles at once"
        residual = ""
        if self.work.residual is not None:
            slots = f"in {self.residual_slots} slots"
            residual = f", residual {'resident' if self.work.residual.source.resident else slots}"
        each = f"{self.work.pictures} pictures, each on " if self.work.pictures > 1 else ""
        return (
            f"{each}{self.g_oc} x {len(self.tiling.row_parts)} cores (channels x rows), {len(tiles)} tiles of "
            f"{max(t.height for t in tiles)} x {max(t.width for t in tiles)}, {len(self.chunks)} chunks"
            f"{acts}, {weights}{residual}"
        )

    @property
    def g_row(self) -> int:
        """Row parts, of all pictures."""
        return len(self.tiling.row_parts) * self.tiling.pictures

    def picture(self, row_part: int) -> int:
        """Of those that are computed together, the one to which a row part belongs."""
        return row_part // len(self.tiling.row_parts)

    @property
    def tiles(self) -> int:
        """Tiles of a row part."""
        return self.tiling.tiles_y * self.tiling.tiles_x

    @cached_property
    def chunks(self) -> list[tuple[int, int]]:
        return self.work.chunks(self.chunk_words)

    @cached_property
    def channel_parts(self) -> list[list[OutBlock]]:
        return self.work.channel_parts(self.g_oc)

    @cached_property
    def frame(self) -> Frame:
        return self.work.source.frame(self.tiling.in_rows, self.tiling.in_cols, self.chunk_words)

    @cached_property
    def slot_bytes(self) -> int:
        """From slot to slot of the activation ring: slots start at whole scratchpad words."""
        groups = self.work.core.act_groups(self.work.block)
        return round_up(self.work.source.slot_flits(self.frame), groups) * self.work.block

    @cached_property
    def act_slots(self) -> int:
        """Slots of the activation ring: none for an input that is there already."""
        if self.work.source.resident:
            return 0
        kept = len(self.chunks) if self.act_resident and not self.work.passes.own_words else 0
        two = self.usable_bytes >= 2 * self.residual_slot_bytes + self.slot_bytes
        least = (2 if two else 1) * self.residual_slot_bytes
        return max(0, min((self.usable_bytes - least) // self.slot_bytes, kept + AHEAD))

    @property
    def ring_bytes(self) -> int:
        """Activation scratchpad of both rings, for the input and for the residual."""
        return self.act_slots * self.slot_bytes + self.residual_slots * self.residual_slot_bytes

    @property
    def usable_bytes(self) -> int:
        """Activation scratchpad for slots; an array read of the last bytes must not leave the memory."""
        return self.budget.act.size - max(self.work.core.rows, self.work.block)

    @property
    def residual_frame(self) -> Frame:
        tiles = [tile for part in self.tiling.parts for tile in part]
        height, width = max(tile.height for tile in tiles), max(tile.width for tile in tiles)
        source = self.work.source if self.work.residual is None else self.work.residual.source
        return source.frame(height, width, 1)

    @cached_property
    def residual_slot_bytes(self) -> int:
        """From slot to slot of the residual's ring, which lies behind the activation ring."""
        residual = self.work.residual
        return 0 if residual is None else residual.source.slot_flits(self.residual_frame) * self.work.block

    @cached_property
    def residual_slots(self) -> int:
        """Slots of the residual's ring: what the activations leave."""
        room = self.usable_bytes - self.act_slots * self.slot_bytes
        return min(room // self.residual_slot_bytes, AHEAD) if self.residual_slot_bytes else 0

    @property
    def alone(self) -> bool:
        """Whether it has all of its cores, for a launch of its own."""
        return self.budget.params.size == self.work.core.param_blocks

    @property
    def loads_beside(self) -> bool:
        """Whether a slot of every ring is left to load into while another one is read."""
        residual = self.work.residual
        input_does = self.work.source.resident or self.act_slots > 1
        return input_does and (residual is None or residual.source.resident or self.residual_slots > 1)

    @property
    def residual_weight_bytes(self) -> int:
        """End of the weights: the residual's weights of all blocks of a core, there for the whole launch."""
        return 0 if self.work.residual is None else self.blocks_per_core * self.work.weight_align

    @property
    def weight_capacity(self) -> int:
        """Bytes of the weight scratchpad for the array's weights."""
        return self.budget.weight.size - self.residual_weight_bytes

    @property
    def residual_weights_at(self) -> int:
        """First byte of the residual's weights."""
        return self.budget.weight.first + self.weight_capacity

    @property
    def residual_ring(self) -> int:
        """First byte of the residual's ring."""
        return self.budget.act.first + self.act_slots * self.slot_bytes

    @cached_property
    def weight_slot_bytes(self) -> int:
        return round_up(self.work.padded_weights(self.slice_passes), self.work.weight_align)

    @cached_property
    def weight_slots(self) -> int:
        most = WEIGHTS_AHEAD if self.work.source.resident else AHEAD
        return min(self.weight_capacity // max(1, self.weight_slot_bytes), most)

    def chunk_steps(self, block: OutBlock) -> list[tuple[int, Step]]:
        """(chunk, step) of a block, weights relative to the start of the block's set."""
        return self.work.chunk_steps(block, self.chunk_words, self.slice_passes)

    def weight_blocks(self) -> list[OutBlock]:
        """One output block for every set of weights, in order."""
        return list({block.weights: block for part in self.channel_parts for block in part}.values())

    def placed_steps(self, block: OutBlock) -> list[tuple[int, Step]]:
        """(first word of its chunk, step) of a block."""
        return [(self.chunks[chunk][0], step) for chunk, step in self.chunk_steps(block)]

    def weight_order(self, block: OutBlock) -> Order:
        """Order in which the passes of a block lie."""
        offsets = self.work.passes.offsets(block)
        if len(offsets) == 1:
            return None
        order: list[tuple[int, int]] = []
        for chunk in self.chunks:
            words = range(max(chunk[0], block.words[0]), min(chunk[1], block.words[1]))
            order += [(word, offset) for offset in offsets for word in words]
        return order

    @property
    def resident_weight_bytes(self) -> int:
        """Scratchpad that all weights of the fullest core take."""
        return self.weight_bytes(self.slice_passes)

    def weight_bytes(self, slice_passes: int) -> int:
        """The same with at most so many passes a COMPUTE."""
        align, sizes = self.work.weight_align, dict[object, int]()  # blocks that read the same words take as much
        worst = 0
        for blocks in self.channel_parts:
            total = 0
            for block in {block.weights: block for block in blocks}.values():
                kind = self.work.passes.alike(block)
                if kind not in sizes:
                    loads = {
                        step.weight: step.weight_bytes
                        for _, step in self.work.chunk_steps(block, self.chunk_words, slice_passes)
                    }
                    sizes[kind] = sum(round_up(size, align) for size in loads.values())
                total += sizes[kind]
            worst = max(worst, total)
        return worst

    @cached_property
    def steps_per_block(self) -> int:
        """Most steps of any block; blocks that read as many words take as many steps."""
        kinds = {self.work.passes.alike(block): block for part in self.channel_parts for block in part}
        if self.work.shared_input or self.work.passes.own_words:
            kinds = dict(list(kinds.items())[:1])
        return max(len(self.chunk_steps(block)) for block in kinds.values())

    @property
    def weights_once(self) -> bool:
        """Each weight is loaded once."""
        return self.weights_resident or self.blocks_first or self.weight_turns == 1

    @property
    def weight_turns(self) -> int:
        """Tiles, or pairs of tiles: weights that neither stay nor wait for all tiles are loaded for each."""
        return ceil_div(self.tiles, self.together)

    @property
    def together(self) -> int:
        """Tiles that take turns with the passes of a block."""
        return 2 if self.in_pairs else 1

    @cached_property
    def turns(self) -> dict[int, int]:
        """By core, how many output blocks of tiles it computes."""
        places = [(r, o) for r in range(self.g_row) for o in range(self.g_oc)]
        return {core: self.tiles * len(self.channel_parts[o]) for core, (_, o) in zip(self.cores, places, strict=True)}

    def units(self, channel_part: int) -> list[tuple[int, int]]:
        """(tile, number of the output block) of a core of that channel part, in the order in which it begins them."""
        tiles, blocks = range(self.tiles), range(len(self.channel_parts[channel_part]))
        if self.in_pairs:
            return [(tile, block) for first in tiles[::2] for block in blocks for tile in tiles[first : first + 2]]
        if self.blocks_first:
            return [(tile, block) for block in blocks for tile in tiles]
        return [(tile, block) for tile in tiles for block in blocks]

    @property
    def blocks_per_core(self) -> int:
        return max(len(part) for part in self.channel_parts)

    @cached_property
    def param_sets(self) -> int:
        """Parameter sets of the core that has most."""
        return max(len({block.params for block in part}) for part in self.channel_parts)

    @property
    def table_base(self) -> int:
        """First parameter block of the activation table, which takes the last ones."""
        return self.budget.params.end - self.work.table_blocks

    def param_base(self, load: int, number: int = 0) -> int:
        """Parameter block at which a set of a load starts: loads go to two halves in turn."""
        return self.budget.params.first + (load % 2 * self.param_group + number) * self.work.requant.blocks

    @cached_property
    def param_group(self) -> int:
        """Parameter sets per load: all of them if they fit, else half of the budget without the table."""
        capacity = (self.table_base - self.budget.params.first) // self.work.requant.blocks
        return self.param_sets if self.param_sets <= capacity else capacity // 2
