"""What random programs must know of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rtl.contract.params import CoreParams

__all__ = ["EngineFuzz", "Fields"]

Fields = Mapping[str, int]


def _no_options(rng: np.random.Generator, core: CoreParams, geometry: Fields) -> dict[str, int]:
    return {}


def _no_rules(rng: np.random.Generator, core: CoreParams) -> list[dict[str, int]]:
    return []


def _never(geometry: Fields) -> bool:
    return False


@dataclass(frozen=True)
class EngineFuzz:
    """Random legal and illegal SETUPs of an engine, and what its COMPUTEs read."""

    options: Callable[[np.random.Generator, CoreParams, Fields], dict[str, int]] = _no_options
    """Options for a SETUP that is complete but for them, and other values for fields that do not go with them."""
    illegal: Callable[[np.random.Generator, CoreParams], list[dict[str, int]]] = _no_rules
    """Fields that make any legal SETUP of the engine an ILLEGAL_FIELD, one set for each of its rules."""
    window: Callable[[Fields], bool] = _never
    """Whether a pass is a whole kernel row, all of whose input columns are read (`rtl.contract.engines.tap`)."""
