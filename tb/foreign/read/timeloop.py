"""Outputs of Timeloop 3: ``L<n>/timeloop-mapper.stats.txt``."""

from __future__ import annotations

import re
from pathlib import Path

from tb.errors import BenchError
from tb.foreign.read.files import read_text
from tb.foreign.tool import Manifest, Prediction

__all__ = ["read_timeloop"]

LEVELS = ("mac", "weight_reg", "accumulators", "weights", "activations", "DRAM")
"""Those of the architecture that was written."""
HEADING = re.compile(r"^=== (.+) ===$")
CYCLES = re.compile(r"^\s+Cycles\s*:\s*(\S.*?)\s*$")
END = "Networks"
"""The heading behind the levels: networks have no time."""


def read_timeloop(folder: Path, manifest: Manifest) -> list[Prediction]:
    """One prediction a layer: computation is what the multipliers take, waiting what the slowest level takes longer.

    Raises
    ------
    BenchError
        If a file is not there; for an unknown level, a level without cycles, or cycles with a unit.
    """
    found = []
    for entry in manifest.entries:
        path = folder / f"L{entry.line}" / "timeloop-mapper.stats.txt"
        cycles = _cycles(read_text(path), path)
        compute = cycles["mac"]
        found.append(manifest.prediction(entry, compute, 0.0, max(cycles.values()) - compute))
    return found


def _cycles(text: str, path: Path) -> dict[str, int]:
    """Of each level."""
    found: dict[str, int] = {}
    level = ""
    for line in text.splitlines():
        if line.strip() == END:
            break
        heading, figure = HEADING.match(line), CYCLES.match(line)
        if heading:
            level = heading[1]
            if level not in LEVELS:
                raise BenchError(f"{path}: unknown level {level!r}; known are {', '.join(LEVELS)}")
        elif figure:
            if not figure[1].isdecimal():
                raise BenchError(f"{path}: Cycles of {level} is {figure[1]!r}, no number of cycles; run Timeloop again")
            found[level] = int(figure[1])
    for level in LEVELS:
        if level not in found:
            raise BenchError(f"{path}: level {level!r} has no Cycles; run Timeloop again")
    return found
