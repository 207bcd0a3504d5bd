"""Many runs, several at once: each in a process of its own, those that are up to date not at all.

A run is `tb.cli sim`, so it goes on where an earlier one was interrupted and keeps what its own fingerprint allows.
Beside that, a run that ended well leaves a mark of every source file it came from, of what it was asked for and of its
result: as long as none changes, it need not even be prepared again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

import estimator
import golden
import rtl
import scheduler
import tb
from golden.zoo import ZOO
from tb.errors import BenchError
from tb.files import write_atomically
from tb.model.cache import content_key
from tb.report.provenance import TOOLS
from tb.run.capacity import processors
from tb.run.request import Request

__all__ = ["Campaign", "CampaignWatcher", "Case", "CaseResult", "Task", "sim_command", "source_key"]

_STOP_S = 20
"""What an interrupted run may take to end its simulator."""
_ASIDE = ("api", "bench", "calibration", "experiment", "fuzz", "structure")
"""Rooms of `tb` that no run looks into."""


class Task(Protocol):
    """A run of a campaign; equal ones are one."""

    @property
    def name(self) -> str:
        """Name of the run, whose folder is `runs/<name>`."""
        ...

    @property
    def work(self) -> float:
        """How long it takes beside the others, in any unit."""
        ...

    @property
    def arguments(self) -> Sequence[str]:
        """The command of `tb.cli`, `sim` or `check`, and its options beside the name."""
        ...

    @property
    def identity(self) -> str:
        """What it asks for, apart from the sources."""
        ...

    @property
    def result(self) -> str:
        """The file that it leaves in its folder."""
        ...


T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Case:
    """A network of the zoo on a preset chip.

    Attributes
    ----------
    schedule : str, optional
        Kind of schedule; that of `make sim` otherwise.
    """

    net: str
    cores: int
    schedule: str | None = None

    @cached_property
    def request(self) -> Request:
        """What `make sim` is asked for."""
        return Request(net=self.net, cores=self.cores, schedule=self.schedule)

    @property
    def name(self) -> str:
        """Name of the run, the same as that of `make sim`."""
        return self.request.options.name

    @property
    def work(self) -> float:
        """Multiply-accumulates: simulation takes as long, more or less, however many cores share them."""
        return ZOO[self.net]().macs

    @property
    def arguments(self) -> Sequence[str]:
        schedule = [] if self.schedule is None else ["--schedule", self.schedule]
        return "sim", "--net", self.net, "--cores", str(self.cores), *schedule

    @property
    def identity(self) -> str:
        return repr(self)

    @property
    def result(self) -> str:
        return "summary.json"


@dataclass(frozen=True)
class CaseResult(Generic[T]):
    """What became of a case."""

    case: T
    summary: dict[str, Any] | None
    """What the run's result says; None where the run ended without one."""
    failure: str | None = None
    """Why the case counts as failed, in one line."""
    kept: bool = False
    """Nothing was run: all was up to date."""


class CampaignWatcher:
    """An observer of a campaign, told what it does from several threads; this one does nothing."""

    def start(self, case: Task) -> None:
        """A run begins."""

    def progress(self, case: Task, text: str, share: float) -> None:
        """What a run does, and the share of its cycles that is done."""

    def finish(self, result: CaseResult[Any]) -> None:
        """A case has ended, or needs no run."""


def largest_first(case: Task) -> float:
    """A key by which no long run is left over at the end."""
    return -case.work


def sim_command(case: Task, progress_fd: int, processes: int | None) -> list[str]:
    """The command of a run, which reports its progress to a descriptor; None: as many simulators as it likes."""
    limit = [] if processes is None or case.arguments[0] != "sim" else ["--jobs", str(processes)]
    return [
        sys.executable, "-m", "tb.cli", *case.arguments, "--name", case.name, "--progress-fd", str(progress_fd), *limit
    ]  # fmt: skip


