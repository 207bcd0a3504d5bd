"""Contract between the scheduler and an engine: which tasks it would do, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rtl.contract.params import CoreParams
from scheduler.work.task import Task
from scheduler.work.work import Work

__all__ = ["Lowering"]


class Lowering(Protocol):
    """An engine's way from a task to a work."""

    def bids(self, task: Task, core: CoreParams) -> Sequence[Work]:
        """Ways in which the engine would do a task, of which the estimator takes the best; none if it would not.

        Raises
        ------
        PlanError
            If nobody can do it, whatever the engine.
        """
        ...
