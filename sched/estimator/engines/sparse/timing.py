"""Cycles of the sparse engine's passes, as the timeline and the scheduler's search ask for them."""

from __future__ import annotations

from math import ceil

from estimator.coefficients import EngineCycles
from estimator.engines.engine import EngineTiming, Fields, Pass
from estimator.engines.sparse.rates import pass_cycles
from rtl.contract.engines.sparse import SPARSE as CONTRACT
from rtl.contract.params import CoreParams

__all__ = ["SPARSE"]

ASSUMED_DENSITY = 0.5
"""Share of the activations that are not zero, where nobody knows it."""


class _Sparse(EngineTiming):
    """Cycles of passes by the cycles of a pixel, which `estimator.engines.sparse.rates` finds.

    Where nobody knows these, of a program that comes without them, the PE with the longest list decides: it has so many
    products a pixel as it has weights with an activation that is not zero, by an assumed density. An item takes at
    least a cycle, and so does a group of the collector.
    """

    name = "sparse"
    setup_fields = frozenset({"kernel_h", "kernel_w", "out_w", "skip_acts"})
    valued = True
    cycles = EngineCycles(start=2.0, drain=16.0, idle=16.0)

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        items = setup["kernel_h"] * setup["kernel_w"]
        skips = bool(setup["skip_acts"])
        return fields["blocks"], Pass(
            fields["out_h"], setup["out_w"], items=items, rounds=fields["rounds"], skips=skips
        )

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        assert CONTRACT.lists is not None
        products = streamed.rounds * (ASSUMED_DENSITY if streamed.skips else 1.0)
        assumed = max(streamed.items, products, core.collector_groups)
        rows = streamed.items * CONTRACT.weight_rows(core) + CONTRACT.lists.rows(core, streamed.rounds)
        return ceil(pass_cycles(streamed.pixels, streamed.pixel_cycles or assumed, rows))

    def pass_pixels(self, streamed: Pass) -> int:
        return streamed.pixels * streamed.items


SPARSE = _Sparse()
