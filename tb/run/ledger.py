"""What became of the steps of a plan: kept or simulated, compared with the golden model, summed up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from scheduler.plan.program import Launch, Plan
from tb.errors import RunError
from tb.run.counts import LaunchEvents, check_counts
from tb.run.data_events import told_events
from tb.run.explain import explain
from tb.run.launches import check_tensors, regions_of, units_of
from tb.run.rundir import RunDir
from tb.run.scoreboard import Scoreboard
from tb.run.waves import first_wrong_cycle
from tb.sim.job import WRITTEN, LaunchResult
from tb.sim.trace import holds_timeline

__all__ = ["Ledger"]


class Ledger:
    """The results of a plan's steps, taken in in any order.

    Parameters
    ----------
    expected : dict of str to int8[C, H, W]
        Every tensor, from the golden model.
    timeline : bool
        A launch of an earlier run is only kept with its timeline.
    """

    def __init__(
        self, plan: Plan, expected: Mapping[str, np.ndarray], folder: RunDir, *, timeline: bool = False
    ) -> None:
        self._plan = plan
        self._expected = expected
        self._folder = folder
        self._timeline = timeline
        self._board = Scoreboard(expected)
        self.results: dict[int, LaunchResult] = {}
        """Results of all steps that have ended, well or not, by number of the step."""
        self.exact: dict[int, bool] = {}
        """Whether a step ended well, with every bit and every count right, by number of the step."""
        self.events: dict[int, LaunchEvents] = {}
        """Events of every launch that ended well, by number of the step."""
        self._miscounts: dict[int, str] = {}
        """Steps whose tensors are right and whose counters are not those of their programs, with what differs."""

    @property
    def good(self) -> bool:
        """Whether nothing has failed or differed so far."""
        return all(self.exact.values())

    @property
    def mismatches(self) -> int:
        """Values that differ."""
        return self._board.mismatches

    def resume(self, estimated_cycles: Sequence[int], anew: Collection[range] = ()) -> dict[range, float]:
        """Take in the units that an earlier run has finished, but for those wanted `anew`; those that are left, with
        the cycles expected of each."""
        return {
            unit: float(sum(estimated_cycles[index] for index in unit))
            for unit in units_of(self._plan)
            if unit in anew or not self._keep(unit)
        }

    def worth_recording(self) -> list[range]:
        """Units to run anew for their waves: those that an earlier run found bad; where all ended well, all of them."""
        units, earlier = units_of(self._plan), Ledger(self._plan, self._expected, self._folder)
        left = earlier.resume([0] * len(self._plan.steps))
        bad = [
            unit
            for unit in units
            if any(self._failed(index) if unit in left else not earlier.exact[index] for index in unit)
        ]
        return bad or ([] if left else units)

    def _failed(self, index: int) -> bool:
        """Whether a step ended in an error in an earlier run."""
        result = LaunchResult.load(self._folder.launch(index, self._plan.steps[index].name))
        return result is not None and not result.ok

    def _keep(self, unit: range) -> bool:
        """Take in a unit of an earlier run, if all of it is there."""
        steps = [self._plan.steps[index] for index in unit]
        found = [
            self._folder.result(index, step.name, regions_of(self._plan, step))
            for index, step in zip(unit, steps, strict=True)
        ]
        whole = [result for result in found if result is not None]
        if len(whole) < len(found) or not all(map(self._recorded, unit)):
            return False
        for index, result in zip(unit, whole, strict=True):
            self._enter(index, result)
        return True

    def _recorded(self, index: int) -> bool:
        """Whether the timeline of a step is there, if it has one and that is wanted."""
        step = self._plan.steps[index]
        wanted = self._timeline and isinstance(step, Launch)
        return not wanted or holds_timeline(self._folder.launch(index, step.name))

    def finish(self, index: int) -> bool:
        """Take in a step that has just ended; whether it ended well, with every bit right.

        Raises
        ------
        RunError
            If its result cannot be read.
        """
        name = self._plan.steps[index].name
        result = LaunchResult.load(self._folder.launch(index, name))
        if result is None:
            raise RunError(f"the result of {name} cannot be read back from {self._folder.path}")
        self._enter(index, result)
        return self.exact[index]

    def _enter(self, index: int, result: LaunchResult) -> None:
        step = self._plan.steps[index]
        self.results[index] = result
        folder = self._folder.launch(index, step.name)
        self.exact[index] = result.ok and check_tensors(folder, self._plan, step, self._board)
        if result.ok and isinstance(step, Launch):
            self.events[index] = told_events(self._plan, index, self._expected)
        if self.exact[index] and isinstance(step, Launch):
            wrong = check_counts(self.events[index].whole, result.counters)
            if wrong:
                self._miscounts[index], self.exact[index] = wrong, False
        if self.exact[index]:
            (folder / f"{WRITTEN}.npy").unlink(missing_ok=True)

    @property
    def first_failed(self) -> int | None:
        """The first step, in the order of the plan, that ended in an error, with a wrong bit or a wrong count."""
        return min((index for index, exact in self.exact.items() if not exact), default=None)

    def failed_cycle(self, index: int) -> int | None:
        """The cycle of its launch that a look at a step that failed should begin with; None where nobody knows."""
        result, step = self.results[index], self._plan.steps[index]
        if not result.ok:
            return result.failed_cycle
        if index in self._miscounts:
            return None
        return first_wrong_cycle(self._folder.launch(index, step.name), self._plan, step, self._expected)

    def dumps(self) -> dict[Path, tuple[int, int | None]]:
        """Files of recorded waves, with the cycles that the launch took and that in which it failed, if it did."""
        found = {}
        for index, result in sorted(self.results.items()):
            dump = self._folder.dump(index, result.name)
            if dump.exists():
                found[dump] = result.cycles, None if self.exact[index] else self.failed_cycle(index)
        return found

    def failure(self) -> str | None:
        """What is wrong with the first step, in the order of the plan, that ended in an error or with a wrong bit."""
        index = self.first_failed
        if index is None:
            return None
        if not self.results[index].ok:
            return explain(self._plan, index, self.results[index])
        steps = len(self._plan.steps)
        left_out = steps - len(self.results)
        rest = f"; {left_out} of {steps} layers were not run to their end" if left_out else ""
        return f"{self._plan.steps[index].name}: {self._miscounts.get(index, 'a bit differs')}{rest}"

    def first_difference(self) -> str | None:
        """The first wrong value, in the order of the plan, in words."""
        order = {step.name: index for index, step in enumerate(self._plan.steps)}
        first = min(self._board.differences, key=lambda difference: order[difference.layer], default=None)
        return None if first is None else str(first)
