"""How each engine does a task: one file and one line here for each."""

from __future__ import annotations

from rtl.contract.engines import ENGINES, Registry
from rtl.contract.params import CoreParams
from scheduler.engines.array import ARRAY
from scheduler.engines.lowering import Lowering
from scheduler.engines.sparse import SPARSE
from scheduler.engines.tap import TAP
from scheduler.errors import PlanError
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["LOWERINGS", "Lowering", "bids", "engines_of"]

LOWERINGS: Registry[Lowering] = Registry(
    "lowering",
    {
        "array": ARRAY,
        "tap": TAP,
        "sparse": SPARSE,
    },
)


def engines_of(core: CoreParams) -> dict[str, Lowering]:
    """Lowerings of a core's engines, in the order of the registry; one that is no engine's own sees to itself."""
    return {name: part for name, part in LOWERINGS.items() if name in core.engines or name not in ENGINES}


def bids(task: Task, core: CoreParams) -> list[Work]:
    """Works of every engine of the core that would do the task.

    Raises
    ------
    PlanError
        If none would.
    """
    engines = engines_of(core)
    works = [work for engine in engines.values() for work in engine.bids(task, core)]
    if not works:
        raise PlanError(
            f"layer {task.name!r} ({task.op}) suits none of the core's engines ({', '.join(engines)}); add one",
            task.name,
        )
    return works
