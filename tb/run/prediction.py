"""What a run is expected to do: its plan and the estimator's figures, with nothing built or simulated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtl.contract.isa import TrafficClass
from scheduler.plan.repeated import repeated_macs
from tb.errors import storage_error
from tb.files import write_atomically
from tb.report.summary import CAUSES
from tb.report.watcher import Watcher
from tb.run.bound import lower_bound_cycles
from tb.run.facts import describe_run, memory_facts
from tb.run.options import RunOptions
from tb.run.preparation import schedule_workload
from tb.run.workload import Workload

__all__ = ["PREDICTION", "predict"]

PREDICTION = "prediction.json"
"""Its file in the folder of the run."""


def predict(
    options: RunOptions, load: Callable[[], Workload], net: str, watcher: Watcher | None = None
) -> tuple[Path, dict[str, Any]]:
    """File and contents of a prediction: the figures of a run's summary that are known without it, by the same names.

    `dram_bytes` and `compute_cycles` are estimates, too; results of an earlier run stay as they are.

    Raises
    ------
    BenchError, GoldenError, PlanError
        For bad input, and if the file cannot be written.
    """
    watcher = watcher or Watcher()
    watcher.stage("quantising the network and computing the golden results")
    workload = load()
    watcher.stage("scheduling")
    scheduled = schedule_workload(workload, options)
    estimates = [estimate for estimate in scheduled.estimates if estimate is not None]
    plan, settings = scheduled.plan, options.settings
    classes = [traffic.name.lower() for traffic in TrafficClass]
    facts = {
        "net": net,
        "cores": options.chip.n_cores,
        "schedule": describe_run(plan, options),
        "pe_count": options.chip.pes,
        "memory": memory_facts(options),
        "batch": plan.batch,
        "lower_bound_cycles": lower_bound_cycles(plan, settings),
        "macs": sum(step.macs for step in plan.steps),
        "repeated_macs": repeated_macs(plan),
        "estimated_cycles": sum(scheduled.estimated_cycles),
        "dram_bytes": {name: sum(each.dram_bytes.get(name, 0) for each in estimates) for name in classes},
        "compute_cycles": {cause: sum(each.compute.get(cause, 0.0) for each in estimates) for cause in CAUSES},
        "schedule_s": scheduled.schedule_s,
    }
    file = options.folder / PREDICTION
    try:
        write_atomically(file, (json.dumps(facts, indent=1) + "\n").encode())
    except OSError as error:
        raise storage_error(error, str(file)) from error
    return file, facts
