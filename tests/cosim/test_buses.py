"""The chip on buses that others wrote: cocotbext-axi is its memory and its host; bytes are those of golden.machine."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from golden.machine import Machine
from scheduler import schedule
from tb.build import SIMULATORS, build_model, emit_chip
from tb.session import run_test_module
from tests.cases import CHIPS, random_case
from tests.cosim.bus_bench import TESTS, BusCase

CHIP = CHIPS["2x1_mixed"]
BUDGET_MACS = 2_000


def _case() -> BusCase:
    """A small convolution by the scheduler, in the memory of two nodes."""
    case = random_case(12, kind="conv3x3", chip=CHIP, budget_macs=BUDGET_MACS)
    plan = schedule(case.graph, CHIP)
    image = plan.memory_image(case.image)
    memory, expected = image.copy(), []
    for launch in plan.launches:
        assert Machine(CHIP).run(memory, launch.program_base, launch.program_stride).ok
        expected.append(memory.copy())
    return BusCase(CHIP, image, [(launch.program_base, launch.program_stride) for launch in plan.launches], expected)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_chip_on_the_models_of_cocotbext_axi(simulator: str, tmp_path: Path) -> None:
    case = _case()
    assert not np.array_equal(case.image, case.expected[-1])
    (tmp_path / "case.pickle").write_bytes(pickle.dumps(case))
    model = build_model(emit_chip(CHIP), simulator, optimise=False, open_buses=True)
    run_test_module(
        model, "tests.cosim.bus_bench", tmp_path / "work", plusargs=[f"+case={tmp_path / 'case.pickle'}"],
        expected_tests=TESTS,
    )  # fmt: skip
