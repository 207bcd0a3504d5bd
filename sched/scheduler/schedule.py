"""From a quantised graph and a chip to a plan, by one of the kinds of schedule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.kinds.apart import Apart
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers, PoolFusion
from scheduler.kinds.written import Written
from scheduler.plan.program import Plan
from scheduler.work.options import SparseOptions

__all__ = ["SCHEDULES", "folds", "schedule", "schedule_kind", "usual_schedule"]


class _Maker(Protocol):
    def __call__(self, *, overlap: bool = True, sparse: SparseOptions = ...) -> ScheduleKind: ...


SCHEDULES: dict[str, _Maker] = {"layers": Layers, "fused": Fused, "apart": Apart}
"""By name: a launch for each layer; many layers in a launch, with what is between them on the chip; a launch for each
operator, sums and pools among them."""


def usual_schedule(chip: ChipParams, *, pools: bool = True) -> str:
    """Name of the kind of schedule that a chip gets where none is asked for.

    Fused on cores that are all alike and pass marks, which tell the layers of a launch apart; otherwise layer by layer,
    as also if no maximum pool is to join the convolution in front of it.
    """
    alike = len(set(chip.cores)) == 1
    return "fused" if alike and pools and chip.cores[0].marks else "layers"


def folds(name: str) -> bool:
    """Whether the schedule of a name is for graphs in which convolutions add residuals (``quantize(fold_sums=True)``)
    and maximum pools stand in front of concatenations."""
    return name != "apart"


def schedule_kind(
    name: str,
    *,
    pools: bool = True,
    overlap: bool = True,
    launches: int | None = None,
    sparse: SparseOptions | None = None,
) -> ScheduleKind:
    """The kind of schedule of a name.

    Parameters
    ----------
    pools : bool
        Without, no maximum pool joins the convolution in front of it.
    overlap : bool
        Without, at most one unit of a core works at a time: the mappings are the same, but every core loads, computes,
        stores, and only then loads again.
    launches : int, optional
        Starts of the chip, of a kind that may choose how many.
    sparse : SparseOptions, optional
        For sparse engines.

    Raises
    ------
    PlanError
        If there is none of that name and it is no file's, or it takes pools along in any case, or its launches are as
        many as they are.
    """
    if name not in SCHEDULES and not name.endswith(".toml"):
        raise PlanError(f"SCHEDULE={name}: use {', '.join(SCHEDULES)}, or a .toml file that make schedule wrote")
    sparse = sparse or SparseOptions()
    if launches is not None:
        return _with_launches(name, launches, schedule_kind(name, pools=pools, overlap=overlap, sparse=sparse))
    if pools and name in SCHEDULES:
        return SCHEDULES[name](overlap=overlap, sparse=sparse)
    if pools:
        return Written(Path(name), overlap, sparse)
    if name != "layers":
        raise PlanError(f"FUSE=0 goes with SCHEDULE=layers alone; leave FUSE or SCHEDULE={name} out")
    return Layers(PoolFusion.NEVER, overlap=overlap, sparse=sparse)


def _with_launches(name: str, launches: int, kind: ScheduleKind) -> ScheduleKind:
    if name.endswith(".toml"):
        raise PlanError(f"LAUNCHES={launches}: SCHEDULE={name} says which layers share a launch; edit that file")
    if not isinstance(kind, Fused):
        raise PlanError(f"LAUNCHES={launches} goes with SCHEDULE=fused, not with {name}; leave one of the two out")
    if launches < 1:
        raise PlanError(f"LAUNCHES={launches}: give the number of launches, 1 or more")
    return replace(kind, launches=launches)


def schedule(
    graph: QGraph,
    chip: ChipParams,
    memory: MemoryTiming | None = None,
    kind: ScheduleKind | None = None,
    batch: int = 1,
) -> Plan:
    """Split, tile, place and program every layer, for the shortest time with such a memory; cut at nodes of the host.

    Without a `kind`, layer by layer, on any chip; a convolution then computes the maximum pool behind it in the same
    launch, where that is faster.

    Parameters
    ----------
    batch : int
        Number of pictures. The plan has the nodes and tensors of each (`golden.int8.batch`).

    Raises
    ------
    PlanError
        If a layer fits in no way; names it, what is too big, and the parameter to raise.
    """
    return (kind or Layers()).plan(graph, chip, memory or MemoryTiming(), batch)
