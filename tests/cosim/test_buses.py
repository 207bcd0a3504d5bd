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
LAYERS = {"short": ("conv3x3", 2_000), "reads while it writes": ("deep", 20_000)}
"""Kinds and sizes of the layers."""


def _case(kind: str, budget_macs: int) -> BusCase:
    """A layer by the scheduler, in the memory of two nodes."""
    case = random_case(12, kind=kind, chip=CHIP, budget_macs=budget_macs)
    plan = schedule(case.graph, CHIP)
    image = plan.memory_image(case.image)
    memory, expected = image.copy(), []
    for launch in plan.launches:
        assert Machine(CHIP).run(memory, launch.program_base, launch.program_stride).ok
        expected.append(memory.copy())
    assert not np.array_equal(image, memory)
    return BusCase(CHIP, image, [(launch.program_base, launch.program_stride) for launch in plan.launches], expected)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_chip_on_the_models_of_cocotbext_axi(simulator: str, tmp_path: Path) -> None:
    cases = {name: _case(*layer) for name, layer in LAYERS.items()}
    (tmp_path / "cases.pickle").write_bytes(pickle.dumps(cases))
    model = build_model(emit_chip(CHIP), simulator, optimise=False, open_buses=True)
    run_test_module(
        model, "tests.cosim.bus_bench", tmp_path / "work", plusargs=[f"+cases={tmp_path / 'cases.pickle'}"],
        expected_tests=TESTS,
    )  # fmt: skip
