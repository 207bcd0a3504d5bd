"""Progress of a run: a live line on terminals and in notebooks, one per layer elsewhere, and a pipe for a campaign.

A launch of many layers advances layer by layer, as its cores pass the marks between them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import accumulate

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from scheduler.plan.program import HostStep, Step
from tb.report.terminal import shorten
from tb.report.watcher import Watcher
from tb.sim.job import LaunchResult
from tb.sim.session import Event

__all__ = ["ConsoleWatcher", "Relay", "is_live", "pipe_relay", "time_left"]

NAME_WIDTH = 20
"""Width of a layer's name beside the bar."""

Relay = Callable[[str, float], None]
"""A listener to what a run does and which share of its cycles is done."""


def is_live(console: Console) -> bool:
    """Whether what is shown can be redrawn: on a terminal, and in a notebook that has its widgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


def time_left(cycles_left: float, cycles_per_s: float) -> str:
    """'1:05 left', or '' while the speed is unknown."""
    if cycles_per_s <= 0:
        return ""
    minutes, seconds = divmod(round(cycles_left / cycles_per_s), 60)
    return f"{minutes}:{seconds:02d} left"


def pipe_relay(descriptor: int) -> Relay:
    """Passes progress on to the process at the other end of a pipe, [text, share] as a line of JSON.

    A pipe that nobody reads any more ends the run like an interrupt: whoever asked for it is gone.
    """

    def relay(text: str, share: float) -> None:
        try:
            os.write(descriptor, (json.dumps([text, share]) + "\n").encode())
        except BrokenPipeError:
            raise KeyboardInterrupt from None

    return relay


class ConsoleWatcher(Watcher):
    """Shows stage or layers, simulated cycles, speed and the time left by the estimator's prediction.

    With several simulators there is a line for each below that of the whole run.
    """

    def __init__(self, console: Console, relay: Relay = lambda text, share: None) -> None:
        self._console = console
        self._live = is_live(console)
        self._relay = relay
        self._launches: Sequence[Step] = ()
        self._expected: list[float] = []
        self._shares: dict[int, float] = {}
        """The share that is done of each launch that has begun."""
        self._running: dict[int, int] = {}
        """The launch that each process runs."""
        self._part_ends: list[list[float]] = []
        """Of each launch, cycles that are expected up to the end of each of its parts."""
        self._passed: dict[int, int] = {}
        """Parts that each running launch has behind it."""
        self._cycles: dict[int, int] = {}
        self._speeds: dict[int, float] = {}
        """Simulated cycles per second by process."""
        self._started = time.perf_counter()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), console=console, transient=True, disable=not self._live,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, note="")
        self._lines: list[TaskID] = []
        self._progress.start()

    def stage(self, text: str) -> None:
        self._progress.update(self._task, description=text, total=None)
        self._relay(text, 0.0)
        if not self._live:
            self._say(text)

    def plan(
        self, launches: Sequence[Step], estimates: Sequence[int], parts: Sequence[Sequence[float]] = ()
    ) -> None:
        self._launches = launches
        self._part_ends = [list(accumulate(some)) for some in parts] or [[] for _ in launches]
        self._expected = [float(max(estimate, 1)) for estimate in estimates]
        self._progress.update(self._task, total=sum(self._expected), completed=0)

    def forecast(self, text: str) -> None:
        self._say(text)

    def kept(self, index: int, result: LaunchResult) -> None:
        self._say(f"{self._launches[index].name}: kept from an earlier run, {result.cycles:,} cycles")
        self._shares[index] = 1.0
        self._show()

    def processes(self, count: int, note: str) -> None:
        if note:
            self._say(note)
        if count > 1:
            self._lines = [self._progress.add_task("", total=1.0, note="") for _ in range(count)]

    def event(self, index: int, event: Event) -> None:
        process = event["process"]
        self._running[process] = index
        speed = event["cycles"] / max(event["sim_s"], 1e-9) if event.get("cycles") else 0.0
        if event["event"] == "start":
            self._shares[index] = 0.0
        elif event["event"] == "progress":
            self._advance(index, event["cycles"], event.get("passed", 0))
        elif event["event"] == "finish":
            self._shares[index] = 1.0
            self._passed.pop(index, None)
            del self._running[process]
            self._say_end(index, event, speed)
        if speed:
            self._cycles[index] = event["cycles"]
            self._speeds[process] = speed
        self._show()

    def _advance(self, index: int, cycles: int, passed: int) -> None:
        """By cycles against those expected, and never outside the part that the launch has reached."""
        ends = self._part_ends[index]
        done = min(float(cycles), self._expected[index])
        if passed < len(ends):
            done = min(max(done, ends[passed - 1] if passed else 0.0), ends[passed])
        self._shares[index] = min(done / self._expected[index], 1.0)
        for part in range(self._passed.get(index, 0), passed):
            self._passed[index] = part + 1
            if not self._live:
                name = self._launches[index].parts[part].name
                self._say(f"{name}: done, {self._finished()} of {self._total()} layers")

    def done(self) -> None:
        self._progress.stop()

    def _say_end(self, index: int, event: Event, speed: float) -> None:
        verdict = "" if event["ok"] else "FAILED, "
        where = f", process {event['process'] + 1}" if self._lines else ""
        simulated = f"{event['cycles']:,} cycles at {speed / 1e3:.0f} k cycles/s{where}"
        on_host = isinstance(self._launches[index], HostStep)
        self._say(f"{self._launches[index].name}: {verdict}" + ("computed on the host" if on_host else simulated))

    def _show(self) -> None:
        names = " + ".join(self._name(index) for index in sorted(self._running.values()))
        completed = sum(share * self._expected[index] for index, share in self._shares.items())
        speed = sum(self._speeds.values())
        left = time_left(sum(self._expected) - completed, speed)
        finished, total = self._finished(), self._total()
        count = f"{finished} of {total} layers"
        self._progress.update(
            self._task,
            description=count if self._lines or not names else f"{names} ({finished + 1} of {total})",
            completed=completed,
            note=f"{sum(self._cycles.values()):,} cycles, {speed / 1e3:.0f} k cycles/s, {left}",
        )
        for process, line in enumerate(self._lines):
            index = self._running.get(process)
            self._progress.update(
                line,
                description="" if index is None else self._name(index),
                completed=0.0 if index is None else self._shares[index],
                note=f"{self._speeds.get(process, 0.0) / 1e3:.0f} k cycles/s",
                visible=index is not None,
            )
        self._relay(names, completed / sum(self._expected))

    def _finished(self) -> int:
        """Layers that are done, each launch without parts being one."""
        ended = (index for index in self._shares if index not in self._running.values())
        return sum(len(self._launches[index].parts) for index in ended) + sum(self._passed.values())

    def _total(self) -> int:
        return sum(len(launch.parts) for launch in self._launches)

    def _name(self, index: int) -> str:
        """Of a launch, or of the part that it has reached."""
        launch, passed = self._launches[index], self._passed.get(index, 0)
        told_apart = passed < len(launch.parts) == len(self._part_ends[index])
        return shorten(launch.parts[passed].name if told_apart else launch.name, NAME_WIDTH)

    def _say(self, text: str) -> None:
        elapsed = time.perf_counter() - self._started
        self._console.print(f"[{elapsed:6.1f} s] {text}", markup=False, highlight=False)
