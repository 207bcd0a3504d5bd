"""State bits of the systolic array."""

from __future__ import annotations

from rtl.contract.params import CoreParams
from tb.structure.block import Block, index_bits, ram, tag_bits
from tb.structure.engines.structure import EngineStructure
from tb.structure.waiver import Waiver

__all__ = ["ARRAY"]


def _pe_grid(rows: int, cols: int) -> Block:
    """A PE: shadow and active weight, partial sum, activation. Skew (row r waits r + 1 cycles; its last register is
    there a second time as the activation of the first PE) and deskew (column c waits C - 1 - c). The switch wavefront:
    rows, and all columns but the last of each."""
    pes = rows * cols * (8 + 8 + 32 + 8)
    skew = 8 * rows * (rows + 1) // 2
    deskew = 32 * cols * (cols - 1) // 2
    switches = rows + rows * (cols - 1)
    body = Block(
        "systomesh_pe_grid",
        pes + skew + deskew + switches,
        module="systomesh_pe_grid",
        parameters={"ROWS": rows, "COLS": cols},
    )
    return Block("PeGrid", inside={"body": body})


def _array(core: CoreParams) -> Block:
    """The pixels in flight, the row being loaded, tags in a ring with two pointers, and the two bits of the weight
    handshake."""
    rows, cols = core.rows, core.cols
    ring = 1 << (rows + cols - 1).bit_length()
    own = 1 + index_bits(max(2, cols - 1)) + rows + (rows + cols) + 2 * index_bits(ring)
    return Block("SystolicArray", own, inside={"grid": _pe_grid(rows, cols), "tags": ram(tag_bits(core), ring)})


ARRAY = EngineStructure(
    _array,
    waivers=(
        Waiver(
            r"systomesh_core_\d+",
            r"logic\.compute\.array\.grid\.body\.switches",
            "the switch bit of the last row has no neighbour to go to",
        ),
        Waiver(
            r"systomesh_core_\d+",
            r"logic\.compute\.loader\.weights_more",
            "the array counts the rows of a pass itself",
        ),
    ),
)
