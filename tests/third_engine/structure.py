"""State bits of the row."""

from __future__ import annotations

from rtl.contract.params import CoreParams
from tb.structure.block import Block, tag_bits
from tb.structure.engines.structure import EngineStructure

__all__ = ["STRUCTURE"]


def _block(core: CoreParams) -> Block:
    """Shadow and active weights, the activation, two tags, two valid bits, loaded, the update."""
    return Block("Row", 2 * 8 * core.cols + 8 + 2 * tag_bits(core) + 2 + 1 + 32 * core.cols)


STRUCTURE = EngineStructure(_block, pixel_options=("row_lane",))
