"""Seeds of random cases: a few in the regression, many in the nightly runs."""

from typing import Any

import pytest

__all__ = ["seeds"]


def seeds(count: int, nightly: int) -> list[Any]:
    """Parameters of a test: the first `count` seeds, and marked as slow those behind them, `nightly` in all."""
    return [*range(count), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(count, nightly))]
