"""Progress of a run on the terminal: a live line where there is a terminal, one line per layer elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler.program import HostStep, Step
from tb.job import LaunchResult
from tb.run import Watcher
from tb.session import Event

__all__ = ["ConsoleWatcher", "time_left"]


def time_left(cycles_left: float, cycles_per_s: float) -> str:
    """'1:05 left', or '' while the speed is unknown."""
    if cycles_per_s <= 0:
        return ""
    minutes, seconds = divmod(round(cycles_left / cycles_per_s), 60)
    return f"{minutes}:{seconds:02d} left"


class ConsoleWatcher(Watcher):
    """Shows stage or layer, simulated cycles, speed and the time left by the estimator's prediction."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._launches: Sequence[Step] = ()
        self._expected: list[float] = []
        self._cycles = self._seconds = 0.0
        self._started = time.perf_counter()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, note="")
        self._progress.start()

    def stage(self, text: str) -> None:
        self._progress.update(self._task, description=text, total=None)
        if not self._console.is_terminal:
            self._console.print(f"[{time.perf_counter() - self._started:6.1f} s] {text}", markup=False)

    def plan(self, launches: Sequence[Step], estimates: Sequence[int]) -> None:
        self._launches = launches
        self._expected = [float(max(estimate, 1)) for estimate in estimates]
        self._progress.update(self._task, total=sum(self._expected), completed=0)

    def kept(self, index: int, result: LaunchResult) -> None:
        self._line(index, f"kept from an earlier run, {result.cycles:,} cycles")
        self._advance(index + 1, 0.0, "")

    def event(self, index: int, event: Event) -> None:
        name = self._launches[index].name
        if event["event"] == "start":
            self._progress.update(self._task, description=f"{name} ({index + 1} of {len(self._launches)})")
        elif event["event"] == "progress":
            speed = event["cycles"] / max(event["sim_s"], 1e-9)
            share = min(event["cycles"] / self._expected[index], 1.0)
            self._advance(index, share, self._note(index, share, event["cycles"], speed))
        elif event["event"] == "finish":
            self._cycles += event["cycles"]
            self._seconds += event["sim_s"]
            speed = event["cycles"] / max(event["sim_s"], 1e-9)
            verdict = "" if event["ok"] else "FAILED, "
            simulated = f"{event['cycles']:,} cycles at {speed / 1e3:.0f} k cycles/s"
            on_host = isinstance(self._launches[index], HostStep)
            self._line(index, verdict + ("computed on the host" if on_host else simulated))
            self._advance(index + 1, 0.0, self._note(index + 1, 0.0, 0, self._cycles / max(self._seconds, 1e-9)))

    def done(self) -> None:
        self._progress.stop()

    def _note(self, index: int, share: float, cycles: int, speed: float) -> str:
        left = sum(self._expected[index:]) - share * (self._expected[index] if index < len(self._expected) else 0)
        return f"{self._cycles + cycles:,.0f} cycles, {speed / 1e3:.0f} k cycles/s, {time_left(left, speed)}"

    def _advance(self, index: int, share: float, note: str) -> None:
        part = share * self._expected[index] if index < len(self._expected) else 0.0
        self._progress.update(self._task, completed=sum(self._expected[:index]) + part, note=note)

    def _line(self, index: int, text: str) -> None:
        elapsed = time.perf_counter() - self._started
        self._console.print(f"[{elapsed:6.1f} s] {self._launches[index].name}: {text}", markup=False, highlight=False)
