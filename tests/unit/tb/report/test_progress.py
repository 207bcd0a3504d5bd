"""Progress of runs: what reaches the terminal and the pipe."""

from __future__ import annotations

import io
import json
import os
from types import SimpleNamespace

import pytest
from rich.console import Console

from tb.report.progress import ConsoleWatcher, is_live, pipe_relay
from tb.sim.job import LaunchResult

LAUNCHES = [SimpleNamespace(name="conv1", parts=[None]), SimpleNamespace(name="conv2", parts=[None])]


def event(kind: str, cycles: int = 0, process: int = 0, passed: int = 0) -> dict:
    figures = {} if kind == "start" else {"cycles": cycles, "sim_s": 1.0, "ok": True, "passed": passed}
    return {"event": kind, "process": process, **figures}


def test_relay_hears_the_share_of_the_predicted_cycles() -> None:
    heard = []
    console = Console(file=io.StringIO())
    watcher = ConsoleWatcher(console, lambda text, share: heard.append((text, share)))
    watcher.stage("scheduling")
    watcher.plan(LAUNCHES, [100, 300])
    watcher.kept(0, LaunchResult("conv1", {"status": "done", "cycles": 101}, 1.0, {}, []))
    watcher.processes(1, "")
    watcher.event(1, event("start"))
    watcher.event(1, event("progress", 150))
    watcher.event(1, event("progress", 900))  # a wrong prediction is no more than all of it
    watcher.event(1, event("finish", 900))
    watcher.done()
    assert heard == [
        ("scheduling", 0.0), ("", 0.25), ("conv2", 0.25), ("conv2", 0.625), ("conv2", 1.0), ("", 1.0),
    ]  # fmt: skip
    lines = [line.partition("] ")[2] for line in console.file.getvalue().splitlines()]
    assert lines == [
        "scheduling", "conv1: kept from an earlier run, 101 cycles", "conv2: 900 cycles at 1 k cycles/s",
    ]  # fmt: skip


def test_all_processes_are_shown_on_the_relay_in_the_log_and_on_a_terminal() -> None:
    heard = []
    log, terminal = Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True, width=100)
    watchers = [ConsoleWatcher(log, lambda text, share: heard.append((text, share))), ConsoleWatcher(terminal)]
    for watcher in watchers:
        watcher.plan(LAUNCHES, [100, 300])
        watcher.processes(2, "2 instead of 3 simulators at once: each takes 300 MB of memory")
        watcher.event(1, event("start", process=0))
        watcher.event(0, event("start", process=1))
        watcher.event(1, event("progress", 150, process=0))
    watchers[1].done()
    for text in ("0 of 2 layers", "conv1", "conv2", "150 cycles"):
        assert text in terminal.file.getvalue()
    watchers[0].event(0, event("finish", 100, process=1))
    watchers[0].done()
    assert heard == [("conv2", 0.0), ("conv1 + conv2", 0.0), ("conv1 + conv2", 0.375), ("conv2", 0.625)]
    lines = [line.partition("] ")[2] for line in log.file.getvalue().splitlines()]
    assert lines == [
        "2 instead of 3 simulators at once: each takes 300 MB of memory",
        "conv1: 100 cycles at 0 k cycles/s, process 2",
    ]


def test_long_names_leave_room_beside_the_bar() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    watcher = ConsoleWatcher(console)
    watcher.plan([SimpleNamespace(name="/model/features.17/conv/conv.2/Conv", parts=[None])], [100])
    watcher.event(0, event("start", 0))
    watcher.event(0, event("progress", 50))
    watcher.done()
    assert "/model/fea\u2026nv.2/Conv (1 of 1)" in console.file.getvalue()
    assert "50 cycles, 0 k cycles/s" in console.file.getvalue()


def test_a_launch_advances_layer_by_layer() -> None:
    """By its marks where it has some: by cycles within a layer, which no wrong prediction leaves."""
    heard = []
    log, terminal = Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True, width=100)
    parts = [SimpleNamespace(name=name) for name in ("conv2", "conv3", "fc")]
    launches = [LAUNCHES[0], SimpleNamespace(name="conv2..fc", parts=parts)]
    watchers = [ConsoleWatcher(log, lambda text, share: heard.append((text, share))), ConsoleWatcher(terminal)]
    for watcher in watchers:
        watcher.plan(launches, [100, 300], [[], [100.0, 150.0, 50.0]])
        watcher.event(0, event("start"))
        watcher.event(0, event("finish", 100))
        watcher.event(1, event("start"))
        watcher.event(1, event("progress", 60))
        watcher.event(1, event("progress", 180))  # slower than predicted: still in the first
        watcher.event(1, event("progress", 190, passed=2))  # faster: two at once
    watchers[1].done()
    assert "fc (4 of 4)" in terminal.file.getvalue()
    watchers[0].event(1, event("finish", 220))
    watchers[0].done()
    assert heard[-5:] == [("conv2", 0.25), ("conv2", 0.4), ("conv2", 0.5), ("fc", 0.875), ("", 1.0)]
    lines = [line.partition("] ")[2] for line in log.file.getvalue().splitlines()]
    assert lines == [
        "conv1: 100 cycles at 0 k cycles/s",
        "conv2: done, 2 of 4 layers",
        "conv3: done, 3 of 4 layers",
        "conv2..fc: 220 cycles at 0 k cycles/s",
    ]


def test_a_launch_without_marks_advances_by_cycles() -> None:
    heard = []
    parts = [SimpleNamespace(name=name) for name in ("conv2", "conv3")]
    watcher = ConsoleWatcher(Console(file=io.StringIO()), lambda text, share: heard.append((text, share)))
    watcher.plan([SimpleNamespace(name="conv2..conv3", parts=parts)], [300], [[]])
    watcher.event(0, event("start"))
    watcher.event(0, event("progress", 60))
    watcher.done()
    assert heard == [("conv2..conv3", 0.0), ("conv2..conv3", 0.2)]


def test_pipe_carries_lines_until_nobody_reads_it() -> None:
    read_end, write_end = os.pipe()
    relay = pipe_relay(write_end)
    relay("conv1", 0.5)
    assert json.loads(os.read(read_end, 100)) == ["conv1", 0.5]
    os.close(read_end)
    try:
        with pytest.raises(KeyboardInterrupt):
            relay("conv1", 0.6)
    finally:
        os.close(write_end)


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_is_redrawn_if_it_has_widgets(widgets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tb.report.progress.find_spec", lambda name: object() if widgets else None)
    assert is_live(Console(file=io.StringIO(), force_jupyter=True)) is widgets
    assert is_live(Console(file=io.StringIO(), force_terminal=True))
    assert not is_live(Console(file=io.StringIO(), force_jupyter=False, force_terminal=False))
