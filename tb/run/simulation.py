"""The simulation of a run: how many processes share its launches, and what they are given and report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping

from tb.errors import BenchError, RunError
from tb.model.build import Model
from tb.report.watcher import Watcher
from tb.run.capacity import choose_processes
from tb.run.fleet import run_fleet
from tb.run.launches import Launches
from tb.run.ledger import Ledger
from tb.run.options import RunOptions
from tb.run.rundir import RunDir
from tb.run.shares import Shares
from tb.sim.job import ProcessJob
from tb.sim.session import Event

__all__ = ["Simulation"]


class Simulation:
    """The simulators of one run, in whose folder they work and whose ledger takes in what they finish."""

    def __init__(
        self, options: RunOptions, model: Model, launches: Launches, folder: RunDir, ledger: Ledger, watcher: Watcher
    ) -> None:
        self._options = options
        self._model = model
        self._launches = launches
        self._folder = folder
        self._ledger = ledger
        self._watcher = watcher
        self.processes = 0
        """Simulators that were started."""
        self.seconds = 0.0
        """Time from their start to the end of the last, of all calls of `run`."""

    def run(self, units: Mapping[range, float]) -> str | None:
        """Simulate units, each with the cycles that it is expected to take; why a simulator failed, or None.

        Each step is compared as soon as it ends; a wrong bit ends all processes.

        Raises
        ------
        BenchError
            If there is no room for it, in memory or on disk.
        """
        options, memory_bytes = self._options, self._launches.plan.dram_bytes
        count, note = choose_processes(
            options.jobs, units=len(units), cycles=sum(units.values()), memory_bytes=memory_bytes, sim=options.sim,
            waves=options.waves is not None,
        )  # fmt: skip
        self._watcher.processes(count, note)
        self._require_space(memory_bytes)
        image = self._launches.image()
        job = ProcessJob(options.chip, memory_bytes, memory=(image,), settings=options.settings)
        self.processes = max(self.processes, count)
        began = time.perf_counter()
        try:
            run_fleet(
                self._model, job, self._folder.work, count, self._launches, Shares(units, count), self._on_event
            )
        except RunError as error:
            return str(error)
        finally:
            self.seconds += time.perf_counter() - began
        return None

    def _on_event(self, index: int, event: Event) -> bool:
        """Pass an event on; False once a step has ended badly."""
        self._watcher.event(index, event)
        return event["event"] != "finish" or self._ledger.finish(index)

    def _require_space(self, memory_bytes: int) -> None:
        path = self._folder.path
        free = shutil.disk_usage(path).free
        if free < 2 * memory_bytes:
            raise BenchError(
                f"{path} has {free / 1e6:.0f} MB free and the run needs {2 * memory_bytes / 1e6:.0f} MB: free some "
                "space"
            )
