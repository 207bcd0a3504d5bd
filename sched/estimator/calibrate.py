"""Fit of the coefficients to measured runs.

Every prediction is close to linear in the coefficients, so a few Gauss-Newton steps on the relative errors do;
derivatives are taken by predicting again with one coefficient moved. A weak pull towards the starting values decides
what the samples leave open, and no coefficient becomes negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from estimator.coefficients import Coefficients
from estimator.estimates import Program, estimate
from estimator.timing import MemoryTiming
from rtl.contract.params import ChipParams

__all__ = ["Fit", "Sample", "calibrate"]

STEP_CYCLES = 1.0
"""Change of a coefficient to see its effect."""
PULL = 1e-4
"""Weight of a coefficient's relative move from its start, against the relative error of a sample."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A launch and the cycles that it took."""

    name: str
    launch: Program
    chip: ChipParams
    memory: MemoryTiming
    cycles: float


@dataclass(frozen=True)
class Fit:
    """Fitted coefficients.

    Attributes
    ----------
    errors : dict of str to float
        Signed relative error of the prediction of each sample: (predicted - measured) / measured.
    """

    coefficients: Coefficients
    errors: dict[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """Sample with the largest error, and that error."""
        return max(self.errors.items(), key=lambda item: abs(item[1]))


def calibrate(samples: Sequence[Sample], start: Coefficients | None = None, rounds: int = 4) -> Fit:
    """Fit all coefficients to the samples.

    Parameters
    ----------
    start : Coefficients, optional
        Where to begin; the committed ones by default.
    """
    start = start or Coefficients.load()
    names = list(start.values())
    origin = np.array(list(start.values().values()))
    scale = np.maximum(np.abs(origin), 4.0)
    measured = np.array([sample.cycles for sample in samples])
    best, best_cost = origin, _cost(_errors(samples, start, measured), origin, origin, scale)
    current = origin
    for _ in range(rounds):
        here = _coefficients(start, names, current)
        now = here.values()
        errors = _errors(samples, here, measured)
        slopes = np.empty((len(samples), len(names)))
        for column, name in enumerate(names):
            moved = here.with_values({name: now[name] + STEP_CYCLES})
            slopes[:, column] = (_errors(samples, moved, measured) - errors) / STEP_CYCLES
        matrix = np.vstack([slopes, PULL * np.diag(1.0 / scale)])
        target = np.concatenate([-errors, PULL * (origin - current) / scale])
        step, *_ = np.linalg.lstsq(matrix, target, rcond=None)
        current = np.maximum(0.0, current + step)
        cost = _cost(_errors(samples, _coefficients(start, names, current), measured), current, origin, scale)
        if cost < best_cost:
            best, best_cost = current, cost
    fitted = _coefficients(start, names, np.round(best, 3))
    errors = _errors(samples, fitted, measured)
    return Fit(fitted, {sample.name: float(error) for sample, error in zip(samples, errors, strict=True)})


def _coefficients(start: Coefficients, names: list[str], values: np.ndarray) -> Coefficients:
    return start.with_values(dict(zip(names, values.tolist(), strict=True)))


def _errors(samples: Sequence[Sample], coefficients: Coefficients, measured: np.ndarray) -> np.ndarray:
    predicted = [estimate(s.launch, s.chip, s.memory, coefficients).cycles for s in samples]
    return (np.array(predicted) - measured) / measured


def _cost(errors: np.ndarray, values: np.ndarray, origin: np.ndarray, scale: np.ndarray) -> float:
    return float(np.sum(errors**2) + np.sum((PULL * (values - origin) / scale) ** 2))
