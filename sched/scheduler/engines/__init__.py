"""How each engine does a task: the array, the tap unit, and who registers beside them."""

from scheduler.engines import array, tap
from scheduler.engines.registry import Lowering, bids, engines_of, register, withdraw

__all__ = ["Lowering", "bids", "engines_of", "register", "withdraw"]

register(array.ARRAY)
register(tap.TAP)
