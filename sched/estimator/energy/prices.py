"""Prices of a chip's actions: from a set of constants, or from an energy reference table (ERT) of Accelergy.

An ERT is YAML: ``ERT: {version, tables: [{name, actions: [{name, arguments, energy}]}]}``, energies in pJ
(Wu et al., Accelergy, ICCAD 2019; format of its versions 0.3 and 0.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from estimator.energy.actions import actions_of
from estimator.energy.constants import SETS, ConstantSet, EnergyError, load_set, named_sets
from rtl.contract.params import ChipParams

__all__ = ["Prices", "load_prices", "read_ert", "write_ert"]

VERSION = "0.4"
"""Of the tables that are written."""


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of all actions of a chip.

    Attributes
    ----------
    name : str
        Of the set, or of the file.
    unit : str
    of : dict of (component, action) to float
    """

    name: str
    unit: str
    of: Mapping[tuple[str, str], float]

    @classmethod
    def from_set(cls, constants: ConstantSet, chip: ChipParams) -> Prices:
        """Prices by the constants of a set."""
        prices = {(action.component, action.name): action.price(constants) for action in actions_of(chip)}
        return cls(constants.name, constants.unit, prices)


def load_prices(chip: ChipParams, chosen: str | None = None) -> tuple[Prices, ...]:
    """Prices of a chip by each set that comes with the project, and by one's own.

    Parameters
    ----------
    chosen : str, optional
        Name of a set, which is then the only one; a .toml file with a set, or a .yaml file with an ERT, which comes
        first.

    Raises
    ------
    EnergyError
        If there is no such set, or the file does not do.
    """
    known = tuple(Prices.from_set(constants, chip) for constants in named_sets())
    if chosen is None:
        return known
    if chosen in SETS:
        return tuple(prices for prices in known if prices.name == chosen)
    file = Path(chosen)
    if file.suffix == ".toml":
        return (Prices.from_set(load_set(file), chip), *known)
    if file.suffix in (".yaml", ".yml"):
        return (read_ert(file, chip), *known)
    raise EnergyError(f"ENERGY={chosen}: give one of {', '.join(SETS)}, a .toml file, or an ERT as .yaml")


def read_ert(file: Path, chip: ChipParams) -> Prices:
    """Prices from an energy reference table, which may hold other components as well.

    Raises
    ------
    EnergyError
        If the file cannot be read, is no ERT, or has no energy for an action of the chip.
    """
    try:
        data = yaml.safe_load(file.read_text())
    except OSError as error:
        raise EnergyError(f"cannot read {file}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EnergyError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    found = dict(_entries(file, data))
    wanted = [(action.component, action.name) for action in actions_of(chip)]
    for component, action in wanted:
        if (component, action) not in found:
            raise EnergyError(
                f"{file}: no energy for action {action!r} of {component!r}: add it, or begin with what ERT= writes"
            )
    return Prices(file.stem, "pJ", {key: found[key] for key in wanted})


def _entries(file: Path, data: Any) -> list[tuple[tuple[str, str], float]]:
    try:
        tables = data["ERT"]["tables"]
        entries = [(table["name"], action) for table in tables for action in table["actions"]]
        named = [((str(name), str(action["name"])), action["energy"]) for name, action in entries]
    except (TypeError, KeyError) as error:
        raise EnergyError(f"{file} is no energy reference table: it has no {error} where Accelergy has one") from error
    for (component, action), energy in named:
        if isinstance(energy, bool) or not isinstance(energy, int | float) or not isfinite(energy) or energy < 0:
            raise EnergyError(
                f"{file}: energy of action {action!r} of {component!r} is {energy!r}: it must be a number of at least 0"
            )
    return [(key, float(energy)) for key, energy in named]


def write_ert(prices: Prices) -> str:
    """An energy reference table with these prices, as YAML."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for (component, action), energy in prices.of.items():
        tables.setdefault(component, []).append({"name": action, "arguments": None, "energy": energy})
    listed = [{"name": name, "actions": actions} for name, actions in tables.items()]
    return yaml.safe_dump({"ERT": {"version": VERSION, "tables": listed}}, sort_keys=False)
