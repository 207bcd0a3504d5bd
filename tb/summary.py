"""The summary of a run: what summary.json holds and the terminal shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rtl.isa import TrafficClass
from tb.job import write_atomically

__all__ = ["LayerSummary", "Summary", "dram_bytes_by_class", "print_summary"]


def dram_bytes_by_class(counters: Mapping[str, Any]) -> dict[str, int]:
    """Bytes that crossed all memory nodes, reads and writes, by traffic class."""
    return {
        traffic.name.lower(): sum(
            node[f"{direction}_{traffic.name.lower()}_bytes"]
            for node in counters["memory"]
            for direction in ("read", "write")
        )
        for traffic in TrafficClass
    }


@dataclass(frozen=True)
class LayerSummary:
    """One launch."""

    name: str
    op: str
    cycles: int
    estimated_cycles: int
    macs: int
    utilization: float
    """MACs per PE and cycle."""
    dram_bytes: Mapping[str, int]
    bit_exact: bool
    sim_s: float
    mapping: str = ""

    @property
    def estimate_error(self) -> float:
        """Signed: positive where the estimate is too high."""
        return self.estimated_cycles / self.cycles - 1


@dataclass
class Summary:
    """One run. Times in seconds; `utilization` is MACs per PE and cycle, `estimate_error` is signed."""

    net: str
    cores: int
    array: str
    sim: str
    schedule: str
    seed: int
    pe_count: int
    memory: Mapping[str, Any]
    """Latency and bandwidth of the external memory."""
    lower_bound_cycles: float
    build_s: float
    schedule_s: float
    golden_s: float
    bit_exact: bool = False
    mismatches: int = 0
    first_difference: str | None = None
    failure: str | None = None
    """Why the run stopped early."""
    layers: list[LayerSummary] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def utilization(self) -> float:
        return self.macs / (self.pe_count * self.cycles) if self.cycles else 0.0

    @property
    def efficiency(self) -> float | None:
        """Only a whole run can be compared with the bound."""
        return self.lower_bound_cycles / self.cycles if self.cycles and self.failure is None else None

    @property
    def estimated_cycles(self) -> int:
        return sum(layer.estimated_cycles for layer in self.layers)

    @property
    def estimate_error(self) -> float | None:
        return self.estimated_cycles / self.cycles - 1 if self.cycles else None

    @property
    def dram_bytes(self) -> dict[str, int]:
        names = [traffic.name.lower() for traffic in TrafficClass]
        return {name: sum(layer.dram_bytes.get(name, 0) for layer in self.layers) for name in names}

    @property
    def sim_s(self) -> float:
        return sum(layer.sim_s for layer in self.layers)

    @property
    def sim_hz(self) -> float:
        return self.cycles / self.sim_s if self.sim_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, derived figures included, in the order in which a reader wants it."""
        derived = (
            "cycles", "macs", "utilization", "efficiency", "dram_bytes", "estimated_cycles", "estimate_error", "sim_s",
            "sim_hz",
        )  # fmt: skip
        facts = asdict(self)
        layers = facts.pop("layers")
        facts |= {name: getattr(self, name) for name in derived}
        for layer, record in zip(self.layers, layers, strict=True):
            record["estimate_error"] = layer.estimate_error
        return {**facts, "layers": layers}

    def save(self, path: Path) -> None:
        """Write the summary whole or not at all."""
        write_atomically(path, (json.dumps(self.as_dict(), indent=1) + "\n").encode())


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f} %"


def print_summary(summary: Summary, console: Console) -> None:
    """The table of layers and the figures of the run."""
    table = Table(title=f"{summary.net} on {summary.cores} cores of {summary.array}, {summary.sim}")
    table.add_column("layer")
    table.add_column("op")
    for name in ("cycles", "estimated", "error", "utilisation", "DRAM MB"):
        table.add_column(name, justify="right")
    table.add_column("bits")
    for layer in summary.layers:
        table.add_row(
            layer.name,
            layer.op,
            f"{layer.cycles:,}",
            f"{layer.estimated_cycles:,}",
            _signed(layer.estimate_error),
            _percent(layer.utilization) if layer.macs else "",
            f"{sum(layer.dram_bytes.values()) / 1e6:.2f}",
            "[green]equal[/]" if layer.bit_exact else "[bold red]DIFFER[/]",
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        f"{summary.cycles:,}",
        f"{summary.estimated_cycles:,}",
        _signed(summary.estimate_error),
        _percent(summary.utilization),
        f"{sum(summary.dram_bytes.values()) / 1e6:.2f}",
        "[green]equal[/]" if summary.bit_exact else "[bold red]no[/]",
    )
    console.print(table)
    by_class = ", ".join(f"{name} {count / 1e6:.1f}" for name, count in summary.dram_bytes.items())
    console.print(f"efficiency {_percent(summary.efficiency)} of the lower bound of "
                  f"{summary.lower_bound_cycles:,.0f} cycles; DRAM MB: {by_class}")  # fmt: skip
    console.print(f"build {summary.build_s:.1f} s, schedule {summary.schedule_s:.1f} s, golden {summary.golden_s:.1f} s"
                  f", simulation {summary.sim_s:.1f} s at {summary.sim_hz / 1e3:.0f} k cycles/s")  # fmt: skip
    if summary.first_difference:
        console.print(f"[bold red]first difference:[/] {summary.first_difference}")
    if summary.failure:
        console.print(f"[bold red]failed:[/] {summary.failure}")
