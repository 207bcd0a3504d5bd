"""A point of an experiment: one network on one chip, planned in one way. Its run is that of `make sim`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from golden.zoo import load
from rtl.contract.params import ChipParams, load_chip
from tb.report.check import CHECK
from tb.report.nets import NetSize

__all__ = ["CHIPS", "Forecast", "Point"]

CHIPS = Path(__file__).parent / "chips"
"""Files of the chips of all experiments."""


@dataclass(frozen=True)
class Point:
    """One run.

    Attributes
    ----------
    net : str
        Of the zoo.
    chip : str
        Name of a file in `CHIPS`, without .toml.
    schedule : str
        Kind of schedule.
    bytes_per_cycle : float
        Of each memory node.
    overlap : bool
        Without, at most one unit of a core works at a time.
    batch : int
        Pictures.
    """

    net: str
    chip: str
    schedule: str
    bytes_per_cycle: float = 16
    overlap: bool = True
    batch: int = 1

    @property
    def name(self) -> str:
        """Name of its run, which experiments share."""
        serial, batch = "" if self.overlap else "-serial", f"-batch{self.batch}" if self.batch > 1 else ""
        return f"{self.net}-{self.chip}-{self.bytes_per_cycle:g}Bpc-{self.schedule}{serial}{batch}"

    @property
    def chip_file(self) -> Path:
        return CHIPS / f"{self.chip}.toml"

    @property
    def arguments(self) -> Sequence[str]:
        """Those of its run, without a page of its own: there are hundreds of points."""
        return "sim", *self.options, "--no-report"

    @property
    def options(self) -> Sequence[str]:
        """What it asks for, of a run or of a check."""
        return (
            "--net", self.net, "--chip", str(self.chip_file), "--schedule", self.schedule,
            "--bandwidth", f"{self.bytes_per_cycle:g}", "--batch", str(self.batch),
            "--overlap" if self.overlap else "--no-overlap",
        )  # fmt: skip

    @property
    def command(self) -> str:
        """What a user types for the same run."""
        words = [f"make sim NET={self.net} CHIP=tb/experiment/chips/{self.chip}.toml SCHEDULE={self.schedule}"]
        words += [f"BANDWIDTH={self.bytes_per_cycle:g}"]
        words += [f"BATCH={self.batch}"] if self.batch > 1 else []
        return " ".join([*words, *([] if self.overlap else ["OVERLAP=0"])])

    @property
    def identity(self) -> str:
        """The point and the text of its chip."""
        return f"{self!r} {self.chip_file.read_text()}"

    @property
    def result(self) -> str:
        return "summary.json"

    @property
    def work(self) -> float:
        """Rough number of simulated cycles, times cores, for a cycle of more cores takes longer."""
        size, chip = _size(self.net), _chip(self.chip_file)
        rate = self.bytes_per_cycle * len(chip.memory_nodes)
        moved = size.params + (0 if self.schedule == "fused" else 2 * size.activations * self.batch)
        compute, memory = size.macs * self.batch / chip.multipliers, moved / rate
        return chip.n_cores * (max(compute, memory) if self.overlap else compute + memory)


@dataclass(frozen=True)
class Forecast:
    """The prediction of a point, which takes its place while it has not been run."""

    point: Point

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def arguments(self) -> Sequence[str]:
        return "check", *self.point.options

    @property
    def identity(self) -> str:
        return self.point.identity

    @property
    def result(self) -> str:
        return CHECK

    @property
    def work(self) -> float:
        """Layers: most of the time goes into their mappings."""
        return _size(self.point.net).layers


@cache
def _size(net: str) -> NetSize:
    return NetSize.of(load(net))


@cache
def _chip(file: Path) -> ChipParams:
    return load_chip(file)