def source_key() -> str:
    """Digest of all that results come from: every file of the packages that runs use, and the versions of the tools."""
    parts: list[str | Path] = [f"{name} {metadata.version(name)}" for name in TOOLS]
    for package in (rtl, golden, scheduler, estimator, tb):
        root = Path(package.__path__[0])
        aside = {root / room for room in _ASIDE} if package is tb else set()
        files = (p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        for file in sorted(file for file in files if aside.isdisjoint(file.parents)):
            parts += [str(file.relative_to(root.parent)), file]
    return content_key(parts)


@dataclass
class Campaign:
    """Runs cases, `jobs` at once; one that fails does not stop the others.

    A run alone has all processors; several at once divide them.
    """

    jobs: int = 1
    runs_dir: Path = Path("runs")
    command: Callable[[Any, int, int | None], list[str]] = sim_command
    sources: Callable[[], str] = source_key

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise BenchError(f"JOBS is {self.jobs}: it must be 1 or more")
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._processes = None if self.jobs == 1 else max(1, processors() // self.jobs)

    def run(
        self, cases: Sequence[T], watcher: CampaignWatcher | None = None, order: Callable[[T], Any] = largest_first
    ) -> list[CaseResult[T]]:
        """Results in the order of the cases; they are begun in that of their keys.

        An interrupt ends the runs under way and is raised again.
        """
        watcher = watcher or CampaignWatcher()
        key = self.sources()
        order_of_start = sorted(dict.fromkeys(cases), key=order)
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {case: pool.submit(self._one, case, key, watcher) for case in order_of_start}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
                return [futures[case].result() for case in cases]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise

    def kept(self, case: T, key: str) -> CaseResult[T] | None:
        """The result that an earlier campaign left, if it is up to date with the sources of that key."""
        folder = self.runs_dir / case.name
        with contextlib.suppress(OSError, ValueError):
            content = (folder / case.result).read_bytes()
            if _mark(folder, case).read_text() == content_key([key, case.identity, content]):
                return CaseResult(case, json.loads(content), kept=True)
        return None

    def _one(self, case: T, key: str, watcher: CampaignWatcher) -> CaseResult[T]:
        result = self.kept(case, key) or self._simulate(case, key, watcher)
        watcher.finish(result)
        return result

    def _simulate(self, case: T, key: str, watcher: CampaignWatcher) -> CaseResult[T]:
        watcher.start(case)
        folder = self.runs_dir / case.name
        file = folder / case.result
        before = _identity(file)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            status = self._call(case, folder / "bench.log", watcher)
        except OSError as error:
            return CaseResult(case, None, f"cannot run in {folder}: {error.strerror or error}")
        # A run that never came to its simulation leaves the summary of an earlier one alone.
        if status not in (0, 1) or _identity(file) in (None, before):
            return CaseResult(case, None, _explain(status, folder / "bench.log"))
        content = file.read_bytes()
        summary = json.loads(content)
        if status or not summary.get("bit_exact", True):  # a check has no bits
            failure = summary["first_difference"] or summary["failure"] or f"ended with status {status}"
            return CaseResult(case, summary, failure.splitlines()[0])
        if self.sources() == key:  # else the sources were edited meanwhile, and nobody knows which of them it ran
            write_atomically(_mark(folder, case), content_key([key, case.identity, content]).encode())
        return CaseResult(case, summary)

    def _call(self, case: Task, log: Path, watcher: CampaignWatcher) -> int:
        """The exit status of a run, its output in a file."""
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as progress, log.open("wb") as output:
            try:
                process = self._spawn(self.command(case, write_end, self._processes), write_end, output.fileno())
            finally:
                os.close(write_end)
            try:
                for line in progress:
                    watcher.progress(case, *json.loads(line))
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def _spawn(self, command: list[str], write_end: int, output: int) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            # A session of its own: an interrupt from the terminal reaches the campaign, which ends its runs.
            process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, pass_fds=(write_end,),
                start_new_session=True,
            )  # fmt: skip
            self._running.add(process)
            return process

    def _stop(self) -> None:
        """End our own runs: a request first, which lets them keep their finished layers, then by force."""
        with self._lock:
            self._stopped = True
            processes = list(self._running)
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _mark(folder: Path, case: Task) -> Path:
    """The file that says what a result came from."""
    return (folder / case.result).with_suffix(".key")


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells one version of a file from the next; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _explain(status: int, log: Path) -> str:
    """Why a run has no summary: its own last words, unless it was ended from outside."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if status in (1, 2) and lines:
        return lines[-1].removeprefix("systomesh: ")
    return f"ended with status {status}, see {log}"
