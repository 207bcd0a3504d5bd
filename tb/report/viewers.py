"""Sessions of wave viewers beside a dump, for GTKWave (.gtkw) and for Surfer (.sucl): signals by unit, and a marker.

The dump itself holds the words of enumerations (tb/model/traced.py). Surfer shows them as it is, GTKWave where the
session says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from vcd.gtkw import GTKWFlag, GTKWSave

from tb.files import write_atomically
from tb.model.wrapper import TOP

__all__ = ["CYCLE_PS", "DumpSignal", "read_signals", "write_sessions"]

CYCLE_PS = 1000
"""A cycle in the time of a dump (tb/hdl/waves.cpp)."""
_CHIP = f"{TOP}.chip"
_BUS = re.compile(r"(m\d+)_axi_((ar|aw|r|w|b)(valid|ready)|(ar|aw)addr|(r|w)(data|last)|wstrb)")
_SHOWN = re.compile(
    r"(\w+__)?(valid|ready)|\w+__payload\.(header\.)?kind|phase|state|opcode|unmet|busy|running|start|done|ended|idle|halt|error"
)
"""Names that tell what a unit does."""
_WINDOW, _NAMES_PIXELS, _WAVES_PIXELS = (1600, 900), 340, 900
"""GTKWave's window, and in it the widths of the names of signals and at least of their waves."""
_FRAME_PIXELS = 200
"""GTKWave's zoom says how much of the time, 2 ** -zoom, so many pixels show (pixelsperframe in its sources)."""
_ENUM = 1 << 32 | GTKWFlag.bin.value | GTKWFlag.rjustify.value
"""GTKWave's flags of a signal that is shown in the words of its enumeration (TR_ENUM and others in its analyzer.h)."""
_LEVELS = 2
"""Levels of units that are shown, from the outermost one in the dump."""


@dataclass(frozen=True)
class DumpSignal:
    """A signal of a dump."""

    scope: str
    name: str
    bits: int
    in_words: bool = False
    """It holds members of an enumeration."""

    @property
    def path(self) -> str:
        return f"{self.scope}.{self.name}"


def read_signals(dump: Path) -> list[DumpSignal]:
    """The signals that a dump holds."""
    from pywellen import Waveform  # pyright: ignore[reportAttributeAccessIssue] - the package tells no types

    found = []
    for var in Waveform(str(dump)).all_vars():
        scope = var.full_name.removesuffix(f".{var.name}")
        found.append(DumpSignal(scope, var.name, var.bitwidth or 1, var.enum_type is not None))
    return found


def write_sessions(dump: Path, units: Mapping[str, str], window: tuple[int, int], marker: int | None = None) -> None:
    """Write sessions beside a dump: the same name with .gtkw and .sucl.

    Parameters
    ----------
    units : dict of str to str
        Scopes by the names of units (`tb.model.units.Units.scopes`).
    window : (int, int)
        First and last cycle of the dump.
    marker : int, optional
        The cycle of the failure: of the first wrong value, if the launch ended.
    """
    groups = list(_groups(read_signals(dump), units))
    write_atomically(dump.with_suffix(".sucl"), _surfer(dump, groups, marker).encode())
    write_atomically(dump.with_suffix(".gtkw"), _gtkwave(dump, groups, window, marker).encode())


Group = tuple[str, Sequence[DumpSignal]]
"""Unit and signals."""


def _groups(signals: Sequence[DumpSignal], units: Mapping[str, str]) -> Iterator[Group]:
    """The buses, and the units down to `_LEVELS` below the outermost ones, with what is shown of them."""
    chip = [signal for signal in signals if signal.scope == _CHIP]
    shown = [signal for signal in chip if signal.name in ("clk", "irq")]
    if shown:
        yield "chip", shown
    buses = [(found[1], signal) for signal in chip if (found := _BUS.fullmatch(signal.name))]
    for bus in dict.fromkeys(name for name, _ in buses):
        yield f"memory{bus[1:]} bus", [signal for name, signal in buses if name == bus]
    inside: dict[str, list[DumpSignal]] = {}
    for signal in signals:
        if _SHOWN.fullmatch(signal.name):
            inside.setdefault(signal.scope, []).append(signal)
    there = [(unit, inside[scope]) for unit, scope in units.items() if scope in inside]
    outermost = min((unit.count(".") for unit, _ in there), default=0)
    for unit, some in there:
        if unit.count(".") < outermost + _LEVELS:
            yield unit, sorted(some, key=lambda signal: (not signal.in_words, signal.name))


def _gtkwave(dump: Path, groups: Sequence[Group], window: tuple[int, int], marker: int | None) -> str:
    text = StringIO()
    save = GTKWSave(text)
    first, last = (CYCLE_PS * cycle for cycle in window)
    save.dumpfile(str(dump))
    save.savefile(str(dump.with_suffix(".gtkw")))
    save.timestart(first)
    shown = max(last - first, 1) * _FRAME_PIXELS / _WAVES_PIXELS
    save.zoom_markers(-math.log2(shown), -1 if marker is None else CYCLE_PS * marker)
    save.size(*_WINDOW)
    save.signals_width(_NAMES_PIXELS)
    inside: list[tuple[str, bool]] = []
    for unit, signals in groups:
        while inside and not unit.startswith(f"{inside[-1][0]}."):
            save.end_group(*inside.pop())
        # Of hundreds of signals the first screen shows those of the chip and of whole cores; the rest is a click away.
        inside.append((unit, unit.endswith(" bus") or "." in unit))
        save.begin_group(*inside[-1])
        # pyvcd knows no such flag; the group's own come before, so that it sets those of what follows.
        words = [_traced(signal) for signal in signals if signal.in_words]
        text.writelines([f"@{_ENUM:x}\n", *(f"{line}\n" for line in words)] if words else [])
        for signal in signals:
            if not signal.in_words:
                save.trace(_traced(signal))
    while inside:
        save.end_group(*inside.pop())
    return text.getvalue()


def _traced(signal: DumpSignal) -> str:
    """The line of a signal: GTKWave would show what stands behind the last dot alone."""
    shown = f"+{signal.name.replace('.', '__')} " if "." in signal.name else ""
    return f"{shown}{signal.path}" + (f"[{signal.bits - 1}:0]" if signal.bits > 1 else "")


def _surfer(dump: Path, groups: Sequence[Group], marker: int | None) -> str:
    lines = [f"load_file {dump}"]
    for unit, signals in groups:
        # Surfer takes a dot for the border of a scope.
        plain = [signal for signal in signals if "." not in signal.name]
        lines += [f"divider_add {unit.replace(' ', '_')}", *(f"variable_add {signal.path}" for signal in plain)]
    lines += ["zoom_fit"]
    if marker is not None:
        lines += [f"cursor_set {CYCLE_PS * marker}", "marker_set failure", "goto_cursor"]
    return "\n".join([*lines, ""])
