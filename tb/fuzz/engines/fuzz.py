"""What random programs must know of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from rtl.contract.params import CoreParams

__all__ = ["EngineFuzz", "Fields", "Listed"]

Fields = Mapping[str, int]


def _no_options(rng: np.random.Generator, core: CoreParams, geometry: Fields) -> dict[str, int]:
    return {}


def _no_rules(rng: np.random.Generator, core: CoreParams) -> list[dict[str, int]]:
    return []


def _never(geometry: Fields) -> bool:
    return False


def _no_passes(rng: np.random.Generator, core: CoreParams, number: int) -> Listed | None:
    return None


@dataclass(frozen=True, eq=False)
class Listed:
    """Weights of an engine with lists, which noise cannot be."""

    setup: dict[str, int]
    compute: dict[str, int]
    """Fields of SETUP and COMPUTE that go with them."""
    raw: np.ndarray
    """uint8[N], of all passes of the COMPUTE."""
    damaged: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The same with a contradiction in one pass, by what it is: uint8[N]."""


@dataclass(frozen=True)
class EngineFuzz:
    """Random legal and illegal SETUPs of an engine, and what its COMPUTEs read."""

    options: Callable[[np.random.Generator, CoreParams, Fields], dict[str, int]] = _no_options
    """Options for a SETUP that is complete but for them, and other values for fields that do not go with them."""
    illegal: Callable[[np.random.Generator, CoreParams], list[dict[str, int]]] = _no_rules
    """Fields that make any legal SETUP of the engine an ILLEGAL_FIELD, one set for each of its rules."""
    window: Callable[[Fields], bool] = _never
    """Whether a pass is a whole kernel row, all of whose input columns are read (`rtl.contract.engines.tap`)."""
    passes: Callable[[np.random.Generator, CoreParams, int], Listed | None] = _no_passes
    """Weights of a COMPUTE, of an engine with lists; None if what the seed says does not fit. The first numbers are
    those of corners."""
