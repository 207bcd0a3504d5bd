"""What the calls of `import systomesh` give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scheduler.plan.program import Plan
from tb.api.table import LayerTable
from tb.report.check import print_check
from tb.report.files import outputs, write_output
from tb.report.summary import Summary
from tb.report.terminal import plain_text, print_summary
from tb.run.draft import Draft
from tb.run.options import RunOptions

__all__ = ["EstimateResult", "RunResult", "ScheduleResult"]


@dataclass(frozen=True, eq=False)
class RunResult:
    """A network that was run on the RTL.

    Attributes
    ----------
    summary : Summary
        Everything that is known of it, as summary.json holds it.
    folder : Path
        Of its files.
    """

    summary: Summary
    folder: Path

    @cached_property
    def layers(self) -> LayerTable:
        """Cycles, bytes and bits by layer."""
        return LayerTable(self.summary)

    @property
    def bit_exact(self) -> bool:
        """Whether the run came to its end and every bit is the golden model's."""
        return self.summary.bit_exact

    @property
    def verdict(self) -> str:
        """'every bit equal', or what went wrong first, in one line."""
        return self.summary.verdict

    @property
    def cycles(self) -> int:
        """Of all launches together, counted by the RTL."""
        return self.summary.cycles

    @property
    def estimated_cycles(self) -> int:
        """What the estimator expected."""
        return self.summary.estimated_cycles

    @property
    def estimate_error(self) -> float | None:
        """Of the estimate, as a share of the cycles; positive where it is too high."""
        return self.summary.estimate_error

    @property
    def efficiency(self) -> float | None:
        """Lower bound of the cycles over the cycles; None unless the run is whole."""
        return self.summary.efficiency

    @property
    def dram_bytes(self) -> Mapping[str, int]:
        """That passed the memory nodes, by traffic class."""
        return self.summary.dram_bytes

    @property
    def paths(self) -> dict[str, Path]:
        """Files that the run left in its folder, by name."""
        files = sorted(file for file in self.folder.iterdir() if file.is_file() and not file.name.startswith("."))
        return {file.name: file for file in files}

    def __str__(self) -> str:
        """What `make sim` prints."""
        return plain_text(lambda console: print_summary(self.summary, console))

    def __repr__(self) -> str:
        return f"<{self.summary.name}: {self.cycles:,} cycles, {self.verdict}>"


@dataclass(frozen=True, eq=False)
class EstimateResult:
    """What is expected of a run; nothing was simulated.

    Attributes
    ----------
    summary : Summary
        As of a run, without what only the RTL knows.
    """

    summary: Summary

    @cached_property
    def layers(self) -> LayerTable:
        """Estimated cycles, and bytes, by layer."""
        return LayerTable(self.summary)

    @property
    def estimated_cycles(self) -> int:
        """Of all launches together."""
        return self.summary.estimated_cycles

    @property
    def interval(self) -> tuple[float, float] | None:
        """Cycles between which the run lies in more than nine cases of ten, where that is known."""
        return self.summary.estimated_interval

    @property
    def dram_bytes(self) -> Mapping[str, int]:
        """That would pass the memory nodes, by traffic class."""
        return self.summary.dram_bytes

    def __str__(self) -> str:
        """What `make check` prints."""
        return plain_text(lambda console: print_check(self.summary, console))

    def __repr__(self) -> str:
        return f"<{self.summary.name}: {self.estimated_cycles:,} cycles estimated>"


@dataclass(frozen=True, eq=False)
class ScheduleResult:
    """A schedule, searched when one of its forms is asked for first."""

    draft: Draft
    options: RunOptions

    @property
    def text(self) -> str:
        """A fused schedule as TOML, to edit; `run(net, schedule=FILE)` takes it back."""
        return self.draft.text

    @property
    def plan(self) -> Plan:
        """Programs and memory image."""
        return self.draft.plan

    @property
    def launches(self) -> list[list[str]]:
        """Layers by launch, in the order in which they are computed."""
        return [[part.name for part in launch.parts] for launch in self.plan.launches]

    def save(self, *paths: str | Path, core: int | None = None) -> list[Path]:
        """Write the text to .toml files, and a picture of a core's scratchpad to .svg files.

        Raises
        ------
        BenchError
            For other files, and where nothing can be written.
        """
        text = ",".join(map(str, paths))
        files = outputs(text, self.options.schedule, core, self.options.chip.n_cores)
        for file in files:
            write_output(file, self.text if file.suffix == ".toml" else self.draft.picture(core or 0))
        return files

    def __repr__(self) -> str:
        return f"<schedule of {self.options.name}>"
