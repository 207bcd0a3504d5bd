"""Events counted from the instructions alone are those that the machine meets while it runs them."""

from __future__ import annotations

import pytest

from golden.machine import COUNTED, Machine, count_events
from rtl.contract.isa import Unit
from rtl.contract.regs import CoreCounter
from scheduler import schedule
from tests.cases import random_case

KINDS = [(kind, seed) for kind in (None, "residual", "depthwise", "pool") for seed in range(4)]


@pytest.mark.parametrize(("kind", "seed"), KINDS)
def test_counts_from_instructions_are_those_of_a_run(kind: str | None, seed: int) -> None:
    case = random_case(seed, kind=kind, budget_macs=20_000)
    plan = schedule(case.graph, case.chip)
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        result = Machine(case.chip).run(memory, launch.program_base, launch.program_stride)
        assert result.ok
        counted = count_events(launch.streams)
        for core, state in enumerate(result.cores):
            assert {c: counted[core][c] for c in COUNTED} == {c: state.counts[c] for c in COUNTED}, case


def test_a_core_that_computes_nothing_counts_its_instructions_alone() -> None:
    counted = count_events({(3, unit): [b"\0" * 32] for unit in Unit})
    assert counted == {3: {CoreCounter.INSTRUCTIONS: 3}}
