"""Runs of a small network that are killed at any moment, and what must hold of the folder that they leave.

A run is a process forked from this one, so that the workload is prepared once. It, or a simulator of it, gets SIGKILL
after a random time, or at an event of its own; then every launch that the folder holds must be whole and stay as it is
for good, a summary must tell the truth, and no process may be left.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tb.cli import main
from tb.report.summary import Summary
from tb.report.watcher import Watcher
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import Workload
from tb.sim.job import LaunchResult
from tb.sim.session import Event

__all__ = ["Attempt", "Killer", "Trap", "campaign", "simulators"]

PATIENCE_S = 300.0
"""Longest time that anything may take on a busy machine."""

_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Attempt:
    """What one run left behind."""

    status: int
    """Exit status; negative for a signal."""
    finished: dict[str, int]
    """Finished launches by folder name, with the time stamps of their results."""
    summary: dict | None


class Trap(Watcher):
    """Kills the process that runs it at the first event, of a launch by its number, for which `when` holds."""

    def __init__(self, when: Callable[[int, Event], bool]) -> None:
        self.when = when

    def event(self, index: int, event: Event) -> None:
        if self.when(index, event):
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Killer:
    """Starts runs of one workload in one folder, kills them, looks at what is left."""

    options: RunOptions
    workload: Workload
    net: str
    launches: int
    log: Path
    attempts: list[Attempt] = field(default_factory=list)
    run_s: float = 0.0
    """Of the longest run so far."""

    @property
    def folder(self) -> Path:
        return self.options.runs_dir / self.options.name

    def attempt(
        self, victim: str | None, after_s: float = 0.0, *, fresh: bool = False, trap: Trap | None = None
    ) -> Attempt:
        """One run, and SIGKILL to its "parent" or a "simulator" after some time; None: to its end, or into a trap.

        Raises
        ------
        AssertionError
            If it leaves a process, half a launch, a lying summary, or has lost a launch of the run before.
        """
        before = {} if fresh or not self.attempts else self.attempts[-1].finished
        began = time.monotonic()
        process = _FORK.Process(target=self._run, args=(fresh, trap))
        process.start()
        assert process.pid is not None
        if victim is not None:
            time.sleep(after_s)
            targets = [process.pid] if victim == "parent" else simulators(self.folder)[:1]  # the others must end, too
            for target in targets:
                _kill(target)
        process.join(PATIENCE_S)
        assert process.exitcode is not None, "a run hangs"
        self.run_s = max(self.run_s, time.monotonic() - began)
        _expect_none(self.folder)
        attempt = Attempt(process.exitcode, self._finished(), self._summary())
        self.attempts.append(attempt)
        kept = {name: stamp for name, stamp in attempt.finished.items() if name in before}
        assert kept == before, f"finished launches {before} became {kept}"
        self._check(attempt)
        return attempt

    def _run(self, fresh: bool, trap: Trap | None) -> None:
        """In the forked process: as the command line does it, with its lines and statuses."""
        sys.stderr = self.log.open("w")

        def app() -> None:
            summary = Run(replace(self.options, fresh=fresh), lambda: self.workload, self.net, trap).execute()
            if summary.failure:
                sys.stderr.write(f"failed: {summary.failure}\n")
            sys.exit(0 if summary.bit_exact else 1)

        main(app)

    def _finished(self) -> dict[str, int]:
        found = {}
        for folder in sorted((self.folder / "launches").glob("[0-9]*")):
            result = LaunchResult.load(folder)
            assert result is not None, f"{folder.name} is there, but not whole"
            assert result.ok
            regions = list(folder.glob("*.npy"))
            assert regions
            for region in regions:
                np.load(region)
            found[folder.name] = (folder / "result.json").stat().st_mtime_ns
        return found

    def _summary(self) -> dict | None:
        path = self.folder / "summary.json"
        return json.loads(path.read_text()) if path.exists() else None

    def _check(self, attempt: Attempt) -> None:
        summary = attempt.summary
        if attempt.status == 0:
            assert summary is not None
            assert summary["bit_exact"]
        if summary is None:
            assert attempt.status != 0
            return
        assert summary.keys() >= set(Summary.__dataclass_fields__)
        assert len(summary["layers"]) <= len(attempt.finished)
        whole = len(summary["layers"]) == self.launches and summary["failure"] is None
        assert summary["bit_exact"] == whole
        assert whole or summary["failure"]


def simulators(folder: Path) -> list[int]:
    """Simulator processes that work on a run's folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(word.startswith(f"+job={folder.resolve() / 'work'}/") for word in command):
                found.append(int(process.name))
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was quicker
        os.kill(pid, signal.SIGKILL)


def _expect_none(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while left := simulators(folder):
        assert time.monotonic() < deadline, f"simulators {left} outlive their run"
        time.sleep(0.05)


def campaign(killer: Killer, kills: int, seed: int) -> None:
    """Kill runs at random times, parents and simulators alike; each goes on from what the one before has left."""
    rng = random.Random(seed)
    fresh = False
    for _ in range(kills):
        victim = rng.choice(("parent", "parent", "simulator"))
        attempt = killer.attempt(victim, rng.uniform(0, killer.run_s), fresh=fresh)
        fresh = attempt.status == 0 or len(attempt.finished) == killer.launches
    last = killer.attempt(None)
    assert last.status == 0
    assert last.summary is not None
    assert len(last.summary["layers"]) == killer.launches
