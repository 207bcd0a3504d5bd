"""Bands of the estimator's errors: conformal quantiles by class, wider classes where a narrow one has too few."""

import numpy as np
import pytest

from estimator import Bands, Residual
from estimator.bands import LEAST


def residuals(count: int, op: str = "conv", cores: int = 4, width: float = 0.1, seed: int = 0) -> list[Residual]:
    rng = np.random.default_rng(seed)
    return [Residual(op, cores, 4000.0, 4000.0 * (1 + rng.uniform(-width, width))) for _ in range(count)]


def test_nine_of_ten_new_launches_lie_in_the_band() -> None:
    bands = Bands.of(residuals(400))
    new = residuals(2000, seed=1)
    inside = [
        low <= r.measured <= high
        for r in new
        if (limits := bands.interval("conv", 4, 4000.0))
        for low, high in [limits]
    ]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)


def test_the_narrowest_class_with_enough_launches_answers() -> None:
    bands = Bands.of([*residuals(LEAST, "fc", width=0.01), *residuals(LEAST - 1, "conv", width=0.3)])
    of_fc, of_conv = bands.interval("fc", 4, 4000.0), bands.interval("conv", 4, 4000.0)
    assert of_fc is not None
    assert of_conv is not None
    assert of_fc[1] - of_fc[0] < 100 < of_conv[1] - of_conv[0]
    assert "conv, 2-8 cores" not in bands.ratios


def test_nothing_is_said_without_enough_launches() -> None:
    assert Bands.of(residuals(LEAST - 1)).interval("conv", 4, 4000.0) is None


def test_with_the_fewest_launches_the_band_holds_all_of_them() -> None:
    some = residuals(LEAST)
    low, high = Bands.of(some).ratios["all"]
    assert (low, high) == pytest.approx(
        (min(r.measured for r in some) / 4000, max(r.measured for r in some) / 4000), abs=1e-4
    )
