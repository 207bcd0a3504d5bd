"""Random programs on the RTL: legal ones leave what the machine leaves, illegal ones stop as the machine does.

Every program starts from reset with noise in all memories; behind each illegal one a healthy one follows without reset.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode
from tb.fuzz.campaign import KINDS, fuzz, replay
from tb.fuzz.chips import FUZZ_CHIPS
from tb.fuzz.illegal import recipes_of
from tb.fuzz.program import MEMORY_BYTES, Program
from tb.model.build import Model, build_model, emit_chip


@pytest.mark.parametrize("chip", ["2x2_4x16", "2x1_mixed", "1x1_sparse"])
@pytest.mark.parametrize("kind", KINDS)
def test_rtl_equals_machine(kind: str, chip: str, tmp_path: Path) -> None:
    report = fuzz(range(5), chips={chip: FUZZ_CHIPS[chip]}, kinds=(kind,), folder=tmp_path)
    assert (report.programs, report.rejected, report.failures) == (5, 0, [])


def test_rtl_equals_machine_on_icarus(tmp_path: Path) -> None:
    chips = {"1x1_8x8": FUZZ_CHIPS["1x1_8x8"]}
    report = fuzz(range(2), chips=chips, simulator="icarus", kinds=("legal", "illegal"), folder=tmp_path, n_steps=6)
    assert (report.programs, report.rejected, report.failures) == (4, 0, [])


def test_every_error_is_reached(tmp_path: Path) -> None:
    """On a chip that has them all."""
    chip = FUZZ_CHIPS["1x1_sparse"]
    recipes = recipes_of(chip)
    report = fuzz(range(len(recipes)), chips={"1x1_sparse": chip}, kinds=("illegal",), folder=tmp_path)
    assert not report.failures
    assert set(report.ends) == {code.name for code in ErrorCode if code != ErrorCode.NONE}


MUTANTS = {
    "padding below the map": ("$signed(iy) < $signed(", "$signed(iy) <= $signed("),
    "maximum in the accumulator": ("$signed(old[31:0]) > $signed(", "$signed(old[31:0]) < $signed("),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_bug_in_the_hardware_is_found_and_shrunk(mutant: str, tmp_path: Path) -> None:
    """A comparison of the emitted Verilog is another: a short campaign ends in a program of a few instructions."""
    old, new = MUTANTS[mutant]

    def faulty(chip: ChipParams, simulator: str) -> Model:
        design = emit_chip(chip)
        sources = []
        changed = 0
        for source in design.sources:
            text = source.read_text()
            changed += text.count(old)
            sources.append(tmp_path / source.name)
            sources[-1].write_text(text.replace(old, new))
        assert changed >= 1
        return build_model(
            replace(design, sources=tuple(sources)), simulator, optimise=False, memory_bytes=MEMORY_BYTES
        )

    chips = {"1x1_8x8": FUZZ_CHIPS["1x1_8x8"]}
    report = fuzz(range(16), chips=chips, kinds=("legal",), folder=tmp_path / "found", n_shrunk=1, models=faulty)
    assert report.failures
    smallest = min(report.failures, key=lambda path: Program.load(path).n_instructions)
    assert Program.load(smallest).n_instructions < 15
    assert replay(smallest, folder=tmp_path, models=faulty)
    assert not replay(smallest, folder=tmp_path), "the hardware as it is has no such bug"
