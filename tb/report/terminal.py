"""The report of a run on a terminal: the table of layers, the figures, and what there is to know besides."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from golden.int8.quant import QuantisationError
from tb.report.densities import density_lines
from tb.report.layers import describe_loss, layer_columns, layer_rows
from tb.report.sparse import sparse_lines
from tb.report.summary import CAUSES, Summary, describe_forecast, percent, signed

__all__ = ["PIPE_WIDTH", "energy_line", "notes", "plain_text", "print_summary", "print_waves", "shorten", "troubles"]

PIPE_WIDTH = 112
"""Width of the report where the output is no terminal."""
NAME_WIDTH = 16
"""Width to which names of layers are shortened before a column is left out."""
CUTS = 6
"""Cuts that are told; the table and summary.json have them all."""
LEAST_NAME = 5
"""Width that a name keeps on the narrowest terminal."""
GAP, EDGE = 2, 1
"""Space between two columns and behind the last, and before the first."""
DISPENSABLE = ("estimated", "largest loss", "DRAM MB", "utilised")
"""Columns that are left out in this order where even short names leave no room; summary.json has them all."""
VERDICTS = {"equal": "green", "DIFFER": "bold red", "no": "bold red"}


def shorten(text: str, width: int) -> str:
    """A text in at most so many characters; its middle gives way, for names differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}\u2026{text[len(text) - tail :]}"


@dataclass(frozen=True)
class _Column:
    """A column of text; one that is not of figures may be narrowed to its least width."""

    header: str
    cells: list[str]
    total: str
    least: int | None = None
    styles: Mapping[str, str] = field(default_factory=dict)
    """Styles of whole texts."""

    @property
    def width(self) -> int:
        return _longest([self.header, *self.cells, self.total])

    def narrowed(self, width: int) -> _Column:
        """Its texts within a width."""
        return replace(self, cells=[shorten(cell, width) for cell in self.cells])


def plain_text(show: Callable[[Console], None]) -> str:
    """What something prints where the output is no terminal."""
    text = io.StringIO()
    show(Console(file=text, width=PIPE_WIDTH, force_terminal=False, force_jupyter=False, color_system=None))
    return text.getvalue()


def print_summary(summary: Summary, console: Console) -> None:
    """The table of layers and the figures of the run."""
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    console.print(_table(summary, console.width))
    if summary.batch > 1:
        console.print(f"a picture: {summary.cycles_per_picture:,.0f} cycles, "
                      f"{summary.dram_bytes_per_picture / 1e6:.2f} MB of DRAM traffic")  # fmt: skip
    by_class = ", ".join(f"{name} {count / 1e6:.1f}" for name, count in summary.dram_bytes.items())
    console.print(f"efficiency {percent(summary.efficiency)} of the lower bound of "
                  f"{summary.lower_bound_cycles:,.0f} cycles; DRAM MB: {by_class}")  # fmt: skip
    total = sum(summary.compute_cycles.values()) or 1.0
    spent = sorted(summary.compute_cycles.items(), key=lambda item: -item[1])
    console.print("compute units: " + ", ".join(f"{CAUSES[cause]} {percent(count / total)}" for cause, count in spent))
    for line in energy_line(summary):
        console.print(line, highlight=False)
    shared = f", in {summary.processes} processes {summary.simulation_s:.1f} s" if summary.processes > 1 else ""
    model = f" ({summary.model})" if summary.model else ""
    times = [f"build {summary.build_s:.1f} s{model}", f"schedule {summary.schedule_s:.1f} s"]
    times += [f"golden {summary.golden_s:.1f} s"]
    times += [f"simulation {summary.sim_s:.1f} s at {summary.sim_hz / 1e3:.0f} k cycles/s{shared}"]
    console.print(", ".join(times))
    if summary.layers_inside and summary.estimated_interval:
        inside, known = summary.layers_inside
        forecast = describe_forecast(summary.estimated_cycles, summary.estimated_interval)
        console.print(f"{forecast}; {inside} of {known} layers lie in their own intervals", highlight=False)
    for line in notes(summary):
        console.print(line, markup=False, highlight=False)
    for what, told in troubles(summary):
        console.print(Text(f"{what}:", "bold red"), told, markup=False)


