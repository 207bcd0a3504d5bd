"""From a quantised graph and a chip to a plan."""

from __future__ import annotations

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers, PoolFusion
from scheduler.plan.program import Plan

__all__ = ["schedule"]


def schedule(
    graph: QGraph,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    *,
    fuse: bool = True,
    kind: ScheduleKind | None = None,
) -> Plan:
    """Split, tile, place and program every layer, for the shortest time with such a memory; cut at nodes of the host.

    Without a `kind`, layer by layer; with `fuse`, a convolution then computes the maximum pool behind it in the same
    launch, where that is faster.

    Raises
    ------
    PlanError
        If a layer fits in no way; names it, what is too big, and the parameter to raise.
    """
    kind = kind or Layers(pools=PoolFusion.FASTER if fuse else PoolFusion.NEVER)
    return kind.plan(graph, chip, memory or MemoryTiming())
