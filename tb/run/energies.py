"""Energies of a run's layers, from the events of their programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from estimator.energy import Energy, EnergyError, Prices, energy_of, load_prices
from estimator.events import Events
from rtl.contract.params import ChipParams
from tb.errors import BenchError
from tb.run.counts import LaunchEvents

__all__ = ["ByClass", "energies_of", "prices_of"]

ByClass = Mapping[str, Mapping[str, float]]
"""Energies by set of constants and class."""


def prices_of(chip: ChipParams, chosen: str | None) -> tuple[Prices, ...]:
    """Prices of a run: of all sets that come with the project, and of the chosen one.

    Raises
    ------
    BenchError
        If that does not do.
    """
    try:
        return load_prices(chip, chosen)
    except EnergyError as error:
        raise BenchError(str(error)) from error


def energies_of(
    events: LaunchEvents, prices: Sequence[Prices], cycles: float, part_cycles: Sequence[float] = ()
) -> tuple[ByClass, list[ByClass]]:
    """Energies of a launch that takes so many cycles, and of each of its parts, in the order of `prices`.

    Parameters
    ----------
    part_cycles : of each part; of none where they are not known apart.
    """
    if not prices:
        return {}, [{} for _ in events.parts]
    of_parts = part_cycles or [0.0] * len(events.parts)
    return _priced(events.whole, prices, cycles), [
        _priced(part, prices, some) for part, some in zip(events.parts, of_parts, strict=True)
    ]


def _priced(events: Events, prices: Sequence[Prices], cycles: float) -> ByClass:
    found: dict[str, Energy] = {each.name: energy_of(events, each, cycles) for each in prices}
    return {name: dict(energy.of) for name, energy in found.items()}
