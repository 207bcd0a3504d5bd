"""A chip's Verilog, read back: modules, ports and instances by pyverilog, state bits and faults by yosys."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pyverilog.vparser import ast
from pyverilog.vparser.parser import VerilogParser

from tb.model.yosys import run_yosys

__all__ = ["Fault", "Instance", "Netlist", "VerilogModule", "parse_verilog", "read_netlist"]

_ATTRIBUTE = re.compile(r"\(\* .*? \*\)")
_DIRECTIVE = re.compile(r"^\s*`.*$", re.MULTILINE)
_WRITTEN = ("systomesh_ram", "systomesh_pe_grid", "systomesh_sparse_grid")
"""Modules with parameters, written by hand: of their arrays and branches some parameters leave parts without use."""
_HEADER = re.compile(r"(^module .*?^\);).*?^endmodule", re.MULTILINE | re.DOTALL)
_LATCH = re.compile(r"Latch inferred for signal `\\(\S+)\.(\S+)' from process")


@dataclass(frozen=True)
class Instance:
    """Of which module, with which parameters."""

    module: str
    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class VerilogModule:
    """What pyverilog says of a module."""

    ports: Mapping[str, tuple[str, int]]
    """Name to direction and width."""
    instances: Mapping[str, Instance]


@dataclass(frozen=True, order=True)
class Fault:
    """Something that should not be in a netlist; ``kind`` is latch, loop, undriven or unused."""

    kind: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name} in {self.module}"


@dataclass(frozen=True)
class Netlist:
    """A chip's Verilog. Names are without Verilog's backslashes."""

    modules: Mapping[str, VerilogModule]
    flipflops: Mapping[str, int]
    """Of each module, without the modules inside it."""
    memory: Mapping[str, int]
    faults: tuple[Fault, ...]


def _plain(name: str) -> str:
    return name.removeprefix("\\").strip()


@cache
def _parser() -> VerilogParser:
    """Made once, because its tables take seconds; it also writes them somewhere."""
    with _quiet(), tempfile.TemporaryDirectory(prefix="systomesh-pyverilog-") as tables:
        return VerilogParser(outputdir=tables, debug=False)


def parse_verilog(text: str) -> dict[str, VerilogModule]:
    """Modules of a Verilog text. pyverilog knows no attributes inside statements."""
    with _quiet():
        tree = _parser().parse(_DIRECTIVE.sub("", _ATTRIBUTE.sub("", text)))
    return {
        _plain(item.name): VerilogModule(dict(_ports(item)), dict(_instances(item)))
        for item in tree.description.definitions
        if isinstance(item, ast.ModuleDef)
    }


class _quiet:
    """Without what pyverilog's parser generator says about its grammar."""

    def __enter__(self) -> None:
        self._kept = os.dup(2)
        self._null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(self._null, 2)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
        os.close(self._null)


def _number(value: Any) -> int:
    """A decimal or sized literal."""
    digits = str(value.value)
    if "'" not in digits:
        return int(digits)
    base, rest = digits.split("'")[1].lstrip("s")[0], digits.split("'")[1].lstrip("s")[1:]
    return int(rest.replace("_", ""), {"h": 16, "d": 10, "b": 2, "o": 8}[base])


def _ports(module: Any) -> Iterator[tuple[str, tuple[str, int]]]:
    declared = [item for one in module.items if isinstance(one, ast.Decl) for item in one.list]
    # Only hand-written modules declare their ports in the list itself.
    declared += [port.first for port in module.portlist.ports if isinstance(port, ast.Ioport)]
    for item in declared:
        if isinstance(item, ast.Input | ast.Output):
            yield _plain(item.name), (type(item).__name__.lower(), _width(item))


def _width(item: Any) -> int:
    if item.width is None:
        return 1
    try:
        return _number(item.width.msb) - _number(item.width.lsb) + 1
    except AttributeError:  # an expression of parameters
        return 0


def _instances(module: Any) -> Iterator[tuple[str, Instance]]:
    for item in module.items:
        if isinstance(item, ast.InstanceList):
            for one in item.instances:
                parameters = {p.paramname: _number(p.argname) for p in one.parameterlist}
                yield _plain(one.name), Instance(_plain(one.module), parameters)


