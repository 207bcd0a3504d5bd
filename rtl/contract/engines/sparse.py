"""The sparse engine's contract: products of non-zero weights and non-zero activations alone, by PEs that run ahead.

An *item* is the R bytes of one pixel and one kernel position. A *pass* is a block: every pixel, column fastest, brings
its T = kernel_h * kernel_w items one after the other, kernel column fastest, and makes one update behind the last:

    acc[lane[s]] += sum_t sum_r (act[t][r] - pad_value) * weight[t][r][s]         for all C slots s

So padding adds nothing, and the bias must not hold what a dense engine's holds for the zero point. ``sparse_lanes`` x
``sparse_columns`` PEs share the work. With A = R / lanes and F = C / columns, PE (lane r, column c) has at item t the A
activations [A*g, A*g + A), g = (r + t) mod lanes, and the F slots [F*c, F*c + F): as many positions as A*F, of which it
multiplies those with a weight and an activation that is not ``pad_value``, one a cycle; of an item without such a pair
it is done after a cycle. Without ``skip_acts`` all activations count as if they were not ``pad_value``. A PE may be up
to ``run_ahead`` items ahead of the slowest one; results do not depend on it.

Weights of a pass, in rows of C bytes, PEs in the order r*columns + c, low bit and low byte first:

    masks   for each item R*C bits, A*F for each PE: bit f*A + a is set if weight[t][A*g + a][F*c + f] is listed
    lanes   a row: byte s is lane[s]; all C of them are there
    lists   ``rounds`` times a byte for each PE: round e brings the e-th weight of all PEs, each PE's in the order of
            its mask bits, item after item; for a PE that has fewer a byte that nobody reads

All passes of a COMPUTE have ``rounds`` of it. ILLEGAL_FIELD (in the SETUP) if T > CoreParams.sparse_items or
run_ahead >= CoreParams.sparse_slots, and (in the COMPUTE) if rounds > CoreParams.sparse_depth. WEIGHT_LISTS if the
masks of a PE have more bits in a pass than there are rounds, or if a lane is missing.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import unsigned
from amaranth.lib import data

from rtl.contract.engines.spec import CoreShape, EngineSpec, Lists, SetupFields
from rtl.contract.isa import Engine
from rtl.contract.regs import EngineCounter

__all__ = ["SPARSE"]


def _illegal(core: CoreShape, setup: SetupFields) -> Any:
    items = setup["kernel_h"] * setup["kernel_w"]
    return (items > core.sparse_items) | (setup["run_ahead"] >= core.sparse_slots)


SPARSE = EngineSpec(
    name="sparse",
    code=Engine.SPARSE,
    options=data.StructLayout({"run_ahead": unsigned(4), "skip_acts": unsigned(1)}),
    weight_rows=lambda core: core.rows // 8,
    lanes=lambda core: core.cols,
    illegal=_illegal,
    lists=Lists(
        head_rows=1,
        round_rows=lambda core: core.sparse_lanes * core.sparse_columns // core.cols,
        rounds=lambda core: core.sparse_depth,
    ),
    counters=tuple(EngineCounter),
)
