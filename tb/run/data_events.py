"""Events that data decide, of each part of a launch: the machine counts them on the golden tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from golden.machine import Machine
from rtl.contract.engines import ENGINES
from rtl.contract.isa import Unit
from rtl.contract.regs import DATA_COUNTERS
from scheduler.plan.program import Launch, Plan
from tb.errors import RunError
from tb.run.counts import LaunchEvents

__all__ = ["data_events", "told_events"]

Counts = Mapping[int, int]
"""By number of counter."""


def told_events(plan: Plan, index: int, expected: Mapping[str, np.ndarray]) -> LaunchEvents:
    """Events of step `index`, a launch: of its instructions, and on chips with engines whose work depends on their
    data those as well (`data_events`)."""
    launch = plan.steps[index]
    assert isinstance(launch, Launch)
    events = LaunchEvents.of(plan.chip, launch)
    if not any(DATA_COUNTERS.intersection(ENGINES[name].counters) for core in plan.chip.cores for name in core.engines):
        return events
    told = data_events(plan, index, expected)
    return LaunchEvents([part.with_data(counts) for part, counts in zip(events.parts, told, strict=True)])


def data_events(plan: Plan, index: int, expected: Mapping[str, np.ndarray]) -> list[tuple[Counts, ...]]:
    """Events of each part of step `index`, a launch, by core.

    Parameters
    ----------
    expected : dict of str to int8[C, H, W]
        Every tensor, from the golden model.

    Raises
    ------
    RunError
        If the machine refuses the program.
    """
    launch = plan.steps[index]
    assert isinstance(launch, Launch)
    memory = plan.memory_image()
    for name in plan.live_after(index - 1):
        plan.tensors[name].write(memory, expected[name])
    cores = range(plan.chip.n_cores)
    inner = {core: launch.borders[core, Unit.COMPUTE][:-1] for core in cores} if len(launch.parts) > 1 else {}
    result = Machine(plan.chip).run(memory, launch.program_base, launch.program_stride, borders=inner)
    if not result.ok:
        raise RunError(f"{launch.name}: the machine refuses the program: {result}")
    borders = [[*core.noted, core.counts] for core in result.cores]
    return [tuple(_between(of_core, part) for of_core in borders) for part in range(len(launch.parts))]


def _between(counts: Sequence[Counts], part: int) -> Counts:
    """What happened in a part, of the counts behind each."""
    before: Counts = counts[part - 1] if part else {}
    return {number: counts[part].get(number, 0) - before.get(number, 0) for number in sorted(DATA_COUNTERS)}
