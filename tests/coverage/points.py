"""Verilator's coverage files: read, merged over instances, runs and chips, and led back to names in the source.

A point is known by its module and by the signal that it is about, not by its place in the generated text. Modules of
several chips are one if they declare the same signals of the same widths; else each counts for itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tb.errors import BenchError
from tb.model.cache import content_key

__all__ = ["KINDS", "Chip", "Point", "merge", "read_counts", "source_lines"]

KINDS = ("line", "branch", "toggle")
RawPoint = tuple[str, int, str, str, str]
"""File, line, type, comment, and the lines (`12-14,17`) of a point of Verilator's."""

_MODULE = re.compile(r"^module \\?([^\s(;]+)")
_DECLARED = re.compile(
    r"^\s*(?:\(\* src = \"([^\"]*)\" \*\)\s*)?(?:wire|reg|input|output)\b\s*(?:signed\s+)?(\[[^\]]*\])?"
    r"\s*\\?(\S+?)\s*(?:\[[^\]]*\])?\s*(?:;|=|$)"
)
_SRC = re.compile(r"^\s*\(\* src = \"([^\"]*)\" \*\)\s*$")
_ASSIGNED = re.compile(r"^\s*(?:assign\s+)?(?:\{\s*)?\\?([^\s\[<=]+)\s*(?:\[[^\]]*\])?\s*<?=")
_ANONYMOUS = re.compile(r"\\?\$(?:auto\S*|\d+)")


@dataclass(frozen=True, order=True)
class Point:
    """Something that a run covers or not.

    Attributes
    ----------
    name : str
        The signal: which toggles, or which the block assigns.
    detail : str
        Of a toggle, bit and direction; else the offset in the block with the normalised text of the line.
    """

    kind: str
    module: str
    name: str
    detail: str

    @property
    def bit(self) -> int:
        """Bit of a toggle; 0 for signals of one bit."""
        match = re.match(r"\[(\d+)\]", self.detail)
        return int(match[1]) if match else 0


@dataclass
class _Module:
    """A module of a Verilog file."""

    name: str
    declared: set[tuple[str, str]] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)
    """Signal to file:line of the Amaranth source, if the text says so."""


@dataclass(frozen=True, eq=False)
class Chip:
    """The Verilog of a chip; `texts` by file name."""

    name: str
    texts: Mapping[str, str]

    @cached_property
    def _lines(self) -> dict[str, list[tuple[_Module, str, int, str]]]:
        """For each line of a file: module, the signal of its block, offset in the block, text."""
        return {file: _parsed(text) for file, text in self.texts.items()}

    def module_keys(self) -> dict[tuple[str, str], str]:
        """(file, module) to the name under which the module's points are merged."""
        keys = {}
        for file, lines in self._lines.items():
            for module in {id(line[0]): line[0] for line in lines}.values():
                digest = content_key(sorted(f"{name} {width}" for name, width in module.declared))[:4]
                keys[file, module.name] = f"{re.sub(r'_core_[0-9]+', '_core', module.name)}#{digest}"
        return keys

    def points(self, raw: RawPoint) -> list[Point]:
        """The points that one of Verilator's stands for: itself, and each line it holds."""
        file, number, kind, comment, held = raw
        lines = self._lines[file]
        keys = self._keys
        module, name, offset, text = lines[number - 1]
        key = keys[file, module.name]
        if kind == "toggle":
            signal, _, rest = _demangled(comment).partition(":")
            match = re.fullmatch(r"(.*?)(\[\d+\])?", signal)
            assert match is not None
            return [Point("toggle", key, match[1], f"{match[2] or ''}{rest}")]
        found = []
        if kind == "branch" or comment in ("case", "elsif"):
            found.append(Point("branch", key, name, f"{offset} {comment}: {text}"))
        for line in _numbers(held):
            module, name, offset, text = lines[line - 1]
            if text not in ("", "end", "endcase", "begin"):
                found.append(Point("line", key, name, f"{offset}: {text}"))
        return found

    @cached_property
    def _keys(self) -> dict[tuple[str, str], str]:
        return self.module_keys()


def _parsed(text: str) -> list[tuple[_Module, str, int, str]]:
    rows: list[tuple[_Module, str, int, str]] = []
    module, first = _Module(""), 0
    lines = text.splitlines()
    block: tuple[int, str] | None = None
    source = ""
    for number, line in enumerate(lines):
        if match := _MODULE.match(line):
            module, first, block = _Module(match[1]), number, None
        if match := _SRC.match(line):
            source = match[1]
        elif match := _DECLARED.match(line):
            module.declared.add((match[3], match[2] or ""))
            if match[1] or source:
                module.sources.setdefault(match[3], match[1] or source)
            source = ""
        if line.startswith("  always"):
            block = (number, _target(lines, number))
        if line.startswith("  assign"):
            match = _ASSIGNED.match(line)
            rows.append((module, match[1] if match else "", 0, _plain(line)))
            continue
        if block is None:
            rows.append((module, "", number - first, _plain(line)))
        else:
            rows.append((module, block[1], number - block[0], _plain(line)))
            if line == "  end":
                block = None
    return rows


def _target(lines: list[str], first: int) -> str:
    """The signal that an always block assigns."""
    for line in lines[first + 1 :]:
        if line == "  end" or line.startswith("  always"):
            break
        if "<=" in line or "=" in line:
            match = _ASSIGNED.match(line)
            if match and "dump_module" not in line:
                return match[1]
    match = _ASSIGNED.match(lines[first].partition(") ")[2])
    return match[1] if match else ""


def _plain(text: str) -> str:
    """A line without spaces around it and without numbers of nameless signals."""
    return _ANONYMOUS.sub("$", text).strip()


def _demangled(name: str) -> str:
    return re.sub(r"__0([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), name)


def _numbers(held: str) -> Iterable[int]:
    for part in filter(None, held.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def read_counts(paths: Iterable[Path]) -> Counter[RawPoint]:
    """Hits of all points of some coverage files, added up over files and instances.

    Raises
    ------
    BenchError
        If one is no coverage file of Verilator's.
    """
    records: Counter[str] = Counter()
    for path in paths:
        with path.open(errors="replace") as file:
            if not file.readline().startswith("# SystemC::Coverage-3"):
                raise BenchError(f"{path} is no coverage file: remove it and run the campaign again")
            for line in file:
                record, _, count = line.rpartition(" ")
                records[record] += int(count)
    counts: Counter[RawPoint] = Counter()
    for record, count in records.items():
        parts = (part.partition("\x02") for part in record[3:-1].split("\x01") if part)
        fields = {name: value for name, _, value in parts}
        counts[Path(fields["f"]).name, int(fields["l"]), fields["t"], fields["o"], fields.get("S", "")] += count
    return counts


def merge(chip: Chip, counts: Mapping[RawPoint, int], into: Counter[Point]) -> None:
    """Add the hits of a chip's points; those without any are entered, too."""
    for raw, count in counts.items():
        if raw[0] in chip.texts:
            for point in chip.points(raw):
                into[point] += count


def source_lines(texts: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(module, signal) to `rtl/file.py:line`, from Verilog that was emitted with the places of its source."""
    found = {}
    for text in texts.values():
        for module in {id(row[0]): row[0] for row in _parsed(text)}.values():
            for name, place in module.sources.items():
                found[module.name, name] = re.sub(r"^.*/(rtl/)", r"\1", place.partition("|")[0])
    return found
