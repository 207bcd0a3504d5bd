"""Cycles of each engine: one file and one line here for each."""

from __future__ import annotations

from estimator.engines.array import ARRAY
from estimator.engines.engine import EngineTiming, Pass
from estimator.engines.sparse.timing import SPARSE
from estimator.engines.switch import switch_cycles
from estimator.engines.tap import TAP
from rtl.contract.engines import ENGINES, EngineError, Registry

__all__ = ["TIMINGS", "EngineTiming", "Pass", "setup_fields", "switch_cycles", "timing_of"]

TIMINGS: Registry[EngineTiming] = Registry(
    "timing",
    {
        "array": ARRAY,
        "tap": TAP,
        "sparse": SPARSE,
    },
)


def timing_of(code: int) -> EngineTiming:
    """Cycles of the engine that a SETUP names.

    Raises
    ------
    EngineError
        If there is none.
    """
    spec = ENGINES.by_code(code)
    if spec is None:
        known = ", ".join(f"{other.code} ({name})" for name, other in ENGINES.items())
        raise EngineError(f"SETUP.engine is {code}: it must be one of {known}")
    return TIMINGS[spec.name]


def setup_fields() -> frozenset[str]:
    """Fields of a SETUP on which the cycles of any engine depend."""
    return frozenset({"engine"}).union(*(timing.setup_fields for timing in TIMINGS.values()))
