"""The layers of a run as a table: one definition of its rows and columns for terminal, page and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tb.report.mesh import Load, Mesh
from tb.report.summary import CAUSES, CLASSES, SPARSE, LayerSummary, Summary, largest_loss, percent, signed

__all__ = ["LayerColumn", "LayerRow", "by_name", "describe_loss", "layer_columns", "layer_rows", "layers_csv"]

Value = str | float | bool | None
T = TypeVar("T")


@dataclass(frozen=True)
class LayerRow:
    """A layer as far as it is known apart, a launch, or a step of the host.

    Attributes
    ----------
    launch : int
        Number of its launch.
    load : Load or None
        What the mesh did meanwhile, where that is known.
    bounds : dict of str to float
        Cycles that it takes at least, by what allows no fewer: PEs, DRAM, and the busiest link where that is known.
    """

    launch: int
    layer: LayerSummary
    load: Load | None
    bounds: Mapping[str, float]

    @property
    def moved_bytes(self) -> int:
        """That pass the memory nodes, or that the host reads and writes."""
        return sum(self.layer.dram_bytes.values()) + self.layer.host_bytes

    @property
    def bound(self) -> str:
        """The tightest bound and its share of the cycles: 'DRAM 83.1 %'."""
        if not self.layer.cycles:
            return ""
        name = max(self.bounds, key=lambda each: self.bounds[each])
        return f"{name} {percent(self.bounds[name] / self.layer.cycles)}"


@dataclass(frozen=True)
class LayerColumn:
    """A column; `value` is a row's value in it, in full and None for nothing, `text` is a value for readers."""

    key: str
    header: str
    value: Callable[[LayerRow], Value]
    text: Callable[[Any], str] = str

    def cell(self, row: LayerRow) -> str:
        """A row's value for readers."""
        value = self.value(row)
        return "" if value is None else self.text(value)


def layer_rows(summary: Summary, mesh: Mesh | None = None) -> list[LayerRow]:
    """All rows, in the order in which they were computed."""
    loads = iter(mesh.rows) if mesh else iter(())
    rows = []
    for launch, layers in enumerate(summary.layers):
        for layer in layers.rows(summary.pe_count):
            load = next(loads, None)
            bounds = {"PEs": layer.macs / summary.pe_count}
            bounds |= {"DRAM": sum(layer.dram_bytes.values()) / summary.dram_rate} if summary.dram_rate else {}
            bounds |= {"busiest link": load.busiest_flits} if load else {}
            rows.append(LayerRow(launch, layer, load, bounds))
    return rows


def layer_columns(summary: Summary) -> list[LayerColumn]:
    """All columns; those of the energies are of the sets of constants that the run has."""
    return [
        LayerColumn("launch", "launch", lambda row: row.launch),
        LayerColumn("layer", "layer", lambda row: row.layer.name),
        LayerColumn("op", "op", lambda row: row.layer.op),
        LayerColumn("cycles", "cycles", _of_chip(lambda layer: layer.cycles), _count),
        LayerColumn("estimated_cycles", "estimated", _of_chip(lambda layer: layer.estimated_cycles), _count),
        LayerColumn("estimate_error", "error", lambda row: row.layer.estimate_error, signed),
        LayerColumn("estimate_low_cycles", "90 % from", lambda row: _limit(row.layer, 0), _count),
        LayerColumn("estimate_high_cycles", "90 % to", lambda row: _limit(row.layer, 1), _count),
        LayerColumn("macs", "MACs", lambda row: row.layer.macs or None, _count),
        LayerColumn("utilization", "utilised", lambda row: row.layer.utilization if row.layer.macs else None, percent),
        LayerColumn("moved_bytes", "DRAM MB", lambda row: row.moved_bytes, lambda count: f"{count / 1e6:.2f}"),
        LayerColumn("bound", "bound", lambda row: row.bound or None),
        LayerColumn("largest_loss", "largest loss", lambda row: describe_loss(row.layer)),
        *(LayerColumn(f"{cause}_cycles", words, _cause(cause), _count) for cause, words in CAUSES.items()),
        *(LayerColumn(f"{kind}_bytes", f"{kind} bytes", _bytes(kind), _count) for kind in CLASSES),
        LayerColumn("host_bytes", "host bytes", lambda row: row.layer.host_bytes or None, _count),
        LayerColumn("busiest_link_flits", "busiest link", lambda row: row.load and row.load.busiest_flits, _count),
        *(
            LayerColumn(f"energy_{name}_{unit}", f"{name}, {unit}", _energy(name), lambda energy: f"{energy:.3g}")
            for name, unit in summary.energy_units.items()
        ),
        LayerColumn("speed_up", "over dense", lambda row: row.layer.speed_up, lambda ratio: f"{ratio:.2f}x"),
        *(LayerColumn(f"sparse_{name}", words, _sparse(name), _count) for name, words in SPARSE.items()),
        LayerColumn("bit_exact", "bits", lambda row: row.layer.bit_exact, lambda exact: "equal" if exact else "DIFFER"),
        LayerColumn("on_host", "on the host", lambda row: row.layer.on_host),
        LayerColumn("mapping", "mapping", lambda row: row.layer.mapping or None),
    ]


def by_name(layers: Iterable[T], name: Callable[[T], str]) -> dict[tuple[str, int], T]:
    """Layers by name, and which of that name they are: strips of a layer share theirs."""
    seen: Counter[str] = Counter()
    found = {}
    for layer in layers:
        found[name(layer), seen[name(layer)]] = layer
        seen[name(layer)] += 1
    return found


def describe_loss(of: LayerSummary | Summary) -> str:
    """The largest loss and its share; of a layer on the host, the operators that it computed."""
    if isinstance(of, LayerSummary) and of.on_host:
        return of.mapping
    loss = largest_loss(of.compute_cycles)
    return f"{loss[0]} {percent(loss[1])}" if loss else ""


def layers_csv(summary: Summary, mesh: Mesh | None = None) -> str:
    """All rows and columns, in full precision, names of the columns first; nothing stands for what is unknown."""
    return "".join(_lines(summary, mesh))


def _lines(summary: Summary, mesh: Mesh | None) -> Iterator[str]:
    columns = layer_columns(summary)
    yield _line([column.key for column in columns])
    for row in layer_rows(summary, mesh):
        yield _line([column.value(row) for column in columns])


def _line(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _of_chip(value: Callable[[LayerSummary], int]) -> Callable[[LayerRow], int | None]:
    """A figure that only what ran on the chip has."""
    return lambda row: None if row.layer.on_host else value(row.layer) or None


def _limit(layer: LayerSummary, which: int) -> float | None:
    return layer.estimated_interval[which] if layer.estimated_interval else None


def _cause(cause: str) -> Callable[[LayerRow], float | None]:
    return lambda row: row.layer.compute_cycles.get(cause)


def _bytes(kind: str) -> Callable[[LayerRow], int | None]:
    return lambda row: row.layer.dram_bytes.get(kind)


def _energy(name: str) -> Callable[[LayerRow], float | None]:
    return lambda row: sum(row.layer.energy[name].values()) if name in row.layer.energy else None


def _sparse(name: str) -> Callable[[LayerRow], float | None]:
    return lambda row: row.layer.sparse.get(name)


def _count(value: float) -> str:
    return f"{value:,.0f}"