def troubles(summary: Summary) -> Iterator[tuple[str, str]]:
    """What went wrong in a run, and where to look first; nothing of one that ended well."""
    if summary.first_difference:
        yield "first difference", summary.first_difference
    if summary.failure:
        yield "failed", summary.failure
    if summary.failed_cycle is not None:
        yield "where to look first", f"cycle {summary.failed_cycle:,} of {summary.failed_launch}"


def print_waves(dump: Path, console: Console) -> None:
    """Where waves are, and how to open them."""
    size = dump.stat().st_size / 1e6
    console.print(
        f"waves: {dump} ({size:.1f} MB); gtkwave {dump.with_suffix('.gtkw')}, or surfer -c {dump.with_suffix('.sucl')}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def energy_line(summary: Summary) -> Iterator[str]:
    """Energy by each set of constants, per multiply-accumulate, with what takes most of it; nothing without any."""
    told = []
    for name, energy in summary.energy.items():
        if energy["total"]:
            kind = max(energy["of"], key=lambda each: energy["of"][each])
            share = percent(energy["of"][kind] / energy["total"], 0)
            unit, per_mac = energy["unit"], energy["per_mac"]
            each = f"{per_mac:.2f} {unit}/MAC" if per_mac else f"{energy['total']:.3g} {unit}"
            told.append(f"{name} {each} ({kind} {share})")
    if told:
        yield f"energy, for ratios between runs: {', '.join(told)}"


def _table(summary: Summary, width: int) -> Table:
    table = Table(title=f"{summary.title}, {summary.sim}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = _fitted(_columns(summary), width)
    for column in columns:
        justify = "left" if column.header in ("layer", "op", "largest loss", "bits") else "right"
        table.add_column(column.header, justify=justify, no_wrap=True)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell, column.styles.get(cell, "")) for cell, column in zip(row, columns, strict=True)))
    table.add_section()
    table.add_row(*(Text(column.total, column.styles.get(column.total, "")) for column in columns))
    return table


def _columns(summary: Summary) -> list[_Column]:
    rows, columns = layer_rows(summary), layer_columns(summary)
    cells = {column.key: [column.cell(row) for row in rows] for column in columns}
    headers = {column.key: column.header for column in columns}
    # What the host computed may be cut; the losses of the chip are figures.
    figures = [loss for row, loss in zip(rows, cells["largest_loss"], strict=True) if not row.layer.on_host]
    least = {
        "layer": min(NAME_WIDTH, _longest([*cells["layer"], "total"])),
        "largest_loss": _longest([*figures, describe_loss(summary), headers["largest_loss"]]),
    }
    return [
        _Column(headers[key], cells[key], total, least.get(key), VERDICTS if key == "bit_exact" else {})
        for key, total in {
            "layer": "total",
            "op": "",
            "cycles": f"{summary.cycles:,}",
            "estimated_cycles": f"{summary.estimated_cycles:,}",
            "estimate_error": signed(summary.estimate_error),
            "utilization": percent(summary.utilization),
            "moved_bytes": f"{sum(summary.dram_bytes.values()) / 1e6:.2f}",
            "largest_loss": describe_loss(summary),
            "bit_exact": "equal" if summary.bit_exact else "no",
        }.items()
    ]


def _fitted(columns: list[_Column], width: int) -> list[_Column]:
    """The columns, within a width: texts give way first, then whole columns; no figure is ever cut."""
    for count in range(len(DISPENSABLE) + 1):
        kept = [column for column in columns if column.header not in DISPENSABLE[:count]]
        least = [column.width if column.least is None else column.least for column in kept]
        spare = width - EDGE - GAP * len(kept) - sum(least)
        if spare >= 0:
            break
    fitted = []
    for column, narrowest in zip(kept, least, strict=True):
        if column.least is not None:
            room = max(narrowest + spare, LEAST_NAME)
            spare -= min(column.width, room) - narrowest
            column = column.narrowed(room)
        fitted.append(column)
    return fitted


