"""Fused as somebody has written it: a file says which layers share a launch, how each is split, what stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.fuse.written import check_cuts, input_layout, joined, read, write
from scheduler.group import pool_candidates
from scheduler.kinds.fused import Fused, Planner
from scheduler.place import input_layouts
from scheduler.plan.program import Plan

__all__ = ["Written", "require_single", "write_schedule"]


@dataclass(frozen=True)
class Written:
    """The kind of schedule.

    Attributes
    ----------
    path : Path
        A file as `write_schedule` makes it, perhaps edited since.
    overlap : bool
        As of `Fused`.
    """

    path: Path
    overlap: bool = True

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; of a single picture, which is all that a file speaks of."""
        require_single(str(self.path), batch)
        try:
            text = self.path.read_text()
            pools = joined(text, pool_candidates(graph))
            layout = input_layout(text, input_layouts(graph, chip))
            planner = Planner(Fused(overlap=self.overlap), graph, chip, memory, pools, input_layout=layout)
            choices, launches = read(text, graph.name, planner.stays)
            choices = planner.search.priced(choices, {launch[0] for launch in launches if len(launch) == 1})
            alive = [planner.alive_behind(number, choices) for number in range(len(planner.steps))]
            check_cuts(planner.steps, launches, alive)
            hosts = [[number] for number, step in enumerate(planner.steps) if isinstance(step.node, QHost)]
            return planner.finish(choices, sorted([*launches, *hosts]))
        except OSError as error:
            raise PlanError(f"cannot read SCHEDULE={self.path}: {error.strerror}") from error
        except (PlanError, UnicodeDecodeError) as error:
            raise PlanError(f"SCHEDULE={self.path}: {error}") from error


def require_single(schedule: str, batch: int) -> None:
    """Refuse a batch for a schedule that is a file."""
    if batch > 1 and schedule.endswith(".toml"):
        raise PlanError(
            f"BATCH={batch}: SCHEDULE={schedule} is a schedule of one picture; leave BATCH out, or use SCHEDULE=fused"
        )


def write_schedule(graph: QGraph, chip: ChipParams, memory: MemoryTiming, kind: Fused | None = None) -> str:
    """The best fused schedule, as text."""
    planner = Planner(kind or Fused(), graph, chip, memory).settled()
    layout = planner.input_layout if len(input_layouts(graph, chip)) > 1 else None
    return write(graph.name, planner.stays, *planner.decided(), layout)
