"""A schedule before anything runs: as text to edit, as a plan, and as a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from golden.int8.qgraph import QGraph
from rtl.contract.params import ChipParams
from scheduler.kinds.fused import Fused
from scheduler.kinds.written import Written, write_schedule
from scheduler.plan.program import Plan
from tb.errors import BenchError
from tb.report.files import require_pictures
from tb.run.facts import describe_array
from tb.run.presets import MARKS
from tb.run.request import Request

__all__ = ["Draft"]


@dataclass(frozen=True)
class Draft:
    """The schedule that a request gets, searched once."""

    request: Request

    @cached_property
    def text(self) -> str:
        """A fused schedule as TOML; `SCHEDULE=FILE` of a run takes it back.

        Raises
        ------
        BenchError
            If the schedule is of another kind.
        """
        options, kind = self.request.options, self.request.options.kind()
        if not isinstance(kind, Fused):
            raise BenchError(f"SCHEDULE={options.schedule} is no text to edit; take SCHEDULE=fused")
        return write_schedule(self._graph, options.chip, options.settings, kind, self.request.batch)

    @cached_property
    def plan(self) -> Plan:
        """Programs and memory image; of a fused schedule, what its text says."""
        options, kind = self.request.options, self.request.options.kind()
        chip = _with_marks(options.chip)
        if not isinstance(kind, Fused):
            return kind.plan(self._graph, chip, options.settings, self.request.batch)
        with TemporaryDirectory(prefix="systomesh-draft-") as folder:
            file = Path(folder) / "plan.toml"
            file.write_text(self.text)
            written = Written(file, kind.overlap, kind.sparse)
            return written.plan(self._graph, chip, options.settings, self.request.batch)

    def picture(self, core: int = 0) -> str:
        """What lies where in a core's scratchpad over time, as SVG.

        Raises
        ------
        BenchError
            If Matplotlib is missing.
        """
        require_pictures()
        from tb.report.picture import draw_plan  # Matplotlib, for which nobody else should wait

        options, batch = self.request.options, self.request.batch
        chip = options.chip
        mesh = f"{chip.mesh_width} x {chip.mesh_height} cores of {describe_array(chip)}"
        pictures = f", {batch} pictures" if batch > 1 else ""
        title = f"{self.request.net} on {mesh}, {options.schedule}{pictures}"
        return draw_plan(self.plan, options.settings, title, core)

    @cached_property
    def _graph(self) -> QGraph:
        return replace(self.request, batch=1).load().graph  # that of one picture is the graph of all


def _with_marks(chip: ChipParams) -> ChipParams:
    """The same with a trace memory in every core, so that the layers of a launch are told apart."""
    return replace(chip, cores=tuple(replace(core, marks=max(MARKS, core.marks)) for core in chip.cores))
