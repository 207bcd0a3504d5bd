"""From a quantised graph and a chip to a plan, by one of the kinds of schedule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers, PoolFusion
from scheduler.kinds.written import Written
from scheduler.plan.program import Plan

__all__ = ["DEFAULT_SCHEDULE", "SCHEDULES", "schedule", "schedule_kind"]

SCHEDULES: dict[str, Callable[[], ScheduleKind]] = {"layers": Layers, "fused": Fused}
"""By name: one launch for each layer, or many layers in a launch with what is between them on the chip."""

DEFAULT_SCHEDULE = "layers"


def schedule_kind(name: str, *, pools: bool = True) -> ScheduleKind:
    """The kind of schedule of a name.

    Parameters
    ----------
    pools : bool
        Without, no maximum pool joins the convolution in front of it.

    Raises
    ------
    PlanError
        If there is none of that name and it is no file's, or it takes pools along in any case.
    """
    if name not in SCHEDULES and not name.endswith(".toml"):
        raise PlanError(f"SCHEDULE={name}: use {' or '.join(SCHEDULES)}, or a .toml file that make schedule wrote")
    if pools:
        return SCHEDULES[name]() if name in SCHEDULES else Written(Path(name))
    if name != "layers":
        raise PlanError(f"FUSE=0 goes with SCHEDULE=layers alone; leave FUSE or SCHEDULE={name} out")
    return Layers(pools=PoolFusion.NEVER)


def schedule(
    graph: QGraph,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    kind: ScheduleKind | None = None,
    batch: int = 1,
) -> Plan:
    """Split, tile, place and program every layer, for the shortest time with such a memory; cut at nodes of the host.

    Without a `kind`, layer by layer; a convolution then computes the maximum pool behind it in the same launch, where
    that is faster.

    Parameters
    ----------
    batch : int
        Number of pictures. The plan has the nodes and tensors of each (`golden.int8.batch`).

    Raises
    ------
    PlanError
        If a layer fits in no way; names it, what is too big, and the parameter to raise.
    """
    return (kind or schedule_kind(DEFAULT_SCHEDULE)).plan(graph, chip, memory or MemoryTiming(), batch)
