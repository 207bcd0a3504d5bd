"""Compute engines behind one interface: one component a file, and one line here for each."""

from __future__ import annotations

from rtl.contract.engines import Registry
from rtl.engines.array import SystolicArray
from rtl.engines.interface import EngineHardware
from rtl.engines.tap import TapUnit

__all__ = ["HARDWARE"]

HARDWARE: Registry[type[EngineHardware]] = Registry(
    "hardware",
    {
        "array": SystolicArray,
        "tap": TapUnit,
    },
)
"""The component of each engine; `rtl.core.compute` has those of ``CoreParams.engines``."""
