"""The folder of a run: results of finished launches, kept as long as what determines them stays the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from tb.errors import BenchError, storage_error
from tb.files import write_atomically
from tb.report.record import FILES
from tb.sim.job import LaunchResult, Region

__all__ = ["RunDir"]

_OLD = ".old-"


class RunDir:
    """`runs/<name>`: fingerprint, launches/NNN-<name>/, sim.log (sim-1.log, ... of further processes), the files of its
    record (`tb.report.record`), and trace.pftrace or trace.json with a timeline; waves/NNN-<name>.fst.

    Use as a context manager. Opening it with another fingerprint than last time forgets the launches kept there.
    """

    def __init__(self, path: Path, fingerprint: str, *, fresh: bool = False) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self._fresh = fresh
        self._lock: FileLock | None = None

    @property
    def work(self) -> Path:
        """Scratch space of the simulator processes, a folder 0, 1, ... for each; removed at the end."""
        return self.path / "work"

    def launch(self, index: int, name: str) -> Path:
        """The folder of a launch's result, which may still be to come."""
        return self.path / "launches" / _numbered(index, name)

    def dump(self, index: int, name: str) -> Path:
        """The file of a launch's waves."""
        return (self.path / "waves" / f"{_numbered(index, name)}.fst").resolve()

    def forget_dumps(self) -> None:
        """Remove the waves of an earlier run."""
        shutil.rmtree(self.path / "waves", ignore_errors=True)

    def result(self, index: int, name: str, regions: Sequence[Region]) -> LaunchResult | None:
        """A finished launch, if it ended well and its regions are there."""
        folder = self.launch(index, name)
        result = LaunchResult.load(folder)
        whole = all(_holds(folder / f"{region.label}.npy", region.size) for region in regions)
        return result if result is not None and result.ok and whole else None

    def __enter__(self) -> RunDir:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
            self._clear_leavings()
            # Of an earlier run; this one has none until it has come to its end.
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)
            mark = self.path / "fingerprint"
            launches = self.path / "launches"
            known = mark.read_text() if mark.exists() else None
            if self._fresh or known != self._fingerprint:
                # Out of sight at once: a launch of which half is gone must not be taken for finished.
                if launches.exists():
                    launches.rename(Path(tempfile.mkdtemp(prefix=_OLD, dir=self.path)) / "launches")
                    self._clear_leavings()
                for old in self.path.glob("trace.*"):  # the timeline of what is forgotten now
                    old.unlink()
                write_atomically(mark, self._fingerprint.encode())
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()
        except Timeout:
            raise BenchError(f"another run is using {self.path}: wait for it, or give this one another NAME") from None
        except OSError as error:
            if self._lock is not None:
                self._lock.release()
            raise storage_error(error, str(self.path)) from error
        return self

    def _clear_leavings(self) -> None:
        """Remove what a run that was killed has left half done."""
        for left in [*self.path.glob(f"{_OLD}*"), *(self.path / "launches").glob(".partial-*")]:
            shutil.rmtree(left, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        processes = sorted(self.work.glob("[0-9]*"))
        for old in self.path.glob("sim*.log") if processes else ():
            old.unlink()
        for process in processes:
            number = "" if process.name == "0" else f"-{process.name}"
            if (process / "sim.log").exists():
                (process / "sim.log").replace(self.path / f"sim{number}.log")
        shutil.rmtree(self.work, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()


def _numbered(index: int, name: str) -> str:
    return f"{index:03d}-" + "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def _holds(path: Path, size: int) -> bool:
    """Whether an array of so many bytes can be read from a file."""
    try:
        return np.load(path, mmap_mode="r").nbytes == size
    except (OSError, ValueError, EOFError):
        return False
