"""The chip on buses that others wrote: cocotbext-axi is its memory and its host; bytes are those of golden.machine."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tb.model.build import SIMULATORS, build_model, emit_chip
from tb.sim.session import run_test_module
from tests.cases import CHIPS
from tests.cosim.bus_bench import TESTS
from tests.cosim.bus_cases import bus_cases

CHIP = CHIPS["2x1_mixed"]


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_chip_on_the_models_of_cocotbext_axi(simulator: str, tmp_path: Path) -> None:
    (tmp_path / "cases.pickle").write_bytes(pickle.dumps(bus_cases(CHIP)))
    model = build_model(emit_chip(CHIP), simulator, optimise=False, open_buses=True)
    run_test_module(
        model, "tests.cosim.bus_bench", tmp_path / "work", plusargs=[f"+cases={tmp_path / 'cases.pickle'}"],
        expected_tests=TESTS,
    )  # fmt: skip
