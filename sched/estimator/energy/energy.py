"""Energy of some events at some prices, by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from estimator.energy.actions import CLASSES, actions_of
from estimator.energy.constants import EnergyError
from estimator.energy.prices import Prices
from estimator.events import Events

__all__ = ["Energy", "energy_of"]


@dataclass(frozen=True)
class Energy:
    """Energy of a launch, or of several.

    Attributes
    ----------
    of : dict of str to float
        By class (`estimator.energy.actions.CLASSES`), in the unit of the prices.
    """

    of: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.of.values())

    @property
    def largest(self) -> tuple[str, float]:
        """Class on which most is spent, and its share of all."""
        name = max(self.of, key=lambda each: self.of[each])
        return name, self.of[name] / self.total if self.total else 0.0

    @classmethod
    def together(cls, some: Iterable[Energy]) -> Energy:
        """Sum of several."""
        found = dict.fromkeys(CLASSES, 0.0)
        for energy in some:
            for name, value in energy.of.items():
                found[name] += value
        return cls(found)


def energy_of(events: Events, prices: Prices, cycles: float = 0.0) -> Energy:
    """Energy of events that take so many cycles.

    Raises
    ------
    EnergyError
        If an action has no price.
    """
    found = dict.fromkeys(CLASSES, 0.0)
    for action in actions_of(events.chip):
        price = prices.of.get((action.component, action.name))
        if price is None:
            raise EnergyError(f"{prices.name}: no price for action {action.name!r} of {action.component!r}")
        found[action.of] += price * action.count(events, cycles)
    return Energy(found)
