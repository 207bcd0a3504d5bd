"""All of a run but the simulation: what would run where, and what the estimator expects of it."""

from __future__ import annotations

from tb.model.build import emit_chip
from tb.report.provenance import provenance
from tb.report.summary import Summary
from tb.report.watcher import Watcher
from tb.run.facts import estimated_summary
from tb.run.identity import fingerprint
from tb.run.preparation import schedule_on_chip
from tb.run.request import Request

__all__ = ["estimate_request"]


def estimate_request(request: Request, watcher: Watcher | None = None, *, identify: bool = False) -> Summary:
    """The summary of a run that is not simulated: cycles of its layers are estimates alone.

    Parameters
    ----------
    identify : bool
        Tell the fingerprint of the run as well, for which the chip's Verilog is generated.

    Raises
    ------
    BenchError, GoldenError, ParameterError, PlanError, RunError
        As of a run.
    """
    options, watcher = request.options, watcher or Watcher()
    watcher.stage("quantising the network and computing the golden results")
    loaded = request.load()
    watcher.stage("scheduling")
    workload, scheduled = schedule_on_chip(loaded, options)
    summary = estimated_summary(request.net, options, workload, scheduled)
    if identify:
        mark = fingerprint(options, workload, scheduled.plan, emit_chip(options.chip))
        summary.provenance = provenance(mark)
    return summary
