"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtl.contract.params import ChipParams
from scheduler.kinds.kind import ScheduleKind
from scheduler.schedule import schedule_kind
from scheduler.work.options import SparseOptions
from tb.errors import BenchError
from tb.run.waves import Waves
from tb.sim.settings import MemorySettings

__all__ = ["RunOptions"]


@dataclass(frozen=True)
class RunOptions:
    """Everything that determines a run, apart from the workload."""

    name: str
    chip: ChipParams
    sim: str = "verilator"
    seed: int = 1
    settings: MemorySettings = field(default_factory=MemorySettings)
    runs_dir: Path = Path("runs")
    watchdog_cycles: int = 100_000
    fresh: bool = False
    """Do not use launches that an earlier run has finished."""
    waves: Waves | None = None
    optimise: bool = True
    """Off: builds faster, runs slower."""
    profile: bool = False
    """Compile the model with profile feedback, however short the run."""
    work: int = 0
    """Multiply-accumulates of the network as far as known beforehand; tb/model/recipe.py chooses by them."""
    schedule: str = "layers"
    """Kind of schedule (`scheduler.schedule.SCHEDULES`)."""
    launches: int | None = None
    """Starts of the chip, of a kind that may choose how many; None: as many as the kind likes."""
    fuse: bool = True
    """Off: no maximum pool joins the convolution in front of it."""
    overlap: bool = True
    """Off: at most one unit of a core works at a time."""
    sparse: SparseOptions = field(default_factory=SparseOptions)
    """For sparse engines."""
    energy: str | None = None
    """Constants for energies: a named set, or a file of one's own (`estimator.energy.load_prices`); None: all sets."""
    trace: str | None = None
    """Form of the file with the run's timeline (`tb.timeline.files.FORMS`); None: no timeline is recorded."""
    interval: int = 1_000
    """Cycles between the counts of a timeline."""
    report: bool = False
    """Write report.html, too."""
    jobs: int | None = 1
    """Simulator processes at once; None: one for each processor, as far as there is work and memory for it."""

    def __post_init__(self) -> None:
        self.kind()
        self.sparse.check(self.chip)
        self.settings.require_port(self.chip.link_bytes)
        if self.waves and self.jobs is not None and self.jobs > 1:
            raise BenchError(f"JOBS={self.jobs}: WAVES= records one simulator; leave one of the two out")
        if self.waves and self.sim != "verilator":
            raise BenchError(f"SIM={self.sim}: only Verilator records waves; leave SIM= or WAVES= out")
        if self.trace is not None and self.sim != "verilator":
            raise BenchError(f"SIM={self.sim}: TRACE= is recorded by Verilator alone; leave one of the two out")
        if not 0 < self.interval < 1 << 31:
            raise BenchError(f"INTERVAL={self.interval}: give the cycles between two counts, 1 or more")

    @property
    def timeline(self) -> int | None:
        """Cycles between the counts of the timeline; None without one."""
        return self.interval if self.trace is not None else None

    def kind(self) -> ScheduleKind:
        """The kind of schedule, as it is wanted."""
        return schedule_kind(
            self.schedule, pools=self.fuse, overlap=self.overlap, launches=self.launches, sparse=self.sparse
        )

    @property
    def described(self) -> str:
        """The kind of schedule and what else is asked of it, in words: 'fused', 'layers, no pools fused, serial'."""
        more = [f"in {self.launches} launches"] if self.launches is not None else []
        more += [] if self.fuse else ["no pools fused"]
        return ", ".join([self.schedule, *more, *([] if self.overlap else ["serial"]), *self.sparse.words])

    @property
    def folder(self) -> Path:
        """The folder of the run, `runs/<name>`."""
        return self.runs_dir / self.name
