"""Fused as somebody has written it: a file says which layers share a launch, how each is split, what stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.fuse.form import Form
from scheduler.fuse.forms import Forms
from scheduler.fuse.stay import Stays
from scheduler.fuse.written import check_batch, check_cuts, input_layout, joined, read, write
from scheduler.group import pool_candidates
from scheduler.kinds.fused import Fused
from scheduler.place import input_layouts
from scheduler.plan.program import Plan
from scheduler.rounds import require_own_launches
from scheduler.work.options import SparseOptions

__all__ = ["Written", "require_same_batch", "write_schedule"]


@dataclass(frozen=True)
class Written:
    """The kind of schedule.

    Attributes
    ----------
    path : Path
        A file as `write_schedule` makes it, perhaps edited since.
    overlap, sparse
        As of `Fused`.
    """

    path: Path
    overlap: bool = True
    sparse: SparseOptions = field(default_factory=SparseOptions)

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; of the batch that the file speaks of."""
        with _naming(self.path):
            text = self.path.read_text()
            check_batch(text, batch)
            pools = joined(text, pool_candidates(graph))
            layout = input_layout(text, input_layouts(graph, chip))
            terms = Fused(overlap=self.overlap, sparse=self.sparse)
            decider = Forms(terms, graph, chip, memory, batch).decider(pools, layout)
            form = decider.form
            choices, launches = read(text, graph.name, _stays(form))
            alive = [decider.alive_behind(number, choices) for number in range(len(form.steps))]
            check_cuts(form.steps, launches, alive)
            choices = decider.priced(choices, launches)
            hosts = [[number] for number in range(len(form.steps)) if form.on_host(number)]
            return decider.writer.plan(choices, sorted([*launches, *hosts]))


def require_same_batch(schedule: str, batch: int) -> None:
    """Refuse a batch for a schedule that is a file of another, before anything takes time."""
    if schedule.endswith(".toml"):
        path = Path(schedule)
        with _naming(path):
            check_batch(path.read_text(), batch)


def write_schedule(
    graph: QGraph, chip: ChipParams, memory: MemoryTiming, kind: Fused | None = None, batch: int = 1
) -> str:
    """The best fused schedule, as text."""
    kind = kind or Fused()
    require_own_launches(kind.launches, batch)
    decider = Forms(kind, graph, chip, memory, batch).settled()
    form, (choices, launches) = decider.form, decider.decided()
    layout = form.input_layout if len(input_layouts(graph, chip)) > 1 else None
    mappings = decider.writer.mappings(choices, launches)
    return write(graph.name, batch, _stays(form), choices, launches, mappings, layout)


def _stays(form: Form) -> dict[int, Stays]:
    """By pictures at once."""
    return {pictures: search.stays for pictures, search in form.searches.items()}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors that name the file."""
    try:
        yield
    except OSError as error:
        raise PlanError(f"cannot read SCHEDULE={path}: {error.strerror}") from error
    except (PlanError, UnicodeDecodeError) as error:
        raise PlanError(f"SCHEDULE={path}: {error}") from error
