"""Upsets of single bits in a running layer are masked or reported; a bench that looks away is caught."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import rtl
from tb.errors import RunError
from tb.model.build import build_model, emit_chip
from tb.model.registers import datapath_registers
from tb.run.scoreboard import Scoreboard
from tb.sim.flips import TARGETS
from tests.faults.flips import CHIP, Layer, Report, layers, run_upsets

UPSETS = 2 * len(TARGETS)


@pytest.fixture(scope="module")
def found() -> list[Layer]:
    return layers()


class Blind(Scoreboard):
    """Finds everything right."""

    def check(self, layer: str, tensor: str, got: np.ndarray, inside: str = "") -> bool:
        return True


class Forgetful(Scoreboard):
    """Compares the first channel alone."""

    def __init__(self, expected: Mapping[str, np.ndarray]) -> None:
        super().__init__({name: tensor[:1] for name, tensor in expected.items()})

    def check(self, layer: str, tensor: str, got: np.ndarray, inside: str = "") -> bool:
        return super().check(layer, tensor, got[:1], inside)


def test_upsets_are_masked_or_reported(found: list[Layer], tmp_path: Path) -> None:
    report = run_upsets(found, UPSETS, seed=7, folder=tmp_path)
    assert [sum(counts) for _, *counts in report.rows()] == [2] * len(TARGETS)
    assert all(upset.bit for upset in report.upsets)
    assert any(".array.grid.body." in upset.bit for upset in report.upsets)
    assert report.unnoticed == []


@pytest.mark.slow
def test_two_hundred_upsets_are_masked_or_reported(found: list[Layer], tmp_path: Path) -> None:
    report = run_upsets(found, 200, seed=11, folder=tmp_path)
    assert report.unnoticed == []
    assert len({upset.verdict for upset in report.upsets}) == 2


@pytest.mark.parametrize("board", [Blind, Forgetful])
def test_a_scoreboard_that_looks_away_is_caught(board: type[Scoreboard], found: list[Layer], tmp_path: Path) -> None:
    """Upsets of weights and accumulators of the first layer, some of which the true scoreboard reports."""

    def run(boards: type[Scoreboard], folder: str) -> Report:
        return run_upsets(found[:1], 24, seed=5, folder=tmp_path / folder, boards=boards)

    true, false = run(Scoreboard, "true"), run(board, "false")
    assert true.unnoticed == []
    caught = [(a.verdict, b.verdict) for a, b in zip(true.upsets, false.upsets, strict=True) if a.why != b.why]
    assert ("reported", "UNNOTICED") in caught
    assert {b for _, b in caught} == {"UNNOTICED"}


def test_registers_of_the_datapath_are_found_in_the_verilog() -> None:
    registers = datapath_registers(emit_chip(CHIP).sources)
    core = "systomesh_core_0.logic"
    for module, name in (
        ("acc", "forwarded"), ("acc", "addr"), ("compute.array", "line"), ("compute.streamer", "pixel"),
        ("store.post", "bias0"),
    ):  # fmt: skip
        assert (f"{core}.{module}", name) in registers
    body = Path(rtl.__file__).with_name("verilog").joinpath("systomesh_pe_grid.v").read_text()
    declared = {*re.findall(r"^    (?:output )?reg .*?(\w+)(?: +\[0:.*\])?[;\n]", body, re.MULTILINE)}
    in_grid = {name for module, name in registers if module == "systomesh_pe_grid"}
    assert in_grid == declared - {"switching", "together"}
    assert not [module for module, _ in registers if ".counters" in module or ".tokens" in module]


def test_a_model_that_keeps_its_state_to_itself_says_so(found: list[Layer], tmp_path: Path) -> None:
    closed = build_model(emit_chip(CHIP), optimise=False)
    with pytest.raises(RunError, match="this model keeps its state to itself: build it with open_state=True"):
        run_upsets(found[:1], 1, seed=1, folder=tmp_path, model=closed)
