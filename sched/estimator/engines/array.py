"""The systolic array: a pixel a cycle, and R x C weights that enter row by row and column by column beside it."""

from __future__ import annotations

from estimator.engines.engine import EngineTiming, Fields, Pass
from rtl.contract.params import CoreParams

__all__ = ["ARRAY"]


class _Array(EngineTiming):
    """Cycles of the array: a pass of P pixels takes max(P, R, C), as it needs that long for its weights."""

    name = "array"
    setup_fields = frozenset({"kernel_h", "kernel_w", "out_w"})

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        passes = fields["blocks"] * setup["kernel_h"] * setup["kernel_w"]
        return passes, Pass(fields["out_h"], setup["out_w"])

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return max(streamed.pixels, core.rows, core.cols)

    def way_cycles(self, core: CoreParams) -> int:
        return core.rows + core.cols


ARRAY = _Array()
