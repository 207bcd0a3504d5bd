"""What a simulator process is asked to do, and what it reports: the contract of `session` and `cocotb_job`."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from golden.int8.quant import QHost
from rtl.contract.engines import ENGINES
from rtl.contract.marks import Mark, marks_of
from rtl.contract.params import ChipParams
from scheduler.plan.program import Placement, Plan
from tb.files import write_atomically
from tb.sim.settings import MemorySettings

__all__ = [
    "PAGE_BYTES", "POISON", "WRITTEN", "Flip", "HostJob", "LaunchJob", "LaunchResult", "MemoryFile", "ProcessJob",
    "Recording", "Region", "core_label", "load_job", "plan_job", "receive_launches", "save_job", "send_launch",
    "when_written",
]  # fmt: skip

POISON = 0xA5
"""What memory holds where a launch has yet to write."""
PAGE_BYTES = 4096
"""Size of the pages that tb/hdl/memory.cpp and written.cpp keep."""
WRITTEN = ".written"
"""Label of the array that says when a launch wrote memory, int32[K, 1 + W]: of each page its number, and of each of its
words the cycle of the launch in which it was written last, or -1."""


def core_label(core: int, memory: str) -> str:
    """Name of the array that keeps a memory (act, weight, param, acc) of a core."""
    return f"core{core}_{memory}"


@dataclass(frozen=True)
class MemoryFile:
    """Bytes to put into external memory before the first launch: an .npy file, or any other file as it is."""

    address: int
    path: Path

    def array(self) -> np.ndarray:
        """The bytes, mapped where possible."""
        if self.path.suffix == ".npy":
            return np.load(self.path, mmap_mode="r").reshape(-1).view(np.uint8)
        return np.memmap(self.path, dtype=np.uint8, mode="r")


@dataclass(frozen=True)
class Region:
    """A range of external memory; what is kept of it after a launch is `<label>.npy`."""

    label: str
    address: int
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class Flip:
    """A bit to invert while a launch runs."""

    cycle: int
    """Clock cycle of the flip, counted from shortly before the start."""
    target: str
    """One of `tb.sim.flips.TARGETS`."""
    seed: int
    """Seed that draws the bit."""
    dram_bytes: int
    """Bytes from address 0 on that a flip in external memory may hit."""


@dataclass(frozen=True)
class Recording:
    """Waves of a launch, by a model that was built for them."""

    path: Path
    """The FST file, whose time is the launch's cycle in nanoseconds; there is none if no cycle is in the window."""
    first: int = 0
    last: int | None = None
    """The last cycle, included; None: to the end."""
    scopes: tuple[str, ...] = ()
    """Paths in the hierarchy; none: everything."""


@dataclass(frozen=True)
class LaunchJob:
    """One start of the chip."""

    name: str
    program_base: int
    program_stride: int
    result_dir: Path
    """Made whole or not at all: result.json and one .npy file per region."""
    regions: tuple[Region, ...] = ()
    watchdog_cycles: int = 100_000
    limit_cycles: int | None = None
    """The bench gives up here if not even the watchdog answers."""
    active_cores: int | None = None
    memory: tuple[MemoryFile, ...] = ()
    """Bytes to put into memory just before this launch."""
    settings: MemorySettings | None = None
    """Memory settings from here on; the chip and the memory model are reset for it."""
    inside_seed: int | None = None
    """Fill the memories of the cores with this noise (`golden.machine.fresh_cores`) before the launch, and keep them
    and the regions after it, however it ends (`core_label` names their files)."""
    flip: Flip | None = None
    """A bit to invert; it needs a model that was built with ``open_state=True``."""
    clear: tuple[Region, ...] = ()
    """Memory to fill with `POISON` before the launch, so that what it leaves out cannot be right by chance."""
    writes: tuple[Region, ...] | None = None
    """Memory that it may change; None: nobody looks."""
    marks: tuple[tuple[int, ...], ...] = ()
    """Of each core, marks that its program passes (`rtl.contract.marks.marks_of`), to be read once it is done."""
    timeline: int | None = None
    """Record its timeline (`tb.sim.trace`), with counts every so many cycles; the model must be built for that."""
    waves: Recording | None = None


@dataclass(frozen=True)
class HostJob:
    """A node that the host computes between two starts of the chip."""

    name: str
    node: QHost
    inputs: Mapping[str, Placement]
    """Places of its inputs, by tensor."""
    output: Placement
    result_dir: Path
    regions: tuple[Region, ...] = ()
    memory: tuple[MemoryFile, ...] = ()
    """Bytes to put into memory just before."""


