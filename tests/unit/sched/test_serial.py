"""The serial arm of every kind of schedule: right in any order, and never two units of a core at work."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from estimator import MemoryTiming, estimate
from golden.machine import machine
from golden.machine.state import CoreState
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from scheduler.code.serial import phase_starts
from scheduler.schedule import SCHEDULES, folds, schedule_kind
from tests.networks import random_network
from tests.unit.sched.replay import Replay
from tests.unit.sched.test_fused import CHIPS, MEMORY, run

SLOW = MemoryTiming(latency_cycles=40, bytes_per_cycle=1)


class Overlap(AssertionError):
    """Two units of a core work at the same time."""


class Watched(machine._Run):
    """A run that notes, core by core, what is under way: data of LOADs to it, COMPUTEs, writes of its STOREs.

    A STORE to another core is over when it has left; there is no acknowledgement of it.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.under_way: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])

    def begin(self, core: int, unit: Unit) -> None:
        self.under_way[core][unit] += 1
        if sum(count > 0 for count in self.under_way[core]) > 1:
            raise Overlap(f"core {core}: loads, computes, stores under way: {self.under_way[core]}")

    def end(self, core: int, unit: Unit) -> None:
        self.under_way[core][unit] -= 1

    def execute(self, actor: machine._UnitActor) -> None:
        core = actor.core.index
        to_core = actor.opcode == Opcode.STORE and actor.fields["to_core"]
        if actor.opcode == Opcode.LOAD:
            for target in self.cores:
                if actor.fields["cores"] >> target.index & 1:
                    self.begin(target.index, Unit.LOAD)
            if not actor.fields["cores"] >> core & 1:  # for others alone
                self.begin(core, Unit.LOAD)
                self.end(core, Unit.LOAD)
        elif actor.opcode in (Opcode.COMPUTE, Opcode.STORE):
            self.begin(core, actor.unit)
        super().execute(actor)
        if to_core:
            self.end(core, Unit.STORE)

    def _arrive(self, core: CoreState, fields: machine.Fields, *args: Any) -> None:
        super()._arrive(core, fields, *args)
        if "run_flits" in fields:  # of a LOAD
            self.end(core.index, Unit.LOAD)

    def _update(self, core: CoreState, *args: Any) -> None:
        self.end(core.index, Unit.COMPUTE)
        super()._update(core, *args)

    def _write(self, actor: machine._UnitActor, *args: Any) -> None:
        self.end(actor.core.index, Unit.STORE)
        super()._write(actor, *args)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("chip", ["one core", "tiny scratchpads", "four cores, two blocks a word"])
def test_at_most_one_unit_of_a_core_works_at_a_time(
    chip: str, kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_network(seed, CHIPS[chip], apart=not folds(kind))
    plan = schedule_kind(kind, overlap=False).plan(case.graph, case.chip, MEMORY)
    for launch in plan.launches:
        Replay(launch, case.chip).run()
    monkeypatch.setattr(machine, "_Run", Watched)
    for order_seed in (None, 1, 2):
        run(case, plan, order_seed)
    with pytest.raises(Overlap):
        run(case, schedule_kind(kind).plan(case.graph, case.chip, MEMORY), 1)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_mappings_are_those_of_the_overlapped_plan_and_only_time_is_lost(kind: str) -> None:
    chip: ChipParams = CHIPS["two cores"]
    case = random_network(1, chip, apart=not folds(kind))
    plans = [schedule_kind(kind, overlap=overlap).plan(case.graph, chip, SLOW) for overlap in (True, False)]
    shared, alone = ([part for launch in plan.launches for part in launch.parts] for plan in plans)
    assert shared == alone
    assert plans[0].tensors == plans[1].tensors
    cycles, moved = [], []
    for plan in plans:
        estimates = [estimate(launch, chip, SLOW) for launch in plan.launches]
        cycles.append(sum(each.cycles for each in estimates))
        moved.append(sum(sum(each.dram_bytes.values()) - each.dram_bytes["program"] for each in estimates))
    assert moved[0] == moved[1]
    assert 1.05 * cycles[0] < cycles[1] < 3 * cycles[0]


@pytest.mark.parametrize("seed", range(20))
def test_phases_hold_no_load_that_waits_for_a_step_of_the_same_phase(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, banks, blocks = int(rng.integers(1, 7)), int(rng.integers(1, 3)), int(rng.integers(1, 9))
    needed = rng.integers(0, size * blocks, 12)
    spans = [(float(rng.integers(-1, place)) if place else -1.0, int(place)) for place in needed]
    starts = phase_starts(spans, size, banks, size * blocks)
    phases = [bisect_right(starts, position) - 1 for position in range(size * blocks)]
    assert starts == sorted(set(starts))
    assert set(phases) == set(range(len(starts)))
    for start, place in spans:
        assert start < 0 or phases[int(start)] < phases[place]
    for first, end in zip(starts, [*starts[1:], size * blocks], strict=True):
        assert (end - 1) // size - first // size < banks
