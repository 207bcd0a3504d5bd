"""Fused: one launch holds many layers, and tensors between them stay in the scratchpads where that is cheaper."""

from __future__ import annotations

from dataclasses import dataclass

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.fuse.form import Terms
from scheduler.fuse.forms import Forms
from scheduler.plan.program import Plan
from scheduler.rounds import require_own_launches

__all__ = ["Fused"]


@dataclass(frozen=True)
class Fused(Terms):
    """The kind of schedule; its attributes are those of `Terms`."""

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; of a batch, as many pictures at once as is cheapest, launch by launch."""
        require_own_launches(self.launches, batch)
        return Forms(self, graph, chip, memory, batch).settled().plan
