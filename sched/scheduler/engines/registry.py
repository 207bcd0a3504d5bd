"""The engines that bid for tasks."""

from __future__ import annotations

from typing import Protocol

from rtl.contract.engines import ENGINES
from rtl.contract.params import CoreParams
from scheduler.errors import PlanError
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["Lowering", "bids", "engines_of", "register", "withdraw"]


class Lowering(Protocol):
    """An engine's way from a task to a work."""

    @property
    def name(self) -> str:
        """Unique."""
        ...

    def bid(self, task: Task, core: CoreParams) -> Work | None:
        """How the engine would do a task, if it would.

        Raises
        ------
        PlanError
            If nobody can do it, whatever the engine.
        """
        ...


_LOWERINGS: dict[str, Lowering] = {}


def register(lowering: Lowering) -> None:
    """Let an engine bid from now on."""
    if lowering.name in _LOWERINGS:
        raise ValueError(f"engine {lowering.name!r} is registered already: withdraw it first")
    _LOWERINGS[lowering.name] = lowering


def withdraw(name: str) -> None:
    """Let an engine bid no more."""
    del _LOWERINGS[name]


def engines_of(core: CoreParams) -> tuple[Lowering, ...]:
    """Engines of a core, in the order in which they were registered; a lowering of another name sees to itself."""
    return tuple(part for name, part in _LOWERINGS.items() if name in core.engines or name not in ENGINES)


def bids(task: Task, core: CoreParams) -> list[Work]:
    """A work of every engine of the core that would do the task.

    Raises
    ------
    PlanError
        If none would.
    """
    works = [work for engine in engines_of(core) if (work := engine.bid(task, core)) is not None]
    if not works:
        names = ", ".join(engine.name for engine in engines_of(core))
        raise PlanError(f"layer {task.name!r} ({task.op}) suits none of the core's engines ({names}); add one that can")
    return works
