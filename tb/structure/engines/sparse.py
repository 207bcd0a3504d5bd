"""State bits of the sparse engine."""

from __future__ import annotations

from rtl.contract.params import CoreParams
from tb.structure.block import Block, fifo, index_bits, ram, tag_bits
from tb.structure.engines.structure import EngineStructure
from tb.structure.waiver import Waiver

__all__ = ["SPARSE"]


def _shape(core: CoreParams) -> tuple[int, int, int, int]:
    """PEs, positions of a PE, its slots of the lanes' row, bits of its sums."""
    pes = core.sparse_lanes * core.sparse_columns
    bits = (255 * 128 * core.rows // core.sparse_lanes * core.sparse_items).bit_length() + 1
    return pes, core.rows * core.cols // pes, core.cols // core.sparse_columns, bits


def _grid(core: CoreParams) -> Block:
    """Ring: activations with the bit that says whether they count, and masks, in memories; bank, last; the slot to be
    written, slots in use. A PE: its slot, items ahead, pending, base, owed, five bits known ahead; its product under
    way (activation, weight, slots, two bits of what becomes of it); sums twice, and whether the second are full; its
    lists. Sums of a group."""
    pes, positions, slots, bits = _shape(core)
    places = core.sparse_slots
    place = max(1, index_bits(places))
    walk = place + index_bits(places + 1) + 6 + positions + index_bits(core.sparse_depth + 1)
    product = 9 + 8 + slots + 2
    group = (bits + index_bits(core.sparse_lanes)) * core.cols // core.collector_groups
    flipflops = place + index_bits(places + 1) + 2 * places + group + pes * (walk + product + 2 * slots * bits + 1)
    memory = places * (10 * core.rows + core.rows * core.cols) + pes * 8 * 2 * core.sparse_depth
    body = Block(
        "systomesh_sparse_grid",
        flipflops,
        memory,
        module="systomesh_sparse_grid",
        parameters={
            "LANES": core.sparse_lanes, "COLUMNS": core.sparse_columns, "ACTS": core.rows // core.sparse_lanes,
            "FILTERS": slots, "PLACES": places, "DEPTH": core.sparse_depth, "GROUPS": core.collector_groups,
            "BITS": bits,
        },
    )  # fmt: skip
    return Block("SparseGrid", inside={"body": body})


def _weights(core: CoreParams) -> Block:
    """Place in the pass that comes (row, item, round, listing); complete, loaded, current bank; lanes of both banks;
    weights that masks name for each PE; number of the next item and its turn."""
    pes, positions, _, _ = _shape(core)
    rows = max(2, core.rows // 8, pes // core.cols)
    place = index_bits(rows) + index_bits(max(2, core.sparse_items)) + index_bits(core.sparse_depth + 1) + 1
    counts = pes * index_bits(core.sparse_items * positions + 1)
    item = index_bits(core.sparse_items) + index_bits(core.sparse_lanes)
    masks = ram(core.rows * core.cols, core.sparse_items, 8 * core.cols)
    own = place + 3 + 2 * core.cols * index_bits(core.cols) + counts + item
    return Block("SparseWeights", own, inside={"masks0": masks, "masks1": masks})


def _collector(core: CoreParams) -> Block:
    """The group, a sum for each lane, valid, the tag."""
    bits = _shape(core)[3] + index_bits(core.sparse_lanes)
    return Block("SparseCollector", index_bits(core.collector_groups) + core.cols * bits + 1 + tag_bits(core))


def _sparse(core: CoreParams) -> Block:
    """Pixels in flight of the pass before; their tags."""
    depth = 1 << (core.sparse_slots + 1).bit_length()
    inside = {
        "store": _weights(core), "grid": _grid(core), "collector": _collector(core),
        "tags": fifo(tag_bits(core), depth),
    }  # fmt: skip
    return Block("SparseEngine", depth.bit_length(), inside=inside)


SPARSE = EngineStructure(
    _sparse,
    pixel_options=("run_ahead", "skip_acts"),
    waivers=(
        Waiver(
            r"systomesh_core_\d+",
            r"logic\.compute\.streamer\.job__payload\.rounds",
            "only the weight loader reads the lists",
        ),
        Waiver(
            r"systomesh_core_\d+",
            r"logic\.compute\.streamer\.pixel\.zero",
            "the register has the layout of a pixel, but its zero is the value of padding, which is kept anyway",
        ),
    ),
)
