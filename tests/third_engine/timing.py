"""Cycles of the row: a pixel a cycle, and no pass shorter than the two cycles in which its weights enter."""

from __future__ import annotations

from estimator import EngineCycles
from estimator.engines.engine import EngineTiming, Fields, Pass
from rtl.contract.params import CoreParams

__all__ = ["TIMING"]

LEAST_CYCLES = 2
"""Of a pass: its weights enter while the pass before streams, one row in two cycles."""


class _Row(EngineTiming):
    name = "row"
    setup_fields = frozenset({"kernel_h", "kernel_w", "out_w"})
    cycles = EngineCycles(start=1.0, drain=6.0, idle=3.0)

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        return fields["blocks"] * setup["kernel_h"] * setup["kernel_w"], Pass(fields["out_h"], setup["out_w"])

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return max(streamed.pixels, LEAST_CYCLES)


TIMING = _Row()
