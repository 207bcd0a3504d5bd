"""The folder of a run: results of finished launches, kept as long as what determines them stays the same."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from tb.errors import BenchError
from tb.job import LaunchResult, write_atomically

__all__ = ["RunDir"]


class RunDir:
    """`runs/<name>`: fingerprint, launches/NNN-<name>/, sim.log, summary.json. Use as a context manager.

    Opening it with another fingerprint than last time forgets the launches kept there.
    """

    def __init__(self, path: Path, fingerprint: str, *, fresh: bool = False) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self._fresh = fresh
        self._lock: FileLock | None = None

    @property
    def work(self) -> Path:
        """Scratch space of the simulator process; removed at the end."""
        return self.path / "work"

    def launch(self, index: int, name: str) -> Path:
        """Where the result of a launch is, or will be."""
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
        return self.path / "launches" / f"{index:03d}-{safe}"

    def result(self, index: int, name: str) -> LaunchResult | None:
        """A finished launch, if it ended well."""
        result = LaunchResult.load(self.launch(index, name))
        return result if result is not None and result.ok else None

    def __enter__(self) -> RunDir:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
            mark = self.path / "fingerprint"
            known = mark.read_text() if mark.exists() else None
            if self._fresh or known != self._fingerprint:
                shutil.rmtree(self.path / "launches", ignore_errors=True)
                (self.path / "summary.json").unlink(missing_ok=True)
                write_atomically(mark, self._fingerprint.encode())
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()
        except Timeout:
            raise BenchError(f"another run is using {self.path}: wait for it, or give this one another NAME") from None
        except OSError as error:
            raise BenchError(f"cannot write {self.path}: {error.strerror or error}; choose another place") from error
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("sim.log", "dump.vcd"):
            if (self.work / name).exists():
                (self.work / name).replace(self.path / name)
        shutil.rmtree(self.work, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()
