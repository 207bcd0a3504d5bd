"""What `make check` prints: what would run where, and why not on the chip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from tb.report.summary import LayerSummary, Summary, describe_forecast, percent
from tb.report.terminal import PIPE_WIDTH, energy_line, notes, shorten

__all__ = ["CHECK", "facts_of", "print_check"]

CHECK = "check.json"
"""The file with its figures in the folder of the run."""
RUN_ALONE = {
    "sim", "model", "build_s", "bit_exact", "mismatches", "first_difference", "failure", "failed_launch",
    "failed_cycle", "waves", "processes", "simulation_s", "cycles", "cycles_per_picture", "utilization", "efficiency",
    "estimate_error", "layers_inside", "sim_s", "sim_hz",
}  # fmt: skip
"""Figures of a summary that only a run has."""

NAME_WIDTH = 40


def print_check(summary: Summary, console: Console) -> None:
    """The layers with their estimated cycles, the nodes on the host with the reason of each, and the notes of a run.

    The layers of `summary` hold estimates alone.
    """
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    for line in _lines(summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def facts_of(summary: Summary) -> dict[str, Any]:
    """The figures of a summary that are known without a run, by their names there."""
    facts = summary.as_dict()
    layers = [{name: value for name, value in layer.items() if name not in RUN_ALONE} for layer in facts["layers"]]
    return {name: value for name, value in facts.items() if name not in RUN_ALONE} | {"layers": layers}


def _lines(summary: Summary) -> Iterator[str]:
    yield f"{summary.net} on {summary.cores} cores of {summary.array}, {summary.schedule}; nothing is simulated"
    width = max([len(shorten(layer.name, NAME_WIDTH)) for layer in summary.layers], default=0)
    for layer in summary.layers:
        yield f"  {shorten(layer.name, NAME_WIDTH):{width}}  {_what(layer)}"
    pes = summary.pe_count * summary.estimated_cycles
    yield (
        f"estimated: {summary.estimated_cycles:,} cycles, {percent(summary.macs / pes if pes else None)} utilised, "
        f"{percent(summary.lower_bound_cycles / summary.estimated_cycles if pes else None)} of the lower bound; "
        f"{sum(summary.dram_bytes.values()) / 1e6:.2f} MB of DRAM traffic"
    )
    if summary.estimated_interval:
        yield describe_forecast(summary.estimated_cycles, summary.estimated_interval)
    yield from energy_line(summary)
    for node in summary.share["host"] if summary.share else ():
        if node["why"]:
            macs = f", {node['macs']:,} multiply-accumulates" if node["macs"] else ""
            yield f"on the host: {node['why']}{macs}"
    yield from notes(summary)


def _what(layer: LayerSummary) -> str:
    if layer.on_host:
        return f"host      {layer.mapping}, {layer.host_bytes:,} bytes pass"
    return f"{layer.op:9} {layer.estimated_cycles:>12,} cycles"
