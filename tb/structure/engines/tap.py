"""State bits of the tap unit."""

from __future__ import annotations

from rtl.contract.params import CoreParams
from tb.structure.block import Block, tag_bits
from tb.structure.engines.structure import EngineStructure

__all__ = ["TAP"]


def _tap(core: CoreParams) -> Block:
    """Shadow weights, active weights and window of K columns; shift, two valid bits, loaded; two tags; the update."""
    window = 8 * core.tap_lanes * core.tap_columns
    return Block("TapUnit", 3 * window + 1 + 2 + 5 + 2 * tag_bits(core) + 32 * core.tap_lanes)


TAP = EngineStructure(_tap, window_columns=lambda core: core.tap_columns, pixel_options=("tap_shift",))
