"""Compute engines behind one interface: one component a file, and one line here for each."""

from __future__ import annotations

from rtl.contract.engines import Registry
from rtl.contract.params import CoreParams
from rtl.contract.regs import EngineCounter
from rtl.engines.array import SystolicArray
from rtl.engines.interface import EngineHardware
from rtl.engines.sparse import SparseEngine
from rtl.engines.tap import TapUnit

__all__ = ["HARDWARE", "EngineHardware", "counter_bits"]

HARDWARE: Registry[type[EngineHardware]] = Registry(
    "hardware",
    {
        "array": SystolicArray,
        "tap": TapUnit,
        "sparse": SparseEngine,
    },
)
"""The component of each engine; `rtl.core.compute` has those of ``CoreParams.engines``."""


def counter_bits(core: CoreParams) -> dict[EngineCounter, int]:
    """Bits of what each of the engines' own counters (`EngineSpec.counters`) may grow by in a cycle."""
    parts = HARDWARE.of(core.engines).values()
    return {counter: bits for part in parts for counter, bits in part.event_bits(core).items()}
