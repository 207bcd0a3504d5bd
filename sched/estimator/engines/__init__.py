"""Cycles of each engine: the array, the tap unit, and who registers beside them."""

from estimator.engines.array import ARRAY
from estimator.engines.engine import EngineTiming, Pass
from estimator.engines.registry import register, registered, setup_fields, timing_of, withdraw
from estimator.engines.switch import switch_cycles
from estimator.engines.tap import TAP
from rtl.contract.isa import Engine

__all__ = [
    "ARRAY",
    "TAP",
    "EngineTiming",
    "Pass",
    "register",
    "registered",
    "setup_fields",
    "switch_cycles",
    "timing_of",
    "withdraw",
]

register(Engine.ARRAY, ARRAY)
register(Engine.TAP, TAP)
