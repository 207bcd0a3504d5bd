"""The systolic array's contract: R x C multiply-accumulates a pixel.

    acc[c] += sum_r act[r] * weight[r][c]         for all C lanes

A pass takes R x C weights, row r at byte r*C behind the pass's first. It has no options.
"""

from __future__ import annotations

from amaranth.lib import data

from rtl.contract.engines.spec import EngineSpec
from rtl.contract.isa import Engine

__all__ = ["ARRAY"]

ARRAY = EngineSpec(
    name="array",
    code=Engine.ARRAY,
    options=data.StructLayout({}),
    weight_rows=lambda core: core.rows,
    lanes=lambda core: core.cols,
)
