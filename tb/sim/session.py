"""Simulator processes: started, given launches, heard while they run, judged at their end, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

from tb.errors import BenchError, RunError
from tb.model.build import Model
from tb.sim.job import HostJob, LaunchJob, LaunchResult, ProcessJob, save_job, send_launch

__all__ = ["Event", "Simulator", "executed_tests", "run_job", "run_test_module"]

Event = dict[str, Any]
_LOG_TAIL_LINES = 15
_STOP_S = 5
"""Time that a simulator may take to end when it is asked to."""


def run_job(
    model: Model,
    job: ProcessJob,
    work_dir: Path,
    on_event: Callable[[Event], None] | None = None,
    *,
    env: Mapping[str, str] | None = None,
) -> list[LaunchResult]:
    """Run a job to its end, or to its first launch that fails; the results of the launches that ran.

    `env` is set in the environment of the simulator process besides.

    Raises
    ------
    RunError
        If the simulator process itself failed. Finished launches stay in their result directories.
    BenchError
        If it could not write a result.
    """
    with Simulator(model, job, work_dir, env=env) as simulator:
        simulator.end()
        simulator.listen(on_event)
        simulator.judge()
    results = [LaunchResult.load(launch.result_dir) for launch in job.launches]
    return [result for result in results if result is not None]


def run_test_module(
    model: Model,
    module: str,
    work_dir: Path,
    *,
    plusargs: list[str] | None = None,
    expected_tests: int = 1,
    on_event: Callable[[Event], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a cocotb test module in the model; its tests may write events to descriptor `+events`.

    Raises
    ------
    RunError
        If a test fails, the simulator dies, or not exactly `expected_tests` tests ran.
    """
    with _Process(model, module, work_dir, plusargs or [], env=env) as process:
        process.listen(on_event)
        process.judge(expected_tests)


class _Process:
    """A simulator process with a test module in it. Use as a context manager: it ends when that is left."""

    def __init__(
        self,
        model: Model,
        module: str,
        work_dir: Path,
        plusargs: list[str],
        *,
        pass_fds: tuple[int, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        work_dir = work_dir.resolve()
        work_dir.mkdir(parents=True, exist_ok=True)
        self._results, self._log = work_dir / "results.xml", work_dir / "sim.log"
        self._results.unlink(missing_ok=True)
        self._partial = b""
        self._read_end, write_end = os.pipe()
        try:
            with self._log.open("wb") as log_file:
                self._process = subprocess.Popen(
                    model.command([*plusargs, f"+events={write_end}", f"+parent={os.getpid()}"]),
                    cwd=work_dir,
                    env={**model.environment(module, self._results), **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=subprocess.STDOUT,
                    pass_fds=(write_end, *pass_fds),
                )
        except BaseException:
            os.close(self._read_end)
            raise
        finally:
            os.close(write_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        os.close(self._read_end)

    def fileno(self) -> int:
        """The descriptor that is readable when `events` has something to say."""
        return self._read_end

    def events(self) -> list[Event] | None:
        """Waits for events and returns those that have come; None when there will be no more."""
        received = os.read(self._read_end, 1 << 16)
        if not received:
            return None
        *lines, self._partial = (self._partial + received).split(b"\n")
        return [json.loads(line) for line in lines]

    def listen(self, on_event: Callable[[Event], None] | None) -> None:
        """Pass all events on, as they come, until there are no more."""
        hear = on_event or (lambda _: None)
        while (events := self.events()) is not None:
            for event in events:
                hear(event)

    def judge(self, expected_tests: int = 1) -> None:
        """Wait for the end of the process; RunError unless so many tests ran, and well."""
        status = self._process.wait()
        try:
            ran, failed = executed_tests(self._results)
        except (OSError, ElementTree.ParseError):
            raise _error(f"the simulator {_ending(status)} before it had a result", self._log) from None
        if failed or status != 0 or ran != expected_tests:
            tests = f"{failed} of {ran} tests failed ({expected_tests} expected)"
            raise _error(f"{tests}, the simulator {_ending(status)}", self._log)

    def terminate(self) -> None:
        """Ask it to end, without waiting for that."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it: a request first, then by force."""
        for request in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(request)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=_STOP_S)


class Simulator(_Process):
    """A simulator process that does a job, and then the launches that it is given, until `end`."""

    def __init__(self, model: Model, job: ProcessJob, work_dir: Path, *, env: Mapping[str, str] | None = None) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        path = work_dir.resolve() / "job.pickle"
        save_job(job, path)
        read_end, write_end = os.pipe()
        try:
            plusargs = [f"+job={path}", f"+launches={read_end}"]
            super().__init__(model, "tb.sim.cocotb_job", work_dir, plusargs, pass_fds=(read_end,), env=env)
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        self._launches = os.fdopen(write_end, "wb")

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.end()

    def give(self, launch: LaunchJob | HostJob) -> None:
        """One more launch, behind those that it has. A process that is gone takes none: `judge` says why."""
        with contextlib.suppress(BrokenPipeError):
            send_launch(launch, self._launches)

    def end(self) -> None:
        """Close the pipe of launches: there will be no more."""
        with contextlib.suppress(BrokenPipeError):
            self._launches.close()

    def events(self) -> list[Event] | None:
        """The events that have come, as a process tells them; None when there will be no more.

        Raises
        ------
        BenchError
            If the process could not write a result.
        """
        events = super().events()
        for event in events or []:
            if event["event"] == "refused":
                raise BenchError(event["reason"])
        return events


def executed_tests(results: Path) -> tuple[int, int]:
    """How many cocotb tests ran to their end, and how many of them failed; a skipped test has not run.

    Raises
    ------
    OSError, xml.etree.ElementTree.ParseError
        If the simulator left no results.
    """
    ran = [test for test in ElementTree.parse(results).iter("testcase") if test.find("skipped") is None]
    return len(ran), sum(test.find("failure") is not None or test.find("error") is not None for test in ran)


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _error(what: str, log: Path) -> RunError:
    """An error of one line, with the last line of the log that names an error; the log's end is a note to it."""
    lines = log.read_text(errors="replace").splitlines()
    named = [line.strip() for line in lines if "rror" in line]
    error = RunError(f"{what}; its log says: {named[-1]}" if named else what)
    error.add_note("\n".join([f"end of {log}:", *lines[-_LOG_TAIL_LINES:]]))
    return error
