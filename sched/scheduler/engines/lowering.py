"""Contract between the scheduler and an engine: which tasks it would do, and how."""

from __future__ import annotations

from typing import Protocol

from rtl.contract.params import CoreParams
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["Lowering"]


class Lowering(Protocol):
    """An engine's way from a task to a work."""

    def bid(self, task: Task, core: CoreParams) -> Work | None:
        """How the engine would do a task, if it would.

        Raises
        ------
        PlanError
            If nobody can do it, whatever the engine.
        """
        ...
