"""Energies of several networks, from the events of their programs; nothing is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from estimator.energy import CLASSES
from golden.zoo import ZOO
from scheduler.schedule import folds
from tb.errors import BenchError
from tb.files import named
from tb.report.files import write_output
from tb.report.markdown import table
from tb.report.summary import percent
from tb.run.facts import describe_array, estimated_summary
from tb.run.options import RunOptions
from tb.run.preparation import schedule_on_chip
from tb.run.workload import load_workload

__all__ = ["report_energies"]


@dataclass(frozen=True)
class _Row:
    """A network under one set of constants."""

    net: str
    set_name: str
    energy: dict[str, Any]

    def cells(self) -> list[str]:
        """Name, set, energy a multiply-accumulate, shares of the classes, and the energy-delay product."""
        unit, of, total = self.energy["unit"], self.energy["of"], self.energy["total"]
        each = "-" if self.energy["per_mac"] is None else f"{self.energy['per_mac']:.2f} {unit}"
        shares = [percent(of[name] / total, 0) if total else "-" for name in CLASSES]
        return [self.net, self.set_name, each, *shares, f"{self.energy['edp']:.2e}"]


def report_energies(nets: Sequence[str], options: RunOptions, console: Console, out: Path | None) -> None:
    """Print a table, a line for each network and set; write it as Markdown if asked to.

    Raises
    ------
    BenchError
        For a network that is not in the zoo.
    """
    for net in nets:
        if net not in ZOO:
            raise BenchError(f"NETS={net}: use some of {', '.join(sorted(ZOO))}, separated by commas")
    chip = options.chip
    title = f"{chip.n_cores} cores of {describe_array(chip)}, schedule {options.schedule}"
    header = ["network", "set", "per MAC", *CLASSES, "EDP"]
    console.print(f"{title}; estimated cycles; energies are for ratios between runs", highlight=False, soft_wrap=True)
    rows: list[_Row] = []
    for net in nets:
        with console.status(f"{net}: quantising and scheduling"):
            workload = load_workload(net, apart=not folds(options.schedule))
            summary = estimated_summary(net, options, *schedule_on_chip(workload, options))
        found = [_Row(net, name, energy) for name, energy in summary.energy.items()]
        for row in found:
            words = [f"{name} {cell}" for name, cell in zip(header[2:], row.cells()[2:], strict=True) if cell != "0 %"]
            console.print(f"{net}, {row.set_name}: {', '.join(words)}", highlight=False, soft_wrap=True)
        rows += found
        if out is not None:
            write_output(named(out, ".md"), _markdown(title, header, rows))
    if out is not None:
        console.print(f"table: {out}.md", highlight=False, soft_wrap=True)


def _markdown(title: str, header: Sequence[str], rows: Sequence[_Row]) -> str:
    note = (
        f"Energy by class, from the events of the programs: {title}. Made by `make energy`; EDP is energy times\n"
        "estimated cycles. Ratios between lines of one set are meant, not the numbers themselves."
    )
    return f"{note}\n\n{table(header, [row.cells() for row in rows], texts=2)}"