def read_netlist(files: Sequence[Path], top: str, scratch: Path) -> Netlist:
    """Read the Verilog files of a chip; ``scratch`` is a folder for what the tools leave.

    Raises
    ------
    ToolError
        If yosys is missing or refuses the files.
    """
    modules: dict[str, VerilogModule] = {}
    for file in files:
        text = file.read_text()
        if file.stem in _WRITTEN:  # nothing is inside, and pyverilog knows no arrays of several dimensions
            text = _HEADER.sub(r"\1\nendmodule\n", text)
        modules |= parse_verilog(text)
        if file.parent != scratch:  # yosys' wheel sees nothing outside of its working folder
            shutil.copy(file, scratch)
    shared = " ".join(name for name in modules if "." not in name)
    log = run_yosys(
        [
            # Deferred, or the bodies would be elaborated with their default sizes as well, which takes minutes.
            f"read_verilog -defer {' '.join(file.name for file in files)}",
            f"hierarchy -check -top {top}",
            "proc -norom",
            "memory_collect",
            f"opt_clean {' '.join(f'*{name}' for name in _WRITTEN)}",
            "write_json blocks.json",
            "design -save blocks",
            f"setattr -mod -set keep_hierarchy 1 {shared}",
            "flatten",
            "write_json modules.json",
            "design -load blocks",
            "setattr -mod -unset keep_hierarchy *",
            "flatten",
            "tee -o check.log check",
        ],
        scratch,
        name="structure",
    )
    blocks = json.loads((scratch / "blocks.json").read_text())["modules"]
    flat = json.loads((scratch / "modules.json").read_text())["modules"]
    flipflops: dict[str, int] = {}
    memory: dict[str, int] = {}
    faults: list[Fault] = []
    for name, module in blocks.items():
        known = _bit_names(module)
        states = [_state(cell, known) for cell in module["cells"].values()]
        flipflops[_of(name, module)] = sum(len(bits) for bits, _ in states)
        memory[_of(name, module)] = sum(size for _, size in states)
    for name, module in flat.items():
        if not name.startswith("$paramod"):
            faults += _loose_bits(_plain(name), module)
    faults += [Fault("latch", _plain(module), _plain(name)) for module, name in _LATCH.findall(log)]
    faults += _loops((scratch / "check.log").read_text(), top)
    return Netlist(modules, flipflops, memory, tuple(sorted(set(faults))))


def _of(name: str, module: dict[str, Any]) -> str:
    """Name of a module; with its parameters where it has some."""
    if not name.startswith("$paramod"):
        return _plain(name)
    values = module.get("parameter_default_values", {})
    text = ",".join(f"{key}={int(value, 2)}" for key, value in sorted(values.items()))
    return f"{_plain(module['attributes']['hdlname'])}({text})"


def _state(cell: dict[str, Any], names: Mapping[int, str]) -> tuple[list[Any], int]:
    """Flip-flops of a cell, as their outputs, and its memory bits."""
    kind, parameters = cell["type"], cell["parameters"]
    if kind == "$mem_v2":
        return [], int(parameters["SIZE"], 2) * int(parameters["WIDTH"], 2)
    return (
        ([bit for bit in cell["connections"]["Q"] if not _is_helper(names.get(bit, ""))], 0)
        if "dff" in kind
        else ([], 0)
    )


def _is_helper(name: str) -> bool:
    """Wires of a memory's write port, for which yosys makes registers that nothing reads."""
    return name.startswith("$memwr$") or "\\$memwr$" in name or ".$memwr$" in name


def _loops(log: str, top: str) -> Iterator[Fault]:
    if found := re.findall(r"found logic loop in module (\S+?):((?:\n.*)*?)(?=\nWarning|\nFound|\Z)", log):
        for _, lines in found:
            wires = re.findall(r"wire \\?(\S+)", lines)
            yield Fault("loop", top, " -> ".join(dict.fromkeys(wires)) or "?")


