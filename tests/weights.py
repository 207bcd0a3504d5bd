"""Plans in which parts take the whole weight scratchpad, whether they need it or not."""

from __future__ import annotations

from dataclasses import replace

from scheduler import Plan
from scheduler.fuse.decide import Decider
from scheduler.fuse.search import Choice

__all__ = ["plan_of_all_weights"]


def plan_of_all_weights(decider: Decider, every: int) -> Plan:
    """The best choices, but the first operation of a launch and every so many behind it take all of the weights."""
    choices = decider.choices
    launches = decider.launches(choices)
    forced: dict[int, Choice] = {
        number: replace(choices[number], all_weights=True)
        for launch in launches
        if len(launch) > 1
        for number in launch[::every]
        if choices[number].chain is None
    }
    assert forced
    return decider.writer.plan(choices | forced, launches)
