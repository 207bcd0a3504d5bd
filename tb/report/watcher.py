"""The watcher of a run: what a run tells while it lasts; tb/report/progress.py shows it."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.plan.program import Step
from tb.sim.job import LaunchResult
from tb.sim.session import Event

__all__ = ["Watcher"]


class Watcher:
    """An observer of a run, told what it does while it does it; this one does nothing."""

    def stage(self, text: str) -> None:
        """Another preparation begins."""

    def plan(
        self, launches: Sequence[Step], estimates: Sequence[int], parts: Sequence[Sequence[float]] = ()
    ) -> None:
        """The launches to come, and what the host does between them, with the cycles expected of each.

        Parameters
        ----------
        parts : sequence of sequence of float
            Of each launch, the cycles expected of its parts, if these are told apart.
        """

    def forecast(self, text: str) -> None:
        """What is expected of the whole run, before its simulation."""

    def kept(self, index: int, result: LaunchResult) -> None:
        """A launch is taken from an earlier run."""

    def processes(self, count: int, note: str) -> None:
        """So many simulators share the launches; the note says why there are no more, or is empty."""

    def event(self, index: int, event: Event) -> None:
        """An event ("start", "progress", "finish") of launch `index`, in the simulator number `event["process"]`.

        Progress tells cycles, and how many marks, and so parts, the launch has `passed`.
        """

    def done(self) -> None:
        """The end of the run: nothing more will come."""
