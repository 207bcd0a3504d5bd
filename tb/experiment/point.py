"""A point of an experiment: a network, or a part of one, on a chip, planned in one way; a run as of `make sim`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from golden.zoo import load
from rtl.contract.params import ChipParams, load_chip
from scheduler.work.options import SparseOptions
from tb.report.check import CHECK
from tb.report.nets import NetSize

__all__ = ["CHIPS", "Forecast", "Point"]

CHIPS = Path(__file__).parent / "chips"
"""Files of the chips of all experiments."""
USUAL = SparseOptions()
SPARSE_SLOWER = 10
"""How much longer a cycle of a sparse core takes to simulate, less what it saves in cycles; roughly."""


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
    layers : str, optional
        Of the network alone, as LAYERS= names them.
    prune : str, optional
        As PRUNE= takes it.
    sparse : SparseOptions
        For sparse engines.
    """

    net: str
    chip: str
    schedule: str
    bytes_per_cycle: float = 16
    overlap: bool = True
    batch: int = 1
    layers: str | None = None
    prune: str | None = None
    sparse: SparseOptions = USUAL

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Point:
        """What `dataclasses.asdict` made of one; options of sparse engines may be missing."""
        return cls(**{**fields, "sparse": SparseOptions(**fields.get("sparse", {}))})

    @property
    def name(self) -> str:
        """Name of its run, which experiments share."""
        parts = [self.net, self.chip, f"{self.bytes_per_cycle:g}Bpc", self.schedule]
        parts += [] if self.overlap else ["serial"]
        parts += [f"batch{self.batch}"] if self.batch > 1 else []
        parts += [self.layers.replace("..", "-").replace(",", "+")] if self.layers is not None else []
        parts += [f"pruned-{self.prune.replace(',', '_').replace(':', '_')}"] if self.prune is not None else []
        parts += self.sparse.words
        return "-".join(parts)

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
            *(word for name, value in self._more.items() for word in (f"--{name.replace('_', '-')}", value)),
        )  # fmt: skip

    @property
    def _more(self) -> dict[str, str]:
        """Options that are not as usual, by name; points without any have the identity that they had before these."""
        given = {"layers": self.layers, "prune": self.prune}
        given |= {name: value for name, value in asdict(self.sparse).items() if value != getattr(USUAL, name)}
        return {name: str(value) for name, value in given.items() if value is not None}

    @property
    def command(self) -> str:
        """What a user types for the same run."""
        words = [f"make sim NET={self.net} CHIP=tb/experiment/chips/{self.chip}.toml SCHEDULE={self.schedule}"]
        words += [f"BANDWIDTH={self.bytes_per_cycle:g}"]
        words += [f"BATCH={self.batch}"] if self.batch > 1 else []
        words += [f"{name.upper()}={value}" for name, value in self._more.items()]
        return " ".join([*words, *([] if self.overlap else ["OVERLAP=0"])])

    @property
    def identity(self) -> str:
        """The point and the text of its chip."""
        asked = ("net", "chip", "schedule", "bytes_per_cycle", "overlap", "batch")
        words = ", ".join(f"{name}={getattr(self, name)!r}" for name in asked)
        more = "".join(f" {name}={value}" for name, value in self._more.items())
        return f"Point({words}){more} {self.chip_file.read_text()}"

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
        slower = SPARSE_SLOWER if any("sparse" in core.engines for core in chip.cores) else 1
        part = 1 if self.layers is None else (1 + self.layers.count(",")) / size.layers
        return slower * part * chip.n_cores * (max(compute, memory) if self.overlap else compute + memory)


@dataclass(frozen=True)
class Forecast:
    """The prediction of a point, which takes its place while it has not been run, or confirms an older run of it."""

    point: Point

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def arguments(self) -> Sequence[str]:
        return "check", *self.point.options, "--fingerprint"

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
