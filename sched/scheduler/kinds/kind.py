"""What every kind of schedule is."""

from __future__ import annotations

from typing import Protocol

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.plan.program import Plan

__all__ = ["ScheduleKind"]


class ScheduleKind(Protocol):
    """A strategy that makes plans."""

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """Split, tile, place and program every layer, for so many pictures; cut at nodes of the host.

        Raises
        ------
        PlanError
            If a layer fits in no way; names it, what is too big, and the parameter to raise.
        """
        ...