def _longest(texts: list[str]) -> int:
    return max(map(len, texts))


def notes(summary: Summary) -> Iterator[str]:
    """What there is to know besides."""
    yield from _share_notes(summary)
    if summary.quantisation_error:
        of = "" if summary.onnxruntime is None or summary.onnxruntime["refusal"] else " of ONNX Runtime"
        yield f"int8 against float{of} at the outputs: {QuantisationError(**summary.quantisation_error)}"
    yield from _output_notes(summary)
    yield from _runtime_notes(summary)
    yield from density_lines(summary)
    yield from sparse_lines(summary)
    if summary.predicted_by:
        yield f"cycles of sparse engines are predicted by {summary.predicted_by}"
    if summary.calibration_note:
        yield summary.calibration_note
    if summary.input_note:
        yield summary.input_note


def _share_notes(summary: Summary) -> Iterator[str]:
    """What ran where, and what passed between chip and host."""
    share = summary.share
    if share is None:
        return
    host, macs = share["host"], share["macs"]
    on_chip = macs - sum(node["macs"] for node in host)
    work = f", {percent(on_chip / macs, 2)} of {macs:,} multiply-accumulates" if macs else ""
    yield f"on the chip: {share['nodes'] - len(host)} of {share['nodes']} nodes{work}"
    if not host:
        return
    kinds = Counter(node["kind"] for node in host)
    yield f"on the host: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}"
    cuts = [f"{layer.mapping} ({layer.host_bytes:,} bytes)" for layer in summary.layers if layer.on_host]
    ends = [f"{' + '.join(end['kinds'])} ({end['bytes']:,} bytes)" for end in summary.ends]
    if cuts:
        shown = [*cuts[:CUTS], f"{len(cuts) - CUTS} more"] if len(cuts) > CUTS else cuts
        yield f"{len(cuts)} cut{'s' * (len(cuts) > 1)} between launches: {'; '.join(shown)}"
    if ends:
        yield f"before the first launch or behind the last: {'; '.join(ends)}"


def _output_notes(summary: Summary) -> Iterator[str]:
    """What each output of a model is, where it has several."""
    first: dict[str, str] = {}
    for output in summary.outputs if len(summary.outputs) > 1 else ():
        before = first.setdefault(output["tensor"] or output["name"], output["name"])
        if output["source"] in ("input", "constant"):
            what = "the input itself" if output["source"] == "input" else "a constant"
        elif before != output["name"]:
            what = f"the values of {before}"
        elif output["error"]:
            what = str(QuantisationError(**output["error"]))
        elif output["differ"]:
            what = f"{percent(output['differ'])} of the elements are not ONNX Runtime's"
        else:
            what = f"tensor {output['tensor']}" if output["tensor"] else "computed on the host"
        yield f"output {output['name']} {output['shape']}: {what}"


def _runtime_notes(summary: Summary) -> Iterator[str]:
    """How an imported model compares with ONNX Runtime."""
    found = summary.onnxruntime
    if found is None:
        return
    if found["refusal"]:
        yield f"not compared with ONNX Runtime, which does not run the file: {found['refusal']}"
        return
    if found["real"]:
        verdict, unit = "float values of the imported layers agree", "of their largest value"
    else:
        verdict, unit = "int8 values of the imported layers are equal", "steps"
    counts = ((found["ties"], "rounding ties"), (found["saturated"], "where its sums saturate on this processor"))
    exceptions = " and ".join(f"{count:,} {what}" for count, what in counts if count)
    verdict += f" but for {exceptions}" if exceptions else ""
    far = found["output_difference"]
    verdict += f"; outputs differ by {far:.2g} {unit} at most" if far else ""
    yield f"ONNX Runtime on the unchanged file: {found['values']:,} {verdict}"
    for line in found["levels"]:
        yield f"ONNX Runtime's optimisations change its results: {line}"
