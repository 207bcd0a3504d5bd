"""Page of the instruction set, docs/instructions.md, written from the contract itself.

    python -m rtl.contract.page docs/instructions.md
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import groupby
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib import data

from rtl.contract import isa
from rtl.contract.engines import ENGINES, array, sparse, tap
from rtl.contract.isa import INSTRUCTION_BYTES, LAYOUTS, Opcode, Prefix, Signals, Space, TrafficClass, Unit
from rtl.contract.regs import ErrorCode

__all__ = ["main", "page"]

_ENGINE_TEXTS = {module.__name__.rpartition(".")[2]: inspect.getdoc(module) or "" for module in (array, tap, sparse)}


def page() -> str:
    """The whole page, in Markdown."""
    sections = _sections(inspect.getdoc(isa) or "")
    meanings = _meanings(sections.pop("Instructions"))
    parts = [
        "# Instructions",
        "Written by `make instructions` from `rtl/contract/`; do not edit.",
        sections.pop(""),
        _codes("unit", Unit),
        "## Every instruction",
        f"{INSTRUCTION_BYTES} bytes, bit 0 first. All begin with the same prefix:",
        _fields(Prefix),
        "SYNC, COMPUTE, STORE and TABLE go on with their signals:",
        _fields(Signals, Prefix.size),
    ]
    for title, text in sections.items():
        parts += [f"### {title}", text]
    parts.append("## One by one")
    common = {name for name, _ in (*Prefix, *Signals)}
    for opcode, layout in LAYOUTS.items():
        parts += [f"### {opcode.name} ({int(opcode)})", meanings.pop(opcode.name)]
        own = [name for name, _ in layout if name not in common | {"reserved"}]
        parts += [_fields(layout, names=own)] if own else []
    assert not meanings, f"instructions without a layout: {', '.join(meanings)}"
    parts.append("## Engines")
    options = LAYOUTS[Opcode.SETUP]["options"].offset
    for name, text in _ENGINE_TEXTS.items():
        spec = ENGINES[name]
        parts += [f"### {name} (engine {int(spec.code)})", _markdown(text)]
        parts += [_fields(spec.options, options)] if spec.options.size else []
    parts.append("## Codes")
    for title, codes in (("space", Space), ("traffic", TrafficClass), ("error", ErrorCode)):
        parts.append(_codes(title, codes))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _sections(text: str) -> dict[str, str]:
    """Text by heading: a line of words without a stop, with an indented block below."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if re.fullmatch(r"[A-Z][\w ]*(\(`[\w ]+`\))?", line) and below.startswith("    "):
            heading = line
            found[heading] = []
        else:
            found[heading].append(line.removeprefix("    ") if heading else line)
    return {
        name: "\n".join(body) if name == "Instructions" else _markdown("\n".join(body)) for name, body in found.items()
    }


def _meanings(text: str) -> dict[str, str]:
    """What each instruction means, by its name: the name stands at the margin, the text is indented."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        head = re.match(r"([A-Z]+) +(.*)", line)
        if head:
            lines = found[head[1]] = [head[2]]
        elif line.strip():
            lines.append(line.strip())
    return {name: _markdown("\n".join(lines)) for name, lines in found.items()}


def _markdown(text: str) -> str:
    """Literals marked as Markdown does it; products are no emphasis; indented lines stay, as code."""
    lines = text.replace("``", "`").strip("\n").splitlines()
    blocks = groupby(lines, lambda line: line.startswith("    "))
    return "\n".join("\n".join(block) if is_code else _escaped("\n".join(block)) for is_code, block in blocks)


def _escaped(text: str) -> str:
    parts = text.split("`")
    parts[::2] = [re.sub(r"(?<=[\w)])(\*{1,2})(?=[\w(])", lambda m: "\\*" * len(m[1]), part) for part in parts[::2]]
    return "`".join(parts)


def _fields(layout: data.StructLayout, base: int = 0, names: Sequence[str] | None = None) -> str:
    rows = []
    for name, field in layout:
        if names is not None and name not in names:
            continue
        shape = Shape.cast(field.shape)
        low = base + field.offset
        values = f"{-(1 << shape.width - 1)} .. {(1 << shape.width - 1) - 1}" if shape.signed else ""
        values = values or (f"0 .. {(1 << shape.width) - 1}" if shape.width < 16 else f"0 .. 2^{shape.width} - 1")
        rows.append((f"`{name}`", f"{low + shape.width - 1}:{low}" if shape.width > 1 else f"{low}", values))
    return _table(("field", "bits", "values"), rows)


def _codes(title: str, codes: type[IntEnum]) -> str:
    return _table((title, "code"), [(code.name, f"{int(code)}") for code in codes])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page to the file that is named."""
    parser = argparse.ArgumentParser(prog="python -m rtl.contract.page", description="The page of the instruction set.")
    parser.add_argument("file", type=Path)
    parser.parse_args(arguments).file.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
