"""Calibration end to end: kernels on the RTL, their cycles kept, and a fit that finds its way back to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimator import Coefficients, Provenance
from tb.calibration import measure as measuring
from tb.calibration.fit import Sample, fit, predictor
from tb.calibration.kernels import kernels_of
from tb.calibration.measure import KernelBook, measure
from tb.fuzz.chips import CHIPS

CHIP = CHIPS["1x1_8x8"]
EFFECTS = {"launch", "issue", "load", "load runs", "load chain", "store acknowledged", "array", "latency"}


def test_a_fit_recovers_what_the_rtl_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = [kernel for kernel in kernels_of(CHIP, full=False) if kernel.effect in EFFECTS]
    file = tmp_path / "kernels.json"
    measure(kernels, KernelBook.load(file), tmp_path / "work")

    monkeypatch.setattr(measuring, "model_of", lambda chip: pytest.fail("a kernel is simulated twice"))
    book = KernelBook.load(file)
    measure(kernels, book, tmp_path / "work")
    samples = [Sample(kernel, "one", cycles) for kernel in kernels if (cycles := book.of(kernel)) is not None]
    assert len(samples) == len(kernels)

    designed = Provenance.load().designed(Coefficients.load())
    off = designed.with_values({"read_latency": designed.read_latency + 7, "store_start": designed.store_start + 7})
    with predictor(samples) as predict:
        found = fit(samples, predict, off, 1, steps=4)
        before, after = (_mean_error(samples, list(cycles)) for cycles in (predict(off), found.predicted))
    assert found.improved
    assert before > 0.02, before
    assert after < min(0.02, 0.7 * before), after


def _mean_error(samples: list[Sample], predicted: list[float]) -> float:
    pairs = zip(samples, predicted, strict=True)
    return sum(abs(cycles / sample.cycles - 1) for sample, cycles in pairs) / len(samples)
