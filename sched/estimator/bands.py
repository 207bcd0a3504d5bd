"""Bands of the estimator's errors: within which the cycles of a launch lie in nine cases of ten.

A class of launches (operator, cores, size) has a band if enough launches of it were measured that nothing was fitted
to; otherwise a wider class answers. The limits are quantiles of measured over predicted cycles, those of the split
conformal method: of n launches, the one below which (n + 1) x 5 % lie, and the one above which as many do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

__all__ = ["LEVEL", "SIZES", "Bands", "Residual", "classes_of", "kind_of", "size_of", "team_of"]

LEVEL = 0.9
"""Part of the launches that a band is meant to hold."""
LEAST = ceil(2 / (1 - LEVEL)) - 1
"""Launches that a class needs."""
SIZES = {"under 2 k": 2e3, "2-5 k": 5e3, "5-10 k": 10e3, "10-30 k": 30e3, "30-100 k": 100e3, "over 100 k": float("inf")}
"""Classes of predicted cycles, by their ends."""
_TEAMS = {"1 core": 1, "2-8 cores": 8, "over 8 cores": 64}
ALL = "all"


@dataclass(frozen=True)
class Residual:
    """A launch that was never fitted.

    Attributes
    ----------
    op : str
        Operators of its parts, with commas between.
    cores : int
        Of the chip.
    """

    op: str
    cores: int
    predicted: float
    measured: float


@dataclass(frozen=True)
class Bands:
    """Limits of measured over predicted cycles.

    Attributes
    ----------
    ratios : dict of str to (float, float)
        By class.
    counts : dict of str to int
        Launches behind each.
    """

    ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(residuals: Iterable[Residual]) -> Bands:
        """Bands of the classes that have enough launches."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for residual in residuals:
            for name in classes_of(residual.op, residual.cores, residual.predicted):
                found[name].append(residual.measured / residual.predicted)
        enough = {name: sorted(ratios) for name, ratios in sorted(found.items()) if len(ratios) >= LEAST}
        limits = {name: _quantiles(ratios) for name, ratios in enough.items()}
        return Bands(limits, {name: len(ratios) for name, ratios in enough.items()})

    @staticmethod
    def read(table: Mapping[str, Mapping[str, Any]]) -> Bands:
        """Of what JSON made of `dataclasses.asdict`."""
        return Bands({name: (low, high) for name, (low, high) in table["ratios"].items()}, dict(table["counts"]))

    def interval(self, op: str, cores: int, predicted: float) -> tuple[float, float] | None:
        """Cycles between which a launch lies in nine cases of ten; None if nothing like it was measured."""
        for name in classes_of(op, cores, predicted):
            if name in self.ratios:
                low, high = self.ratios[name]
                return predicted * low, predicted * high
        return None


def classes_of(op: str, cores: int, predicted: float) -> tuple[str, ...]:
    """Classes of a launch, the narrowest first."""
    kind, team, size = kind_of(op), team_of(cores), size_of(predicted)
    return f"{kind}, {team}, {size}", f"{team}, {size}", f"{kind}, {team}", team, size, ALL


def kind_of(op: str) -> str:
    """Class of a launch by its operators: one for all that have many layers."""
    return "many layers" if "," in op else op


def team_of(cores: int) -> str:
    """Class of a chip."""
    return next(name for name, most in _TEAMS.items() if cores <= most)


def size_of(predicted: float) -> str:
    """Class of a launch by its predicted cycles."""
    return next(name for name, end in SIZES.items() if predicted < end)


def _quantiles(ratios: list[float]) -> tuple[float, float]:
    """Limits of sorted ratios."""
    outside = (1 - LEVEL) / 2
    below = floor(outside * (len(ratios) + 1)) - 1
    above = ceil((1 - outside) * (len(ratios) + 1)) - 1
    return round(ratios[max(below, 0)], 4), round(ratios[min(above, len(ratios) - 1)], 4)
