"""The Verilog of models with waves: enumerations are types, and signals without a name are left out.

Amaranth notes the members of an enumeration in attributes of each signal. Waves of a model whose signals have
SystemVerilog's types instead hold the words themselves, for every viewer. Of the signals a third are Amaranth's own,
``$12``; Verilator records no name that begins with an underscore. The hardware is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

from rtl.contract.isa import Opcode
from rtl.contract.regs import ErrorCode

__all__ = ["traced"]

_NUMBERS: dict[tuple[str, int], type[IntEnum]] = {("opcode", 4): Opcode, ("error", 8): ErrorCode}
"""Signals, by name and bits, that hold members of enumerations and are numbers in the design."""

_ATTRIBUTES = r'  \(\* enum_base_type = "\w+" \*\)\n(?:  \(\* (?:enum_value_[01]+ = "\w+"|init = \S+) \*\)\n)+'
_SIGNAL = (
    r"(?:  (?P<port>input|output) (?:\[\d+:0\] )?(?P<port_name>\\\S+ |\w+);\n)?"
    r"  (?:wire|reg) (?:\[(?P<high>\d+):0\] )?(?P<name>\\\S+ |\w+)(?P<init> = [^;]+)?;\n"
)
_TYPED = re.compile(f"(?P<attributes>{_ATTRIBUTES}){_SIGNAL}")
_PLAIN = re.compile(rf"^{_SIGNAL}", re.MULTILINE)
_TYPE = re.compile(r'enum_base_type = "_?(\w+)"')
_MEMBER = re.compile(r'enum_value_([01]+) = "(\w+)"')
_MODULE = re.compile(r"^module .*?^endmodule", re.MULTILINE | re.DOTALL)
_PRIVATE = re.compile(r"^  (?:wire|reg) (?:\[\d+:0\] )?_(\w+)", re.MULTILINE)
_NAMELESS = re.compile(r"\\\$(\S+) ")


def traced(verilog: Iterable[str]) -> tuple[str, list[str]]:
    """A text with the types, to be compiled first, and the texts of the same modules."""
    types = _Types()
    shown = (_MODULE.sub(_show, text) for text in verilog)
    texts = [_NAMELESS.sub(_hidden, _TYPED.sub(types.declare, _PLAIN.sub(_note, text))) for text in shown]
    return "".join(types.packages.values()), texts


class _Types:
    """The types by the names of their packages: members of two enumerations may have one name, so each has its own."""

    def __init__(self) -> None:
        self.packages: dict[str, str] = {}

    def declare(self, match: re.Match[str]) -> str:
        """A signal with attributes, declared by its type."""
        bits = int(match["high"] or 0) + 1
        known = _TYPE.search(match["attributes"])
        assert known is not None
        package = f"{known[1]}_{bits}"
        words = ", ".join(f"{word} = {bits}'b{value}" for value, word in _MEMBER.findall(match["attributes"]))
        text = f"package {package};\n  typedef enum logic [{bits - 1}:0] {{{words}}} {known[1]};\nendpackage\n"
        if self.packages.setdefault(package, text) != text:  # another enumeration of that name
            return match[0]
        kind = f"{package}::{known[1]}"
        init = f" = {kind}'({match['init'].removeprefix(' = ')})" if match["init"] else ""
        # The range of a port is that of its type.
        port = f"  {match['port']} {match['port_name']};\n" if match["port"] else ""
        return f"{port}  {kind} {match['name']}{init};\n"


def _show(match: re.Match[str]) -> str:
    """A module whose signals have no underscore before their names, where nothing else has the name."""
    text = match[0]
    for name in _PRIVATE.findall(text):
        if not re.search(rf"\b{name}\b", text):
            text = re.sub(rf"\b_{name}\b", name, text)
    return text


def _note(match: re.Match[str]) -> str:
    """A signal with the attributes that Amaranth would have given it."""
    bits = int(match["high"] or 0) + 1
    numbers = _NUMBERS.get((match["name"].strip("\\ ").partition("$")[0], bits))
    if numbers is None or (match["port_name"] or match["name"]) != match["name"]:
        return match[0]
    values = "".join(f'  (* enum_value_{member:0{bits}b} = "{member.name}" *)\n' for member in numbers)
    return f'  (* enum_base_type = "{numbers.__name__}" *)\n{values}{match[0]}'


def _hidden(match: re.Match[str]) -> str:
    """A name that is not recorded."""
    return f"_nameless_{re.sub(r'[^A-Za-z0-9]', '_', match[1])} "
