"""What `make check` prints: what would run where, and why not on the chip."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from tb.report.summary import LayerSummary, Summary, percent
from tb.report.terminal import PIPE_WIDTH, notes, shorten

__all__ = ["print_check"]

NAME_WIDTH = 40


def print_check(summary: Summary, console: Console) -> None:
    """The layers with their estimated cycles, the nodes on the host with the reason of each, and the notes of a run.

    The layers of `summary` hold estimates alone.
    """
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    for line in _lines(summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(summary: Summary) -> Iterator[str]:
    yield f"{summary.net} on {summary.cores} cores of {summary.array}, {summary.schedule}; nothing is simulated"
    width = max([len(shorten(layer.name, NAME_WIDTH)) for layer in summary.layers], default=0)
    for layer in summary.layers:
        yield f"  {shorten(layer.name, NAME_WIDTH):{width}}  {_what(layer)}"
    pes = summary.pe_count * summary.estimated_cycles
    yield (
        f"estimated: {summary.estimated_cycles:,} cycles, {percent(summary.macs / pes if pes else None)} utilised, "
        f"{percent(summary.lower_bound_cycles / summary.estimated_cycles if pes else None)} of the lower bound"
    )
    for node in summary.share["host"] if summary.share else ():
        if node["why"]:
            macs = f", {node['macs']:,} multiply-accumulates" if node["macs"] else ""
            yield f"on the host: {node['why']}{macs}"
    yield from notes(summary)


def _what(layer: LayerSummary) -> str:
    if layer.on_host:
        return f"host      {layer.mapping}, {layer.host_bytes:,} bytes pass"
    return f"{layer.op:9} {layer.estimated_cycles:>12,} cycles"
