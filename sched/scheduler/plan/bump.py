"""Addresses of DRAM, one behind the other."""

from __future__ import annotations

from scheduler.errors import PlanError
from scheduler.plan.layout import round_up
from scheduler.plan.limits import ADDRESS_SPACE, PAGE_BYTES

__all__ = ["Bump"]


class Bump:
    """Hands out addresses one behind the other."""

    def __init__(self, start: int) -> None:
        self.top = start

    def take(self, nbytes: int, alignment: int = PAGE_BYTES) -> int:
        addr = round_up(self.top, alignment)
        self.top = addr + nbytes
        if self.top > ADDRESS_SPACE:
            raise PlanError(f"the network needs {self.top} bytes of DRAM; addresses end at {ADDRESS_SPACE}")
        return addr
