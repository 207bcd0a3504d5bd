"""Cost of a change from one engine to another."""

from __future__ import annotations

from estimator.coefficients import Coefficients
from estimator.engines.engine import EngineTiming
from rtl.contract.params import CoreParams

__all__ = ["switch_cycles"]


def switch_cycles(core: CoreParams, a: EngineTiming, b: EngineTiming, c: Coefficients) -> float:
    """Cycles that a change between two engines costs, mean of both directions: each waits until the other is idle."""
    return (a.idle_cycles(core, c) + b.idle_cycles(core, c)) / 2
