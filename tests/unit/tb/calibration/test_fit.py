"""The fit: it finds the coefficients behind cycles, is not led astray by outliers, and says when it cannot improve."""

from dataclasses import replace
from functools import cache

import pytest

from estimator import Coefficients, Provenance, estimate
from rtl.contract.params import default_chip
from tb.calibration.fit import Sample, fit, predictor
from tb.calibration.kernels import Kernel, kernels_of

CHIP = default_chip(1)


@cache
def designed() -> Coefficients:
    return Provenance.load().designed(Coefficients.load())


@cache
def some_kernels() -> list[Kernel]:
    wanted = {"array", "store", "load", "load chain", "latency", "issue at once", "array to store", "launch"}
    return [kernel for kernel in kernels_of(CHIP, full=False) if kernel.effect in wanted]


def samples_of(truth: Coefficients, wrong: str = "") -> list[Sample]:
    samples = []
    for kernel in some_kernels():
        cycles = round(estimate(kernel, CHIP, kernel.settings, truth).cycles)
        samples.append(Sample(kernel, "one", 2 * cycles if kernel.name == wrong else cycles))
    return samples


def test_the_fit_finds_what_the_kernels_tell() -> None:
    start = designed()
    truth = start.with_values({"store_start": start.store_start + 6, "read_latency": start.read_latency + 6})
    (outlier,) = [kernel.name for kernel in some_kernels() if kernel.name.startswith("store 8 of 1 ")]
    samples = samples_of(truth, outlier)
    with predictor(samples) as predict:
        found = fit(samples, predict, start, 1, steps=8)
    assert found.improved
    assert "lowers" in found.describe()
    errors = {s.kernel.name: cycles / s.cycles - 1 for s, cycles in zip(samples, found.predicted, strict=True)}
    assert all(abs(error) < 0.05 for name, error in errors.items() if name != outlier), errors
    evidence = found.evidence["store_start"]
    assert evidence.interval is not None
    assert evidence.interval[0] <= truth.store_start <= evidence.interval[1]
    assert "store" in evidence.kernels
    assert found.evidence["signal_latency"].kernels == ()  # one core signals to nobody
    assert found.coefficients.signal_latency == start.signal_latency


def test_a_fit_that_cannot_improve_says_so_and_changes_nothing() -> None:
    start = designed()
    exact = [estimate(kernel, CHIP, kernel.settings, start).cycles for kernel in some_kernels()]
    samples = [replace(s, cycles=cycles) for s, cycles in zip(samples_of(start), exact, strict=True)]
    with predictor(samples) as predict:
        found = fit(samples, predict, start, 1, steps=2)
    assert not found.improved
    assert found.coefficients.values() == pytest.approx(start.values())
    assert "cannot improve" in found.describe()
