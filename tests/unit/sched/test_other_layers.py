"""Copies, gates and wide windows: the layers that networks of other tools bring, right in any order of events."""

import pytest

from estimator import MemoryTiming
from rtl.contract.params import CoreParams, default_chip
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from tests.cases import MORE_KINDS, random_case
from tests.networks import pictures_of
from tests.unit.sched.test_batch import run

MEMORY = MemoryTiming(bytes_per_cycle=2)
CHIPS = {
    "one core": default_chip(1, CoreParams(8, 8, act_bytes=64 * 1024, acc_entries=128), link_bytes=16, vc_depth=32),
    "two cores, two blocks a word": default_chip(2, CoreParams(16, 4, act_bytes=32 * 1024), link_bytes=8),
    "four cores": default_chip(4, CoreParams(16, 16, act_bytes=64 * 1024)),
}
SCHEDULES: dict[str, ScheduleKind] = {
    "fused": Fused(),
    "layers": Layers(),
    "layers, one unit at a time": Layers(overlap=False),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("kind", MORE_KINDS)
def test_machine_equals_ops(kind: str, chip: str, schedule: str) -> None:
    for seed in range(5):
        case = random_case(seed, kind=kind, chip=CHIPS[chip], budget_macs=60_000)
        run(case, SCHEDULES[schedule].plan(case.graph, case.chip, MEMORY), [case.image], seed)


@pytest.mark.parametrize("schedule", ["fused", "layers"])
@pytest.mark.parametrize("kind", MORE_KINDS)
def test_pictures_of_a_batch_have_gates_and_copies_of_their_own(kind: str, schedule: str) -> None:
    for seed in range(3):
        case = random_case(seed, kind=kind, chip=CHIPS["four cores"], budget_macs=60_000)
        pictures = pictures_of(case, 3)
        run(case, SCHEDULES[schedule].plan(case.graph, case.chip, MEMORY, 3), pictures, seed)