def _bit_names(module: dict[str, Any]) -> dict[int, str]:
    """A name for each net: a port's, else one that was given, else one that a tool made; of several the deepest."""

    def rank(entry: tuple[str, Any]) -> tuple[bool, bool, bool, int, str]:
        name, net = entry
        return name in module["ports"], not net["hide_name"], "$" not in name, name.count("."), name

    names: dict[int, str] = {}
    for name, net in sorted(module["netnames"].items(), key=rank):
        one = len(net["bits"]) == 1
        names |= {bit: name if one else f"{name}[{at}]" for at, bit in enumerate(net["bits"]) if isinstance(bit, int)}
    return names


def _loose_bits(name: str, module: dict[str, Any]) -> Iterator[Fault]:
    """Bits that are read but driven by nothing; inputs and state bits that nothing reads that matters.

    What matters: the outputs, and what leads to them through cells and registers, bit by bit.
    """
    names = _bit_names(module)
    driven: set[Any] = set()
    behind: dict[Any, list[Any]] = {}
    roots: list[Any] = []
    held: list[Any] = []
    for port in module["ports"].values():
        if port["direction"] == "input":
            driven.update(port["bits"])
            held += port["bits"]
        else:
            roots += port["bits"]
    for cell in module["cells"].values():
        for output, needs in _dependences(cell):
            driven.add(output)
            behind.setdefault(output, []).append(needs)
        if not _known(cell):
            roots += [bit for group in _groups(cell, "input") for bit in group]
        held += _state(cell, names)[0] or (cell["connections"]["RD_DATA"] if cell["type"] == "$mem_v2" else [])

    used: set[Any] = set()
    waiting = roots
    while waiting:
        bit = waiting.pop()
        if isinstance(bit, int) and bit not in used:
            used.add(bit)
            for needs in behind.get(bit, ()):
                waiting += needs
    for bit in sorted(used - driven, key=names.__getitem__):
        yield Fault("undriven", name, names[bit])
    for bit in held:
        if isinstance(bit, int) and bit not in used:
            yield Fault("unused", name, names[bit])


def _groups(cell: dict[str, Any], direction: str) -> Iterator[list[Any]]:
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction:
            yield bits


def _dependences(cell: dict[str, Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Every output bit of a cell with the input bits that it depends on."""
    wires, kind = cell["connections"], cell["type"]
    if kind in ("$and", "$or", "$xor", "$xnor", "$not", "$mux", "$pmux", "$dff", "$dffe", "$sdff", "$sdffe", "$sdffce"):
        output = wires["Q" if "dff" in kind else "Y"]
        width = len(output)
        control = [bit for port in ("S", "EN", "SRST", "CLK") for bit in wires.get(port, ())]
        for at, bit in enumerate(output):
            operands = [one for port in ("A", "B", "D") for one in _operand_bits(wires.get(port, ()), at, width, kind)]
            yield bit, control + operands
    elif kind in ("$add", "$sub", "$neg", "$mul", "$pos"):
        for at, bit in enumerate(wires["Y"]):
            yield bit, [one for port in ("A", "B") for one in wires.get(port, ())[: at + 1]]
    elif kind == "$mem_v2":
        width = int(cell["parameters"]["WIDTH"], 2)
        control = [bit for port, bits in wires.items() if not port.endswith("DATA") for bit in bits]
        for at, bit in enumerate(wires["RD_DATA"]):
            yield bit, control + wires["WR_DATA"][at % width :: width]
    else:
        needs = [bit for group in _groups(cell, "input") for bit in group]
        for group in _groups(cell, "output"):
            for bit in group:
                yield bit, needs


def _operand_bits(bits: Sequence[Any], at: int, width: int, kind: str) -> Sequence[Any]:
    """Of one operand of a cell that works bit by bit: those that place ``at`` of the result depends on."""
    if kind == "$pmux":
        return bits[at::width]
    return bits[at : at + 1] or bits[-1:]


def _known(cell: dict[str, Any]) -> bool:
    """A cell of yosys, as opposed to an instance of a module."""
    return cell["type"].startswith("$") and not cell["type"].startswith("$paramod")
