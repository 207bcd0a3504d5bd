"""Plans in which parts take the whole weight scratchpad, whether they need it or not."""

from __future__ import annotations

from dataclasses import replace

from scheduler import Plan
from scheduler.fuse.search import Choice
from scheduler.kinds.fused import Planner

__all__ = ["plan_of_all_weights"]


def plan_of_all_weights(planner: Planner, every: int) -> Plan:
    """The best choices, but the first operation of a launch and every so many behind it take all of the weights."""
    choices = planner.choices
    launches = planner.launches(choices)
    forced: dict[int, Choice] = {
        number: replace(choices[number], all_weights=True)
        for launch in launches
        if len(launch) > 1
        for number in launch[::every]
        if choices[number].chain is None
    }
    assert forced
    return planner.finish(choices | forced, launches)
