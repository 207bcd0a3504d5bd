"""The simulation time by block of the chip: samples of the model's machine code, traced to its Verilog.

A model built with ``places=True`` keeps the C++ that Verilator wrote, and says which line of it an address comes from.
That line, or one of those before it, names a variable by its path in the chip.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tb.errors import ToolError

__all__ = ["ELSEWHERE", "shares_by_block"]

ELSEWHERE = "(no block)"
"""What Verilator's own loop, libraries and the like take."""
_NAME = re.compile(r"\bsystomesh_tb__DOT__(\w+)")
_PLACE = re.compile(r"(Vtop\w*\.cpp):(\d+)")
_LINES_OF_A_STATEMENT = 25
_NO_BLOCKS = {"chip", "step"}
"""Parts of a path that say nothing: the whole, and the process of systomesh_pe_grid.v; so do nameless ones."""
_NUMBER = re.compile(r"(?<=[a-z_])_?\d+(_\d+)?$")
"""What tells instances of one kind of block from each other: core_3, router_0_1, row7."""


def shares_by_block(program: Path, source: Path, samples: Sequence[int]) -> dict[str, float]:
    """Share of the samples in each kind of block, largest first; equal blocks count together.

    `samples` are addresses in `program`; `source` is the folder of its C++.

    Raises
    ------
    ToolError
        If addr2line (of binutils, which compilers need) is missing or fails.
    """
    counts = Counter(samples)
    command = ["addr2line", "-e", str(program), "-i", "-a"]
    try:
        done = subprocess.run(
            command, input="\n".join(map(hex, counts)), capture_output=True, text=True, check=True, timeout=300
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"addr2line failed ({error}): run 'apt-get install binutils'") from error
    found = re.split(r"^0x0*([0-9a-f]+)\n", done.stdout, flags=re.MULTILINE)
    texts = _Texts(source)
    blocks: Counter[str] = Counter()
    for address, frames in zip(found[1::2], found[2::2], strict=True):
        blocks[texts.block(frames)] += counts[int(address, 16)]
    return {name: count / len(samples) for name, count in blocks.most_common()}


class _Texts:
    """The lines of the model's C++ files, read when they are wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: dict[str, list[str]] = {}

    def block(self, frames: str) -> str:
        """The block that the places of a (perhaps inlined) address belong to, the outermost place first."""
        for name, number in reversed(_PLACE.findall(frames)):
            for line in self._statement(name, int(number)):
                if path := _NAME.search(line):
                    return _kind(path[1])
        return ELSEWHERE

    def _statement(self, name: str, number: int) -> list[str]:
        if name not in self._lines:
            path = self._folder / name
            self._lines[name] = path.read_text(errors="replace").splitlines() if path.exists() else []
        return self._lines[name][max(0, number - _LINES_OF_A_STATEMENT) : number][::-1]


def _kind(variable: str) -> str:
    """The block of a variable: 'core.logic.compute' of 'chip__DOT__core_3__DOT__logic__DOT__compute__DOT__busy'."""
    parts = [_NUMBER.sub("", part) for part in variable.split("__DOT__")[:-1]]
    return ".".join(part for part in parts if part not in _NO_BLOCKS and not part.startswith("unnamedblk")) or "top"
