"""Outputs of ONNXim (commit a1e8629): ``L<n>/log.txt``, what the simulator prints."""

from __future__ import annotations

import re
from pathlib import Path

from tb.errors import BenchError
from tb.foreign.read.files import read_text
from tb.foreign.tool import Manifest, Prediction

__all__ = ["read_onnxim"]

FINISHED = re.compile(r"Simulation Finished at (\d+) (\w+)")
CORE = re.compile(r"Core \[(\d+)\] ?: ?(.*)")
FIGURE = re.compile(r"([A-Za-z][A-Za-z ()%]*?):? (\d+(?:\.\d+)?)(?=[ ,]|$)")
FIGURES = (
    "MatMul active cycle", "Vector active cycle", "Systolic bubble cycle", "Memory unit idle cycle", "Core idle cycle",
    "Systolic Array Utilization(%)", "Vector Unit Utilization(%)", "Total cycle", "issued tile",
)  # fmt: skip
COMPUTE, BUBBLE = "MatMul active cycle", "Systolic bubble cycle"


def read_onnxim(folder: Path, manifest: Manifest) -> list[Prediction]:
    """One prediction a layer: computation and bubbles in the mean of the cores, the rest is waiting.

    Raises
    ------
    BenchError
        If a log is not there or not finished; for an unknown figure or unit.
    """
    return [
        manifest.prediction(entry, *_parts(folder / f"L{entry.line}" / "log.txt", manifest.chip["cores"]))
        for entry in manifest.entries
    ]


def _parts(path: Path, cores: int) -> tuple[float, float, float]:
    text = read_text(path)
    end = FINISHED.search(text)
    if end is None:
        raise BenchError(f"{path} has no 'Simulation Finished at'; run ONNXim again")
    if end[2] not in ("cycle", "cycles"):
        raise BenchError(f"{path}: it finished at {end[1]} {end[2]!r}, an unknown unit; give cycles")
    found: dict[int, dict[str, float]] = {}
    for line in text.splitlines():
        core = CORE.search(line)
        if core is None:
            continue
        for name, value in FIGURE.findall(core[2]):
            if name.strip() not in FIGURES:
                raise BenchError(f"{path}: unknown figure {name.strip()!r}; known are {', '.join(FIGURES)}")
            found.setdefault(int(core[1]), {})[name.strip()] = float(value)  # the last one is the whole run's
    if len(found) != cores or not all(COMPUTE in figures for figures in found.values()):
        raise BenchError(f"{path} has {COMPUTE!r} of {len(found)} cores, the chip {cores}; run ONNXim again")
    total = float(end[1])
    compute = sum(figures[COMPUTE] for figures in found.values()) / cores
    fill = sum(figures.get(BUBBLE, 0.0) for figures in found.values()) / cores
    if compute + fill > total:
        raise BenchError(f"{path}: {compute + fill:g} cycles of work in {total:g}; run ONNXim again")
    return compute, fill, total - compute - fill
