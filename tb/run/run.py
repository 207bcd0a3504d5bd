"""One run from a network and a chip to a verdict: load, schedule, build, simulate, compare, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tb.model.build import emit_chip
from tb.report.html.report import write_html
from tb.report.provenance import provenance
from tb.report.record import REPORT, RunRecord
from tb.report.summary import Summary
from tb.report.watcher import Watcher
from tb.run.energies import prices_of
from tb.run.facts import begin_summary, fill_summary
from tb.run.identity import fingerprint
from tb.run.launches import Launches
from tb.run.ledger import Ledger
from tb.run.options import RunOptions
from tb.run.preparation import ModelBuild, Scheduled, schedule_on_chip
from tb.run.rundir import RunDir
from tb.run.simulation import Simulation
from tb.run.timelines import write_timeline
from tb.run.twin import twin_cycles
from tb.run.waves import write_wave_sessions
from tb.run.workload import Workload
from tb.sim.job import LaunchResult

__all__ = ["Run"]


class Run:
    """One run of a workload on a chip.

    The model is built beside the preparation of the workload. Launches that an earlier run with the same fingerprint
    finished are kept, whichever they are; the rest are simulated in one process or several, each compared as soon as
    it ends.
    """

    def __init__(
        self, options: RunOptions, load: Callable[[], Workload], net: str, watcher: Watcher | None = None
    ) -> None:
        self.options = options
        self.net = net
        self.watcher = watcher or Watcher()
        self.scheduled: Scheduled | None = None
        """The plan, once it is made."""
        self.results: list[LaunchResult] = []
        """Of the steps that ended well, in the order of the plan, once all is done."""
        self._load = load

    def execute(self) -> Summary:
        """Do everything; the record is in runs/<name> when this returns (`tb.report.record`).

        Raises
        ------
        BenchError, GoldenError, PlanError
            For bad input, before anything is written to the run's folder.
        """
        options, watcher = self.options, self.watcher
        prices = prices_of(options.chip, options.energy)
        waves = options.waves.recording(emit_chip(options.chip)) if options.waves else None
        with ModelBuild(options) as build:
            watcher.stage("quantising the network and computing the golden results")
            workload = self._load()
            watcher.stage("scheduling")
            workload, scheduled = schedule_on_chip(workload, options)
            self.scheduled = scheduled
            twin = twin_cycles(workload, options)
            watcher.stage("building the simulation model")
            design, model = build.result(scheduled.plan.dram_bytes)
        plan = scheduled.plan
        summary = begin_summary(self.net, options, workload, scheduled, model)
        mark = fingerprint(options, workload, plan, design)
        summary.provenance = provenance(mark)
        with RunDir(options.folder, mark, fresh=options.fresh) as folder:
            ledger = Ledger(plan, workload.expected, folder, timeline=options.trace is not None)
            launches = Launches(
                plan, workload.expected, folder, watchdog_cycles=options.watchdog_cycles, timeline=options.timeline,
                waves=waves,
            )
            simulation = Simulation(options, model, launches, folder, ledger, watcher)
            again: list[range] = []
            if waves:
                folder.forget_dumps()
                again = ledger.worth_recording()
            left = self._resume(scheduled, ledger, again)
            crash = None
            try:
                for units in (again, [unit for unit in left if unit not in again]):
                    if units and ledger.good and not crash:
                        crash = simulation.run({unit: left[unit] for unit in units})
            finally:
                watcher.done()
            summary.processes, summary.simulation_s = simulation.processes, simulation.seconds
            summary.failure = ledger.failure() or crash
            mesh = fill_summary(
                summary, plan, ledger, scheduled.estimated_cycles, scheduled.estimated_parts, prices,
                scheduled.intervals, twin,
            )  # fmt: skip
            if options.waves:
                dumps = ledger.dumps()
                write_wave_sessions(dumps, options.waves, design)
                summary.waves = [str(dump.relative_to(folder.path.resolve())) for dump in dumps]
            write_timeline(options, plan, ledger.results, folder)
            record = RunRecord(options.name, summary, mesh)
            if options.report:
                write_html(folder.path / REPORT, [record])
            record.save(folder.path)  # last: who finds a summary finds all files
            self.results = [ledger.results[index] for index in sorted(ledger.results) if ledger.results[index].ok]
        return summary

    def _resume(self, scheduled: Scheduled, ledger: Ledger, again: Sequence[range]) -> dict[range, float]:
        """Keep what an earlier run has finished and is not run again; the units that are left, with the cycles expected
        of each."""
        self.watcher.forecast(scheduled.forecast)
        self.watcher.plan(scheduled.plan.steps, scheduled.estimated_cycles, scheduled.estimated_parts)
        left = ledger.resume(scheduled.estimated_cycles, again)
        for index, result in ledger.results.items():
            self.watcher.kept(index, result)
        return left