@dataclass(frozen=True)
class ProcessJob:
    """What a simulator process does: these launches, and then those that are sent to it one by one."""

    chip: ChipParams
    memory_bytes: int
    launches: tuple[LaunchJob | HostJob, ...] = ()
    memory: tuple[MemoryFile, ...] = ()
    """Bytes to put into memory first, in this order, so a later file overlays an earlier one."""
    settings: MemorySettings = field(default_factory=MemorySettings)
    counters: bool = True
    keep_going: bool = False
    """Go on behind a launch that ended in error; its START clears the chip."""
    progress_s: float = 0.25
    core_counters: tuple[Mapping[str, int], ...] = field(init=False)
    """Numbers of each core's counters, by name; engines that registered from outside are known here alone."""

    def __post_init__(self) -> None:
        names = tuple(ENGINES.counters(core.engines, events=self.chip.counters) for core in self.chip.cores)
        object.__setattr__(self, "core_counters", names)


@dataclass(frozen=True)
class LaunchResult:
    """What became of one launch, or of one step of the host (no cycles, no counters)."""

    name: str
    outcome: Mapping[str, Any]
    """Fields of tb.sim.driver.Outcome."""
    sim_s: float
    counters: Mapping[str, Any]
    debug: list[dict[str, Any]]
    """The state of every unit; empty when the launch ended well, unless the insides were asked for."""
    violation: str = ""
    """The bus rule that the chip broke."""
    flipped: str = ""
    """The bit that was inverted."""
    stray_bytes: int = 0
    """Number of bytes changed outside what the launch may write."""
    stray_address: int = 0
    """Address of the first stray byte."""
    marks: list[list[dict[str, Any]]] = field(default_factory=list)
    """Of each core, its marks by number, as fields of `rtl.contract.marks.Mark`; empty without marks to read, and of a
    launch that is not done."""
    failed_cycle: int | None = None
    """Of a launch that is not `ok`, the cycle that a look at it should begin with: of the first stray write, of the
    broken rule, of the last progress or of the error."""

    @property
    def ok(self) -> bool:
        return self.outcome["status"] == "done" and not self.violation and not self.stray_bytes

    @property
    def cycles(self) -> int:
        return self.outcome["cycles"]

    @property
    def core_marks(self) -> list[list[Mark]]:
        """`marks`, as records."""
        return [[Mark(**mark) for mark in core] for core in self.marks]

    def save(self, directory: Path, arrays: Mapping[str, np.ndarray]) -> None:
        """Write result.json and the arrays; the directory appears complete or not at all."""
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory.parent))
        try:
            for label, array in arrays.items():
                np.save(partial / f"{label}.npy", array)
            (partial / "result.json").write_text(json.dumps(self.__dict__, indent=1))
            shutil.rmtree(directory, ignore_errors=True)
            partial.rename(directory)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    @classmethod
    def load(cls, directory: Path) -> LaunchResult | None:
        """Read a finished launch; None if there is none."""
        try:
            return cls(**json.loads((directory / "result.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None


def when_written(written: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """The cycles, int[K], in which those of some addresses that were written got their last byte.

    Parameters
    ----------
    written : int32[K, 1 + W]
        As `WRITTEN` says.
    """
    words = written.shape[1] - 1
    word_bytes = PAGE_BYTES // words
    order = np.argsort(written[:, 0])
    pages = written[order, 0]
    at = np.searchsorted(pages, addresses // PAGE_BYTES)
    at, addresses = at[at < len(pages)], addresses[at < len(pages)]
    known = pages[at] == addresses // PAGE_BYTES
    cycles = written[order[at[known]], 1 + addresses[known] % PAGE_BYTES // word_bytes]
    return cycles[cycles >= 0]


def plan_job(plan: Plan, image: np.ndarray, folder: Path) -> ProcessJob:
    """All launches of a plan, for a look at the simulation alone: results lie in a folder that holds the memory, too.

    `image` is int8[C, H, W], the input.
    """
    np.save(folder / "memory.npy", plan.memory_image(image))
    launches = tuple(
        LaunchJob(
            launch.name,
            launch.program_base,
            launch.program_stride,
            folder / f"{number}",
            marks=marks_of(plan.chip, launch.streams),
        )
        for number, launch in enumerate(plan.launches)
    )
    return ProcessJob(plan.chip, plan.dram_bytes, launches, (MemoryFile(0, folder / "memory.npy"),))


def save_job(job: ProcessJob, path: Path) -> None:
    """Write the job for the simulator process."""
    write_atomically(path, pickle.dumps(job))


def load_job(path: Path) -> ProcessJob:
    """Read the job in the simulator process."""
    return pickle.loads(path.read_bytes())


def send_launch(launch: LaunchJob | HostJob, pipe: BinaryIO) -> None:
    """Give one more launch to a simulator process; closing the pipe ends it."""
    pickle.dump(launch, pipe)
    pipe.flush()


def receive_launches(pipe: BinaryIO) -> Iterator[LaunchJob | HostJob]:
    """The launches that are sent to the simulator process in which this runs, until the pipe is closed."""
    while True:
        try:
            yield pickle.load(pipe)
        except EOFError:
            return
