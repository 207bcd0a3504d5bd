"""The fixture `baseline` without a simulation: what fails a test, and what the user is told to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tb.api.baseline import Baseline
from tb.report.summary import LayerSummary, Summary
from tb.run.facts import asked_facts
from tb.run.request import Request

BYTES = {"weight": 640, "ifmap": 64, "ofmap": 0, "psum": 0, "program": 32}


def summary(name: str = "mine", cycles: int = 1000, estimated: int = 1010, cores: int = 1) -> Summary:
    layers = [LayerSummary("conv1", "conv", cycles, estimated, 20, 0.5, BYTES, True, 1.0)]
    asked = asked_facts(Request(net="lenet5", cores=cores, name=name).options, 1)
    return Summary(
        net="lenet5", cores=cores, array="16x16", schedule="fused", seed=1, pe_count=256, bit_exact=True,
        lower_bound_cycles=100.0, build_s=0.0, schedule_s=0.0, golden_s=0.0, layers=layers, **asked,
    )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Keeps two runs."""
    keeps = Baseline(tmp_path / "cycles.json", "pytest --update", update=True)
    keeps(summary("other"))
    keeps(summary())
    return tmp_path / "cycles.json"


def fails(file: Path, run: Summary, tolerance: float = 0.0) -> str:
    with pytest.raises(pytest.fail.Exception) as raised:
        Baseline(file, "pytest --update", update=False)(run, tolerance)
    return str(raised.value)


def test_a_run_as_it_is_kept_passes_and_one_kept_anew_leaves_the_others(file: Path) -> None:
    holds = Baseline(file, "pytest --update", update=False)
    for name in ("mine", "other"):
        holds(summary(name))
    holds(summary(estimated=1234))  # estimates do not count
    Baseline(file, "pytest --update", update=True)(summary(cycles=900))
    holds(summary(cycles=900))
    holds(summary("other"))


@pytest.mark.parametrize("cycles", [999, 1001])
def test_a_cycle_less_is_a_change_as_one_more_is(cycles: int, file: Path) -> None:
    told = fails(file, summary(cycles=cycles))
    assert told.startswith(f"mine is not as {file} keeps it; if that is meant, keep it anew: pytest --update\n")
    assert f"1,000 -> {cycles:,}" in told
    Baseline(file, "", update=False)(summary(cycles=cycles), tolerance=0.1)
    assert "bits" in fails(file, summary(cycles=cycles), tolerance=0.05)


def test_what_cannot_be_compared_is_one_line(file: Path, tmp_path: Path) -> None:
    assert fails(file, summary("new")) == f"{file} keeps nothing of new; pytest --update does"
    assert "mine is of another chip (mesh_width 1, here 2)" in fails(file, summary(cores=4))
    nowhere = tmp_path / "nowhere.json"
    assert fails(nowhere, summary()) == f"cannot read {nowhere}: No such file or directory; pytest --update writes it"
    file.write_text("[]")
    assert fails(file, summary()) == f"{file} holds no records of runs; pytest --update writes it"


@pytest.mark.parametrize("update", [True, False])
def test_a_run_of_which_bits_differ_is_neither_kept_nor_compared(update: bool, file: Path) -> None:
    before = file.read_text()
    wrong = replace(summary(), bit_exact=False, mismatches=3, first_difference="conv1: channel 0")
    with pytest.raises(pytest.fail.Exception, match="bits are equal has a baseline; 3 values differ; conv1: channel 0"):
        Baseline(file, "pytest --update", update=update)(wrong)
    assert file.read_text() == before
