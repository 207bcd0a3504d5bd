"""The timeline of a run as a file in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scheduler.plan.program import Launch, Plan
from tb.errors import RunError
from tb.files import write_atomically
from tb.run.options import RunOptions
from tb.run.rundir import RunDir
from tb.sim.job import LaunchResult
from tb.sim.trace import TIMELINE
from tb.timeline.assemble import RecordedLaunch, run_timeline
from tb.timeline.files import FORMS
from tb.timeline.sums import differences

__all__ = ["recorded_launches", "timeline_file", "write_timeline"]


def timeline_file(options: RunOptions) -> Path | None:
    """Where the timeline of a run lies; None without one."""
    return None if options.trace is None else options.folder / f"trace{FORMS[options.trace].suffix}"


def write_timeline(options: RunOptions, plan: Plan, results: Mapping[int, LaunchResult], folder: RunDir) -> None:
    """Write the timeline of the launches that ended well, in the order of the plan, if there is to be one.

    Parameters
    ----------
    results : dict of int to LaunchResult
        By number of the step.

    Raises
    ------
    RunError
        If events of a launch do not add up to what the hardware counted.
    """
    path = timeline_file(options)
    if path is not None and options.trace is not None:
        timeline = run_timeline(recorded_launches(plan, results, folder), plan.chip, options.settings)
        write_atomically(path, FORMS[options.trace].write(timeline))


def recorded_launches(plan: Plan, results: Mapping[int, LaunchResult], folder: RunDir) -> list[RecordedLaunch]:
    """The launches that ended well, with their events, each checked against its counters; as `write_timeline`."""
    launches = []
    for index, step in enumerate(plan.steps):
        result = results.get(index)
        if result is None or not result.ok or not isinstance(step, Launch):
            continue
        events = np.load(folder.launch(index, step.name) / f"{TIMELINE}.npy")
        wrong = differences(events, result.counters, plan.chip)
        if wrong:
            raise RunError(f"the timeline of {step.name} is not that of the run: {wrong[0]}")
        launches.append(RecordedLaunch(step, result.cycles, result.core_marks, events))
    return launches
