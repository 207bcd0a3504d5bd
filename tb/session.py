"""Runs a job in a simulator process and passes its events on while it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tb.build import Model
from tb.errors import BenchError, RunError
from tb.job import Job, LaunchResult, save_job

__all__ = ["Event", "executed_tests", "run_job", "run_test_module"]

Event = dict[str, Any]
_LOG_TAIL_LINES = 15


def run_job(
    model: Model, job: Job, work_dir: Path, on_event: Callable[[Event], None] | None = None
) -> list[LaunchResult]:
    """Run a job to its end, or to its first launch that fails; the results of the launches that ran.

    Raises
    ------
    RunError
        If the simulator process itself failed. Finished launches stay in their result directories.
    BenchError
        If it could not write a result.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    save_job(job, work_dir / "job.pickle")

    def watch(event: Event) -> None:
        if event["event"] == "refused":
            raise BenchError(event["reason"])
        if on_event is not None:
            on_event(event)

    run_test_module(
        model, "tb.bench", work_dir, plusargs=[f"+job={work_dir.resolve() / 'job.pickle'}"], on_event=watch
    )
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
    env: dict[str, str] | None = None,
) -> None:
    """Run a cocotb test module in the model; its tests may write events to descriptor `+events`.

    Raises
    ------
    RunError
        If a test fails, the simulator dies, or not exactly `expected_tests` tests ran.
    """
    work_dir = work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    results, log = work_dir / "results.xml", work_dir / "sim.log"
    results.unlink(missing_ok=True)
    read_end, write_end = os.pipe()
    with log.open("wb") as log_file, os.fdopen(read_end, "rb") as events:
        process = subprocess.Popen(
            model.command([*(plusargs or []), f"+events={write_end}", f"+parent={os.getpid()}"]),
            cwd=work_dir,
            env={**model.environment(module, results), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
        )
        os.close(write_end)
        try:
            for line in events:
                if on_event is not None:
                    on_event(json.loads(line))
            status = process.wait()
        except BaseException:
            _stop(process)
            raise
    try:
        ran, failed = executed_tests(results)
    except (OSError, ElementTree.ParseError):
        raise _error(f"the simulator {_ending(status)} before it had a result", log) from None
    if failed or status != 0 or ran != expected_tests:
        tests = f"{failed} of {ran} tests failed ({expected_tests} expected)"
        raise _error(f"{tests}, the simulator {_ending(status)}", log)


def executed_tests(results: Path) -> tuple[int, int]:
    """How many cocotb tests ran to their end, and how many of them failed; a skipped test has not run.

    Raises
    ------
    OSError, xml.etree.ElementTree.ParseError
        If the simulator left no results.
    """
    ran = [test for test in ElementTree.parse(results).iter("testcase") if test.find("skipped") is None]
    return len(ran), sum(test.find("failure") is not None or test.find("error") is not None for test in ran)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End our own simulator process: a request first, then by force."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(request)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                continue


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
