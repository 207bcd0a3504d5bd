"""The chip as Verilog: each distinct module once, in a file of its own.

    python -m rtl.emit --cores 4 --out DIR
    python -m rtl.emit --chip chip.toml --out DIR

The same parameters give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Elaboratable
from amaranth.hdl._ir import PortDirection

from rtl.chip import Chip, core_modules
from rtl.contract.params import ChipParams, ParameterError, default_chip, load_chip
from rtl.fold import fold_registers
from rtl.lib.blackbox import EmissionTarget, ports_of

__all__ = ["LINT_WAIVERS", "TIMESCALE", "TOP", "EmittedChip", "Port", "emit"]

TOP = "systomesh_chip"
TIMESCALE = "`timescale 1ns / 1ps\n"
_VERILOG = Path(__file__).parent / "verilog"
_BODIES = (_VERILOG / "systomesh_ram.v", _VERILOG / "systomesh_pe_grid.v")
"""Modules that are written by hand, since Amaranth has no loops; every chip has them."""
_BODIES_OF_SOME = (_VERILOG / "systomesh_sparse_grid.v",)
"""Others, of chips that have them."""
LINT_WAIVERS = _VERILOG / "lint.vlt"
"""Verilator's warnings that generated code may give, each with its reason."""


@dataclass(frozen=True)
class Port:
    """A port of the top module."""

    name: str
    is_input: bool
    bits: int


@dataclass(frozen=True)
class EmittedChip:
    """What `emit` wrote."""

    files: tuple[Path, ...]
    """Every Verilog file; the top module's is the last one."""
    top: str
    hier_modules: tuple[str, ...]
    """Modules that are instantiated several times and large: one for each distinct core."""
    ports: tuple[Port, ...]
    """Of the top module, with ``clk`` and ``rst``."""


def emit(chip: ChipParams, out_dir: Path, *, places: bool = False) -> EmittedChip:
    """Write the Verilog of a chip into a directory, which is made if needed.

    With `places` declarations carry attributes with their places in the Python source.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    design = Chip(chip=chip)
    target = EmissionTarget()
    ports = _top_ports(design)
    texts = {TOP: _convert(design, TOP, target, ports, places=places)}
    while pending := [name for name in target.modules if name not in texts]:
        for name in pending:
            module = target.modules[name]
            texts[name] = _convert(module, name, target, ports_of(module), places=places)
    used = (body for body in _BODIES_OF_SOME if any(body.stem in text for text in texts.values()))
    texts |= {body.stem: TIMESCALE + body.read_text() for body in (*_BODIES, *used)}
    files = []
    for name in (*sorted(texts.keys() - {TOP}), TOP):
        files.append(out_dir / f"{name}.v")
        files[-1].write_text(texts[name])
    top_ports = [Port("clk", True, 1), Port("rst", True, 1)]
    top_ports += [Port(name, flow is PortDirection.Input, len(value)) for name, (value, flow) in ports.items()]
    return EmittedChip(tuple(files), TOP, tuple(dict.fromkeys(core_modules(chip))), tuple(top_ports))


def _convert(
    component: Elaboratable, name: str, target: EmissionTarget, ports: dict[str, Any], *, places: bool = False
) -> str:
    text = verilog.convert(
        component, name=name, platform=target, ports=ports, emit_src=places, strip_internal_attrs=not places
    )
    return TIMESCALE + fold_registers(text)


def _top_ports(design: Chip) -> dict[str, Any]:
    """Ports under the names of the AXI standard: s_axil_awaddr, m0_axi_awaddr, ..."""
    ports = {}
    for name, port in ports_of(design).items():
        match name.split("__"):
            case ["m_axi", index, member]:
                name = f"m{index}_axi_{member}"
            case ["s_axil", member]:
                name = f"s_axil_{member}"
        ports[name] = port
    return ports


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rtl.emit", description="Write the Verilog of a chip.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cores", type=int, default=4, help="preset for a number of cores (default: 4)")
    which.add_argument("--chip", type=Path, help="TOML file that describes the chip")
    parser.add_argument("--out", type=Path, required=True, help="directory for the files")
    options = parser.parse_args(arguments)
    try:
        chip = load_chip(options.chip) if options.chip else default_chip(options.cores)
        emitted = emit(chip, options.out)
    except ParameterError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"cannot write {options.out}: {error.strerror}")
    for file in emitted.files:
        sys.stdout.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
