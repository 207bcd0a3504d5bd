"""Constants of an energy model, in named sets: TOML files with value, unit, node and source of each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

__all__ = ["CONSTANTS", "SETS", "Constant", "ConstantSet", "EnergyError", "load_set", "named_sets"]

_FOLDER = Path(__file__).parent / "sets"

CONSTANTS = {
    "mac": "an int8 multiplication and the addition of its product",
    "maximum": "the larger of two int8",
    "add": "an int32 addition",
    "register_byte": "a byte written to a register and read from it",
    "sram_read_byte": "a byte read from a memory bank of at_bytes",
    "sram_write_byte": "a byte written to a memory bank of at_bytes",
    "requantise": "a channel of a pixel through post-processing",
    "router_byte": "a byte into and out of a router's input buffer, and through its crossbar",
    "link_byte": "a byte over the link behind a router's output",
    "dram_read_byte": "a byte read from external memory",
    "dram_write_byte": "a byte written to external memory",
    "instruction": "an instruction taken from its queue and decoded",
    "core_cycle": "clock and leakage of a core for a cycle",
}
"""What each constant is the energy of."""
SIZED = ("sram_read_byte", "sram_write_byte")
"""Those that grow with the size of the memory."""
_FIELDS = {"value", "unit", "node", "source"}
_SIZES = {"at_bytes", "exponent"}


class EnergyError(ValueError):
    """A set or table of energies that does not do; the message names the value and the rule."""


@dataclass(frozen=True)
class Constant:
    """One constant of a set.

    Attributes
    ----------
    value : float
        In the set's unit.
    unit, node, source : str
        As they are printed: what it is counted in, the technology, and who published it.
    at_bytes, exponent : float
        Of one that grows with the memory: `value` for a bank of `at_bytes`, and proportional to a power of the size.
    """

    value: float
    unit: str
    node: str
    source: str
    at_bytes: float = 1.0
    exponent: float = 0.0

    def sized(self, nbytes: float) -> float:
        """Value for a memory bank of so many bytes."""
        return self.value * (nbytes / self.at_bytes) ** self.exponent


@dataclass(frozen=True, eq=False)
class ConstantSet:
    """All constants, under one name.

    Attributes
    ----------
    unit : str
        Of energies: pJ, or what else they are multiples of.
    """

    name: str
    unit: str
    about: str
    constants: Mapping[str, Constant]


def _known() -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


SETS = _known()
"""Names of the sets that come with the project."""


@cache
def named_sets() -> tuple[ConstantSet, ...]:
    """The sets that come with the project."""
    return tuple(load_set(_FOLDER / f"{name}.toml") for name in SETS)


def load_set(file: Path) -> ConstantSet:
    """Read a set.

    A file has a `unit`, perhaps a line `about` itself, and a table for each of `CONSTANTS`; with `base` it takes those
    that it does not have from a set of that name.

    Raises
    ------
    EnergyError
        For a file that cannot be read, an unknown or missing constant, and a value that is no energy.
    """
    try:
        data = tomllib.loads(file.read_text())
    except OSError as error:
        raise EnergyError(f"cannot read {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EnergyError(f"{file} is not valid TOML: {error}") from error
    base = data.pop("base", None)
    if base is not None and base not in SETS:
        raise EnergyError(f"{file}: base is {base!r}: it must be one of {', '.join(SETS)}")
    below = load_set(_FOLDER / f"{base}.toml") if base is not None else None
    unit, about = str(data.pop("unit", below.unit if below else "pJ")), str(data.pop("about", ""))
    constants = dict(below.constants) if below else {}
    for name, table in data.items():
        if name not in CONSTANTS:
            raise EnergyError(f"{file}: unknown constant {name!r}: it must be one of {', '.join(CONSTANTS)}")
        constants[name] = _constant(f"{file}: [{name}]", name, table)
    missing = [name for name in CONSTANTS if name not in constants]
    if missing:
        raise EnergyError(
            f"{file}: no price for {missing[0]} ({CONSTANTS[missing[0]]}): add a table [{missing[0]}] with value, "
            f'unit, node and source, or base = "{SETS[0]}"'
        )
    return ConstantSet(file.stem, unit, about, constants)


def _constant(where: str, name: str, table: Any) -> Constant:
    wanted = _FIELDS | (_SIZES if name in SIZED else set())
    if not isinstance(table, dict) or set(table) != wanted:
        raise EnergyError(f"{where}: it must be a table of {', '.join(sorted(wanted))}")
    for field in ("value", *(_SIZES if name in SIZED else ())):
        number = table[field]
        if isinstance(number, bool) or not isinstance(number, int | float) or not isfinite(number) or number < 0:
            raise EnergyError(f"{where}: {field} is {number!r}: it must be a number of at least 0")
    if name in SIZED and table["at_bytes"] == 0:
        raise EnergyError(f"{where}: at_bytes is 0: it must be the size of a memory")
    for field in ("unit", "node", "source"):
        if not isinstance(table[field], str) or not table[field].strip():
            raise EnergyError(f"{where}: {field} is {table[field]!r}: say it in words")
    return Constant(**table)
