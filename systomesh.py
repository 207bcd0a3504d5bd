"""systomesh from Python: `systomesh.run("lenet5", cores=1)`. docs/python.md shows how.

The name that users import, and nothing else: `tb.api` does what is done.
"""

from __future__ import annotations

from rtl.contract.errors import SystomeshError
from rtl.contract.params import ChipParams, CoreParams
from tb.api.calls import chip, estimate, run, schedule
from tb.api.results import EstimateResult, RunResult, ScheduleResult
from tb.api.table import LayerTable
from tb.report.summary import LayerSummary

__all__ = [
    "ChipParams", "CoreParams", "EstimateResult", "LayerSummary", "LayerTable", "RunResult", "ScheduleResult",
    "SystomeshError", "chip", "estimate", "run", "schedule",
]  # fmt: skip
