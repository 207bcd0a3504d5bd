"""The units of a chip by the names that users know: ``core0.load`` is ``chip.core_0.logic.load`` in the Verilog."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from tb.errors import BenchError
from tb.model.wrapper import TOP

__all__ = ["Units"]

_CHIP = "systomesh_chip"
_MODULE = re.compile(r"^module (\\?\S+?)\s*\((.*?)^endmodule", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^  (\\\S+|\w+) +(?:#\([^;]*?\n  \) )?(\\\S+|\w+) +\($", re.MULTILINE)
_NUMBERED = re.compile(r"^(core|memory)_(?=\d+$)")
_UNSPOKEN = "logic"
"""A core is registers at its border, and the logic behind them."""
_LISTED = 12
"""Most names that an error lists."""


class Units:
    """Reads the instances below the chip from its Verilog.

    Parameters
    ----------
    sources : iterable of Path
        The emitted files.
    """

    def __init__(self, sources: Iterable[Path]) -> None:
        self._children: dict[str, list[tuple[str, str]]] = {}
        for source in sources:
            for name, body in _MODULE.findall(source.read_text()):
                found = [(instance.strip("\\"), module.strip("\\")) for module, instance in _INSTANCE.findall(body)]
                self._children[name.strip("\\")] = found

    @cached_property
    def scopes(self) -> Mapping[str, str]:
        """Of each unit, by its name, the scope in a dump: ``core0.load`` is ``systomesh_tb.chip.core_0.logic.load``."""
        found: dict[str, str] = {}

        def visit(module: str, scope: str, name: Sequence[str]) -> None:
            for instance, kind in self._children.get(module, ()):
                inner, spoken = f"{scope}.{instance}", [*name, _NUMBERED.sub(r"\1", instance)]
                if instance == _UNSPOKEN:
                    spoken = [*name]
                else:
                    found[".".join(spoken)] = inner
                visit(kind, inner, spoken)

        visit(_CHIP, f"{TOP}.chip", [])
        return found

    def find(self, wanted: str) -> list[str]:
        """Scopes of a unit, or, of a name without its beginning such as ``compute``, of all units that are called so.

        Raises
        ------
        BenchError
            If there is none; it lists what there is near it.
        """
        name = ".".join(_NUMBERED.sub(r"\1", part) for part in wanted.strip().split("."))
        if name in self.scopes:
            return [self.scopes[name]]
        if found := [scope for unit, scope in self.scopes.items() if unit.endswith(f".{name}")]:
            return found
        raise BenchError(f"SCOPE={wanted}: {self._near(name)}")

    def _near(self, name: str) -> str:
        *parents, last = name.split(".")
        while parents and ".".join(parents) not in self.scopes:
            last = parents.pop()
        prefix = "".join(f"{part}." for part in parents)
        names = [unit[len(prefix) :] for unit in self.scopes if unit.startswith(prefix)]
        inner = [unit for unit in names if "." not in unit]
        alike = difflib.get_close_matches(last, inner, n=_LISTED) or inner
        close = [unit for unit in inner if unit in alike]
        listed = ", ".join(close[:_LISTED]) + (", ..." if len(close) > _LISTED else "")
        if not inner:
            return f"{prefix[:-1]} has no units inside; give SCOPE={prefix[:-1]}"
        return f"{prefix[:-1] or 'the chip'} has no unit {last}; give one of {listed}"
