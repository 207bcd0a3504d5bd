"""Meaning of each engine's passes: the array, the tap unit, and who registers beside them."""

from golden.machine.engines import array, tap
from golden.machine.engines.engine import EngineModel, Sums
from golden.machine.engines.registry import find, register, withdraw
from rtl.contract.isa import Engine

__all__ = ["EngineModel", "Sums", "find", "register", "withdraw"]

register(Engine.ARRAY, array.ARRAY)
register(Engine.TAP, tap.TAP)
