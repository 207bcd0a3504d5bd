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
ISSUE_CYCLES = 3
"""From when a COMPUTE is issued to its first row of weights at the engine (`rtl.core.compute`)."""
COLLECT_CYCLES = 2
"""From a pixel's last product to its update, beside a cycle for each group of the collector
(`estimator.engines.sparse.recursion`)."""


class _Sparse(EngineTiming):
    """Cycles of passes by the cycles of a pixel, which `estimator.engines.sparse.rates` finds.

    Where nobody knows these, of a program that comes without them, the PE with the longest list decides: it has so many
    products a pixel as it has weights with an activation that is not zero, by an assumed density. An item takes at
    least a cycle, and so does a group of the collector.
    """

    name = "sparse"
    setup_fields = frozenset({"kernel_h", "kernel_w", "out_w", "run_ahead", "skip_acts"})
    valued = True
    banked = True
    cycles = EngineCycles(start=1.0, drain=5.0, idle=4.0)

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        items = setup["kernel_h"] * setup["kernel_w"]
        skips = bool(setup["skip_acts"])
        return fields["blocks"], Pass(
            fields["out_h"], setup["out_w"], items=items, rounds=fields["rounds"], ahead=setup["run_ahead"] + 1,
            skips=skips,
        )  # fmt: skip

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return ceil(pass_cycles(streamed.pixels, _pixel_cycles(core, streamed), _weight_rows(core, streamed)))

    def last_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return ceil(streamed.pixels * _pixel_cycles(core, streamed))

    def lead_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return ISSUE_CYCLES + _weight_rows(core, streamed)

    def ahead_cycles(self, streamed: Pass) -> float:
        items = streamed.pixels * streamed.items  # of which it takes one a cycle, at most
        waits = streamed.pixels * streamed.pixel_cycles - items
        return max(0.0, min(waits, streamed.ahead * streamed.pixel_cycles / max(1, streamed.items)))

    def way_cycles(self, core: CoreParams) -> int:
        return COLLECT_CYCLES + core.collector_groups

    def pass_pixels(self, streamed: Pass) -> int:
        return streamed.pixels * streamed.items


SPARSE = _Sparse()


def _pixel_cycles(core: CoreParams, streamed: Pass) -> float:
    products = streamed.rounds * (ASSUMED_DENSITY if streamed.skips else 1.0)
    return streamed.pixel_cycles or max(streamed.items, products, core.collector_groups)


def _weight_rows(core: CoreParams, streamed: Pass) -> int:
    """Rows of a pass: its masks and lanes, and its lists."""
    assert CONTRACT.lists is not None
    return streamed.items * CONTRACT.weight_rows(core) + CONTRACT.lists.rows(core, streamed.rounds)
