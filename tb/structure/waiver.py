"""Waiver: bits of the netlist that nothing uses, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tb.structure.netlist import Fault

__all__ = ["Waiver"]

_BIT = r"(\[\d+\])?"


@dataclass(frozen=True)
class Waiver:
    """Unused bits of modules and names that match patterns (of `re.fullmatch`), and the reason."""

    module: str
    name: str
    reason: str

    def covers(self, fault: Fault) -> bool:
        return (
            fault.kind == "unused"
            and re.fullmatch(self.module, fault.module) is not None
            and re.fullmatch(f"(?:{self.name}){_BIT}", fault.name) is not None
        )
