"""Fit of the estimator's coefficients to kernels: bounded, damped, robust, and the same for the same seed.

Residuals are cycles in units of what is expected of a good estimate (`TOLERANCE_CYCLES` and `TOLERANCE` of the measured
cycles). Effects that have many kernels do not outweigh those with few. SciPy's trust region method damps each step, its
loss `soft_l1` grows linearly for kernels that no coefficients explain, and nothing leaves the bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.optimize import least_squares, lsq_linear

from estimator import Coefficients, EstimateError, Evidence, estimate
from tb.calibration.kernels import Kernel

__all__ = ["BOUNDS", "Fit", "Predictor", "Sample", "fit", "predictor"]

TOLERANCE_CYCLES, TOLERANCE = 2.0, 0.01
"""Residual of 1: so many cycles, and so much of the measured ones."""
BOUNDS: dict[str, tuple[float, float]] = {"burst_gap": (0.0, 0.0), "load_issue": (1.0, 1.0)}
"""Least and greatest value of a coefficient; of others `ROOM_CYCLES` to either side of the design, and no less than 0.

Bursts keep costing nothing: with a cost, layers that are alike would be estimated anew for each address. A LOAD is
checked in a cycle (`rtl/core/load.py`): more would only make up for how it happens to meet others in the network.
"""
ROOM_CYCLES = 8.0
"""A fit that wants to go further from what was read off the design makes up for a wrong shape."""
STEP = 1.0
"""Change of a coefficient to see its effect: the timeline is stepwise."""
SEEN = 0.5
"""Cycles of a kernel that a coefficient must move to be constrained by it, for a step of its own."""
RESAMPLES = 200
LEVEL = 0.95
"""Of the intervals."""
PULL = 0.02
"""Weight of the pull towards the start, in residuals for a step: it decides what no kernel tells apart."""
MOST_STEPS = 5
"""For each of the scales."""
SCALES = (10.0, 1.0)
"""Residuals from which on a kernel counts as one that no coefficients explain: large ones first, for at the start
most are far off."""
IMPROVED = 0.999
"""A fit whose cost is above so much of the starting one's has not improved it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A kernel and the cycles that it took.

    Attributes
    ----------
    chip : str
        Name of the chip.
    """

    kernel: Kernel
    chip: str
    cycles: int


@dataclass(frozen=True)
class Fit:
    """Fitted coefficients.

    Attributes
    ----------
    evidence : dict of str to Evidence
        Of each coefficient.
    before, after : float
        Cost at the start and at the end; equal if nothing better was found.
    predicted : list of float
        Cycles of each sample, with the fitted coefficients.
    """

    coefficients: Coefficients
    evidence: dict[str, Evidence]
    before: float
    after: float
    predicted: list[float]

    @property
    def improved(self) -> bool:
        return self.after < IMPROVED * self.before

    def describe(self) -> str:
        """In one line what became of it."""
        if not self.improved:
            return (
                f"the fit cannot improve the coefficients: its cost stays {self.before:.4g}; what is left is in no "
                "coefficient's reach, or beyond its bounds"
            )
        return f"the fit lowers the cost from {self.before:.4g} to {self.after:.4g}"


class Predictor(Protocol):
    """Cycles of samples for given coefficients."""

    def __call__(self, c: Coefficients, which: Sequence[int] | None = None) -> np.ndarray:
        """Of the samples of these numbers, or of all, float[samples]; NaN where a program never ends."""
        ...


@contextmanager
def predictor(samples: Sequence[Sample], jobs: int = 1) -> Iterator[Predictor]:
    """A predictor in so many processes."""
    kernels = [sample.kernel for sample in samples]
    if jobs == 1:
        yield lambda c, which=None: np.array([_predict(kernels[i], c) for i in _numbers(which, kernels)], float)
        return
    with ProcessPoolExecutor(jobs, initializer=_kernels.extend, initargs=(kernels,)) as pool:

        def predict(c: Coefficients, which: Sequence[int] | None = None) -> np.ndarray:
            numbers = _numbers(which, kernels)
            out = np.empty(len(numbers))
            parts = [numbers[first::jobs] for first in range(jobs)]
            for first, found in enumerate(pool.map(_predict_some, parts, [c] * jobs)):
                out[first::jobs] = found
            return out

        yield predict


_kernels: list[Kernel] = []
"""In a process of a predictor, those of all its samples."""


def _numbers(which: Sequence[int] | None, kernels: Sequence[Kernel]) -> Sequence[int]:
    return range(len(kernels)) if which is None else which


def _predict_some(numbers: Sequence[int], c: Coefficients) -> list[float]:
    return [_predict(_kernels[number], c) for number in numbers]


def _predict(kernel: Kernel, c: Coefficients) -> float:
    try:
        return estimate(kernel, kernel.chip, kernel.settings, c).cycles
    except EstimateError:
        return float("nan")


def fit(
    samples: Sequence[Sample], predict: Predictor, start: Coefficients, seed: int,
    say: Callable[[str], None] = lambda _: None, *, steps: int = MOST_STEPS,
) -> Fit:  # fmt: skip
    """Fit all coefficients to the samples.

    Parameters
    ----------
    predict : callable
        Of the same samples.
    seed : int
        Of the bootstrap.
    steps : int
        At most so many.
    """
    problem = _Problem(samples, predict, start, say)
    values = problem.solve(steps)
    predicted = problem.predicted(values)
    after = problem.cost(values)
    if after >= IMPROVED * problem.before:
        values, after = problem.origin, problem.before
        predicted = problem.predicted(values)
    slopes = problem.slopes(values)
    evidence = _evidence(samples, problem, values, slopes, np.random.default_rng(seed))
    return Fit(problem.coefficients(values), evidence, problem.before, after, predicted.tolist())


class _Problem:
    """Residuals and their slopes, as functions of the coefficients in steps of their own."""

    def __init__(
        self, samples: Sequence[Sample], predict: Predictor, start: Coefficients, say: Callable[[str], None]
    ) -> None:
        self.start, self.predict, self.say = start, predict, say
        self.names = list(start.values())
        self.origin = np.array(list(start.values().values()))
        self.steps = np.full(len(self.names), STEP)
        usual = [(max(0.0, value - ROOM_CYCLES), value + ROOM_CYCLES) for value in self.origin]
        bounds = [BOUNDS.get(name, limits) for name, limits in zip(self.names, usual, strict=True)]
        self.low = np.array([low for low, _ in bounds])
        self.high = np.maximum([high for _, high in bounds], self.origin)
        self.measured = np.array([sample.cycles for sample in samples], float)
        counts = Counter((sample.chip, sample.kernel.effect) for sample in samples)
        shares = np.array([counts[sample.chip, sample.kernel.effect] for sample in samples], float)
        self.weights = 1 / np.sqrt(shares) / (TOLERANCE_CYCLES + TOLERANCE * self.measured)
        self._known: dict[bytes, np.ndarray] = {}
        self._moved: dict[int, np.ndarray] = {}
        """Numbers of the kernels that each coefficient moves."""
        self.before = self.cost(self.origin)

    def coefficients(self, values: np.ndarray) -> Coefficients:
        rounded = [round(float(value), 2) for value in values]
        return self.start.with_values(dict(zip(self.names, rounded, strict=True)))

    def predicted(self, values: np.ndarray) -> np.ndarray:
        key = np.round(values, 2).tobytes()
        if key not in self._known:
            found = self.predict(self.coefficients(values))
            self._known[key] = np.where(np.isnan(found), 2 * self.measured, found)
        return self._known[key]

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Of the samples, and behind them the pull of each coefficient."""
        errors = (self.predicted(values) - self.measured) * self.weights
        return np.concatenate([errors, PULL * (values - self.origin) / self.steps])

    def cost(self, values: np.ndarray) -> float:
        """As `least_squares` counts it with the loss `soft_l1`."""
        return float(np.sum(np.sqrt(1 + self.residuals(values) ** 2) - 1))

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Residuals by coefficient, float[residuals, coefficients], over a step of each.

        A kernel that a coefficient does not move the first time, for a step to either side, is not looked at again.
        """
        here = self.predicted(values)
        out = np.zeros((len(here) + len(values), len(values)))
        for number, step in enumerate(self.steps):
            which = self._moved.get(number)
            up = values[number] + step <= self.high[number]
            column = self._slope(values, here, number, step if up else -step, which)
            if which is None:
                other = self._slope(values, here, number, -step if up else step, None)
                self._moved[number] = np.flatnonzero((column != 0) | (other != 0))
                column = (column + other) / 2 if other.any() else column
            out[: len(here), number] = column * self.weights
            out[len(here) + number, number] = PULL / step
        return out

    def _slope(
        self, values: np.ndarray, here: np.ndarray, number: int, step: float, which: np.ndarray | None
    ) -> np.ndarray:
        """Cycles of each kernel by a coefficient; 0 where it would leave its bounds."""
        moved = values.copy()
        moved[number] += step
        if not self.low[number] <= moved[number] <= self.high[number]:
            return np.zeros(len(here))
        numbers = np.arange(len(here)) if which is None else which
        found = self.predict(self.coefficients(moved), numbers.tolist())
        out = np.zeros(len(here))
        out[numbers] = np.where(np.isnan(found), 0.0, (found - here[numbers]) / step)
        return out

    def solve(self, steps: int) -> np.ndarray:
        """The best values that damped steps find."""
        rounds = 0

        def slopes(values: np.ndarray) -> np.ndarray:
            nonlocal rounds
            rounds += 1
            self.say(f"step {rounds}: cost {self.cost(values):.5g}, of {self.before:.5g} at the start")
            return self.slopes(values)

        margin = 1e-6  # SciPy wants every value inside, and some room
        jacobian: Any = slopes  # SciPy's annotations know of names alone
        begin = self.origin
        for scale in SCALES:
            begin = least_squares(
                self.residuals, np.clip(begin, self.low, self.high), jac=jacobian,
                bounds=(self.low - margin, self.high + margin), loss="soft_l1", f_scale=scale, x_scale=4 * self.steps,
                max_nfev=steps, xtol=1e-3, ftol=1e-3,
            ).x  # fmt: skip
        return np.clip(np.round(begin, 2), self.low, self.high)


def _evidence(
    samples: Sequence[Sample], problem: _Problem, values: np.ndarray, slopes: np.ndarray, rng: np.random.Generator
) -> dict[str, Evidence]:
    """Intervals by bootstrap over the kernels, and the effects that constrain each coefficient.

    Each resample moves the values by one linear step, weighted as the loss weighs them: the slopes are those at the
    fitted values. Whole effects are drawn, for kernels of one effect err alike.
    """
    count = len(samples)
    residuals = problem.residuals(values)
    robust = (1 + residuals[:count] ** 2) ** -0.25
    effects = [(sample.chip, sample.kernel.effect) for sample in samples]
    groups = list(dict.fromkeys(effects))
    numbers = np.array([groups.index(effect) for effect in effects])
    draws = np.empty((RESAMPLES, len(values)))
    prior = PULL * np.diag(1 / problem.steps)
    for number in range(RESAMPLES):
        times = np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups))
        weight = robust * np.sqrt(times[numbers])
        matrix = np.vstack([slopes[:count] * weight[:, None], prior])
        target = np.concatenate([-residuals[:count] * weight, -residuals[count:]])
        step = lsq_linear(matrix, target, bounds=(problem.low - values - 1e-9, problem.high - values + 1e-9)).x
        draws[number] = values + step
    tails = 50 * (1 - LEVEL)
    low, high = np.percentile(draws, [tails, 100 - tails], axis=0)
    low, high = np.minimum(low, values), np.maximum(high, values)
    out = {}
    for column, name in enumerate(problem.names):
        moved = np.abs(slopes[:count, column]) * problem.steps[column] / problem.weights
        strength: Counter[str] = Counter()
        for sample, cycles in zip(samples, moved, strict=True):
            if cycles >= SEEN:
                strength[sample.kernel.effect] = max(strength[sample.kernel.effect], cycles / sample.cycles)
        interval = (round(float(low[column]), 2) + 0.0, round(float(high[column]), 2) + 0.0)  # no -0
        seen = tuple(effect for effect, _ in strength.most_common())
        out[name] = Evidence(float(problem.origin[column]), interval if strength else None, seen)
    return out
