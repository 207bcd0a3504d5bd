"""Registers of the datapath in the emitted Verilog: those that a model built with ``open_state=True`` makes public."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["DATAPATH", "datapath_registers"]

DATAPATH = re.compile(
    r"\.logic\.(acc|act|weight|param|compute\.(array|tap|loader|operands|results|streamer)\b.*|store\.(post|drain))$"
)
"""Modules whose registers are upset: operands, weights, sums, addresses of both, requantisation."""

_MODULE = re.compile(r"^module (\\?\S+?)\s*\((.*?)^endmodule", re.MULTILINE | re.DOTALL)
_REGISTER = re.compile(r"^ {4,}(\w+)(?: \[[\d:]+\])? <= ", re.MULTILINE)
_GRID = ("skew", "acts", "active", "shadow", "psum", "deskew", "switched", "switches", "data")
"""Registers of the PEs and of the delays around them."""


def datapath_registers(sources: Iterable[Path]) -> list[tuple[str, str]]:
    """(module, register) of the datapath; registers that the generator named itself, such as ``addr$3``, are left out.

    Memories' output registers belong to the RAM module, registers of the PEs to that of their grid.
    """
    found = []
    for source in sources:
        for name, body in _MODULE.findall(source.read_text()):
            module = name.removeprefix("\\")
            if DATAPATH.search(module):
                found += [(module, register) for register in dict.fromkeys(_REGISTER.findall(body))]
    found += [("systomesh_pe_grid", register) for register in _GRID]
    return [*found, ("systomesh_ram", "read_data"), ("systomesh_ram", "mem")]
