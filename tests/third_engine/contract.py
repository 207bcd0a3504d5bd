"""The row's contract: C multipliers that all take the same activation.

    acc[c] += act[row_lane] * weight[c]        with C bytes of weights a pass

``row_lane`` is one of the first three bytes of a word; ILLEGAL_FIELD if it is 3.
"""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data

from rtl.contract.engines import EngineSpec

__all__ = ["ROW"]

ROW = EngineSpec(
    name="row",
    code=5,
    options=data.StructLayout({"row_lane": unsigned(2)}),
    weight_rows=lambda core: 1,
    lanes=lambda core: core.cols,
    illegal=lambda core, setup: setup["row_lane"] == 3,
)
