"""What a user asks for: a network, a chip, and how to run it. The command line and `import systomesh` both ask so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from golden.zoo import ZOO
from rtl.contract.params import ChipParams
from scheduler.kinds.written import require_same_batch
from scheduler.rounds import require_batch, require_own_launches
from scheduler.schedule import folds, usual_schedule
from scheduler.work.options import SparseOptions
from tb.errors import BenchError
from tb.model.build import SIMULATORS
from tb.run.options import RunOptions
from tb.run.presets import chip_named, preset_chip
from tb.run.waves import parse_waves
from tb.run.workload import DEFAULT_SEED, OnnxOptions, Workload, is_file, load_workload, require_network
from tb.sim.settings import MemorySettings

__all__ = ["Request", "chip_of"]


def chip_of(cores: int, chip: Path | ChipParams | None) -> ChipParams:
    """The chip itself, that of a name or a file, or the preset of so many cores.

    Raises
    ------
    ParameterError
        For a bad file, an unknown name, or a number of cores that makes no mesh.
    """
    if chip is None:
        return preset_chip(cores)
    return chip if isinstance(chip, ChipParams) else chip_named(chip)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run as a user asks for it; what is left out is as the README says of `make sim`.

    Attributes
    ----------
    chip : Path or ChipParams, optional
        Instead of the preset of `cores`; a path may be a name of `tb.run.presets.NAMED_CHIPS`.
    latency : int
        Of the external memory, in cycles.
    bandwidth : float, optional
        Bytes per cycle of each memory node; the width of its port otherwise.
    waves, scope, memories
        As `tb.run.waves.parse_waves` takes them.
    optimise : bool
        Off: the model builds faster and runs slower, for a few thousand cycles.
    """

    net: str
    cores: int = 4
    chip: Path | ChipParams | None = None
    sim: str = SIMULATORS[0]
    weights: Path | None = None
    image: str | Path | None = None
    batch: int = 1
    seed: int | None = None
    prune: str | None = None
    onnx: OnnxOptions = field(default_factory=OnnxOptions)
    layers: str | None = None
    name: str | None = None
    latency: int = 64
    bandwidth: float | None = None
    schedule: str | None = None
    launches: int | None = None
    fuse: bool = True
    overlap: bool = True
    sparse: SparseOptions = field(default_factory=SparseOptions)
    jobs: int | None = None
    energy: str | None = None
    counters: bool = False
    profile: bool = False
    waves: str | None = None
    scope: str | None = None
    memories: bool = False
    trace: str | None = None
    interval: int = 1_000
    report: bool = False
    fresh: bool = False
    optimise: bool = True
    runs_dir: Path = Path("runs")

    @cached_property
    def options(self) -> RunOptions:
        """The options of the run, checked as far as nothing has to be read or computed for it.

        Raises
        ------
        BenchError, ParameterError, PlanError
            For what cannot be.
        """
        if self.sim not in SIMULATORS:
            raise BenchError(f"unknown simulator {self.sim!r}: use one of {', '.join(SIMULATORS)}")
        require_network(self.net)
        params = replace(self._params, counters=True) if self.counters else self._params
        require_batch(self.batch)
        require_own_launches(self.launches, self.batch)
        options = RunOptions(
            name=_checked(self.name or self._usual_name),
            chip=params,
            sim=self.sim,
            seed=DEFAULT_SEED if self.seed is None else self.seed,
            settings=MemorySettings(latency_cycles=self.latency, bytes_per_cycle=self.bandwidth),
            runs_dir=self.runs_dir,
            fresh=self.fresh,
            waves=parse_waves(self.waves, self.scope, memories=self.memories),
            trace=self.trace,
            interval=self.interval,
            report=self.report,
            optimise=self.optimise,
            schedule=self._schedule,
            launches=self.launches,
            fuse=self.fuse,
            overlap=self.overlap,
            sparse=self.sparse,
            energy=self.energy,
            profile=self.profile,
            work=ZOO[self.net]().macs if self.net in ZOO and not self.layers else 0,
            jobs=self.jobs,
        )
        require_same_batch(self._schedule, self.batch)
        return options

    def load(self) -> Workload:
        """The network, quantised, with its input and what every layer must put out.

        Raises
        ------
        BenchError, GoldenError, RunError
            As of `load_workload`.
        """
        return load_workload(
            self.net, weights=self.weights, image=self.image, seed=self.seed, prune=self.prune,
            layers=self.layers, onnx=self.onnx, fuse=self.fuse, apart=not folds(self._schedule), batch=self.batch,
            dealt=self._dealt,
        )  # fmt: skip

    @cached_property
    def _params(self) -> ChipParams:
        return chip_of(self.cores, self.chip)

    @property
    def _dealt(self) -> int | None:
        """Filters of a block of the chip's sparse engines, if heavy and light ones are to share blocks."""
        lanes = [core.cols for core in self._params.cores if "sparse" in core.engines]
        return min(lanes) if lanes and self.sparse.balance != "none" else None

    @cached_property
    def _usual(self) -> str:
        return usual_schedule(self._params, pools=self.fuse)

    @property
    def _schedule(self) -> str:
        return self.schedule or self._usual

    @property
    def _usual_name(self) -> str:
        """Network and chip, and whatever else is not as usual."""
        net = self.net
        network = _word(Path(net).stem) if is_file(net) else net
        parts = [network, self._chip_name]
        parts += [self.layers.replace("..", "-").replace(",", "+")] if self.layers else []
        parts += [self.sim] if self.sim != SIMULATORS[0] else []
        parts += [Path(self._schedule).stem] if self._schedule != self._usual else []
        parts += [f"{self.launches}launches"] if self.launches is not None else []
        parts += [] if self.fuse else ["unfused"]
        parts += [] if self.overlap else ["serial"]
        parts += self.sparse.words
        parts += [f"batch{self.batch}"] if self.batch > 1 else []
        parts += [] if self.prune is None else [f"pruned-{_word(Path(self.prune).name.removesuffix('.npz'))}"]
        return "-".join(parts + ["counters"] * self.counters)

    @property
    def _chip_name(self) -> str:
        if isinstance(self.chip, Path):
            return self.chip.stem
        return f"{self.cores}cores" if self.chip is None else f"chip{sha256(repr(self.chip).encode()).hexdigest()[:8]}"


def _word(text: str) -> str:
    """A text as a part of a run's name."""
    return "".join(c if c.isalnum() or c in "._+-" else "_" for c in text)


def _checked(name: str) -> str:
    if _word(name) != name or not name.strip("."):
        raise BenchError(f"name {name!r}: use letters, digits and . _ + -")
    return name
