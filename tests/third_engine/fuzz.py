"""Random programs for the row."""

from __future__ import annotations

import numpy as np

from rtl.contract.params import CoreParams
from tb.fuzz.engines.fuzz import EngineFuzz, Fields

__all__ = ["FUZZ"]


def _options(rng: np.random.Generator, core: CoreParams, geometry: Fields) -> dict[str, int]:
    return {"row_lane": int(rng.integers(3))}


def _illegal(rng: np.random.Generator, core: CoreParams) -> list[dict[str, int]]:
    return [{"row_lane": 3}]


FUZZ = EngineFuzz(_options, _illegal)
