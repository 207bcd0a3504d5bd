"""The summary of a run: what summary.json holds and the terminal shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from golden.quant import QuantisationError
from rtl.isa import TrafficClass
from tb.job import write_atomically

__all__ = [
    "CAUSES",
    "LayerSummary",
    "Summary",
    "compute_cycles_by_cause",
    "dram_bytes_by_class",
    "largest_loss",
    "percent",
    "print_summary",
    "signed",
]

CAUSES = {
    "stream": "streaming",
    "wait_act": "waiting for activations",
    "wait_weight": "waiting for weights",
    "wait_acc": "waiting for accumulators",
    "weight_stall": "weights entering the array",
    "fetch": "waiting for instructions",
    "overhead": "filling and draining",
    "done": "finished before the last core",
}
"""What a compute unit does in a cycle: the COMPUTE counters of `rtl.regs.CoreCounter`, in words."""

TERMINAL_WIDTH = 112
"""Of the report where the output is no terminal."""


def compute_cycles_by_cause(counters: Mapping[str, Any]) -> dict[str, float]:
    """Cycles of the compute units by what they did, mean over the cores; they add up to the layer's cycles."""
    cores = counters["core"]
    return {cause: sum(core[f"compute_{cause}"] for core in cores) / len(cores) for cause in CAUSES}


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
    compute_cycles: Mapping[str, float] = field(default_factory=dict)
    """By cause (`CAUSES`), mean over the cores."""
    mapping: str = ""
    host_bytes: int = 0
    """Bytes that the host reads and writes; such a layer takes no cycles of the chip."""

    @property
    def estimate_error(self) -> float | None:
        """Signed: positive where the estimate is too high."""
        return self.estimated_cycles / self.cycles - 1 if self.cycles else None


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
    quantisation_error: Mapping[str, float] | None = None
    """Distance of the int8 outputs from the float ones (`golden.quant.QuantisationError`), where that is known."""
    nodes: int = 0
    """Of the quantised graph."""
    input_note: str = ""
    """Where the input comes from if it is no picture."""
    bit_exact: bool = False
    mismatches: int = 0
    first_difference: str | None = None
    failure: str | None = None
    """Why the run stopped early."""
    processes: int = 0
    """Simulators that shared the launches; 0 where an earlier run had finished all of them."""
    simulation_s: float = 0.0
    """From their start to the end of the last; `sim_s` is what the launches took one by one, of earlier runs too."""
    layers: list[LayerSummary] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def host_layers(self) -> list[str]:
        """Layers that the host computed, in order."""
        return [layer.name for layer in self.layers if layer.op == "host"]

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
    def compute_cycles(self) -> dict[str, float]:
        return {cause: sum(layer.compute_cycles.get(cause, 0.0) for layer in self.layers) for cause in CAUSES}

    @property
    def sim_s(self) -> float:
        return sum(layer.sim_s for layer in self.layers)

    @property
    def sim_hz(self) -> float:
        return self.cycles / self.sim_s if self.sim_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, derived figures included, in the order in which a reader wants it."""
        derived = (
            "host_layers", "cycles", "macs", "utilization", "efficiency", "dram_bytes", "compute_cycles",
            "estimated_cycles", "estimate_error", "sim_s", "sim_hz",
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


def percent(value: float | None, digits: int = 1) -> str:
    """'12.3 %', or '-' for what is unknown."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def signed(value: float | None) -> str:
    """'+1.2 %', or '-' for what is unknown."""
    return "-" if value is None else f"{100 * value:+.1f} %"


def largest_loss(cycles: Mapping[str, float]) -> tuple[str, float] | None:
    """The cause, other than streaming, that takes most cycles, and its share of all; None where nothing is lost."""
    losses = {cause: count for cause, count in cycles.items() if cause != "stream"}
    worst = max(losses, key=lambda cause: losses[cause], default="")
    return (worst, losses[worst] / sum(cycles.values())) if worst and losses[worst] else None


def _largest_loss(cycles: Mapping[str, float]) -> str:
    loss = largest_loss(cycles)
    return f"{loss[0]} {percent(loss[1])}" if loss else ""


def print_summary(summary: Summary, console: Console) -> None:
    """The table of layers and the figures of the run."""
    if not console.is_terminal:
        console.width = max(console.width, TERMINAL_WIDTH)
    title = f"{summary.net} on {summary.cores} cores of {summary.array}, {summary.sim}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold")
    table.add_column("op")
    for name in ("cycles", "estimated", "error", "utilised", "DRAM MB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("largest loss", no_wrap=True)
    table.add_column("bits")
    for layer in summary.layers:
        table.add_row(
            layer.name,
            layer.op,
            f"{layer.cycles:,}" if layer.cycles else "",
            f"{layer.estimated_cycles:,}" if layer.cycles else "",
            signed(layer.estimate_error) if layer.cycles else "",
            percent(layer.utilization) if layer.macs else "",
            f"{(sum(layer.dram_bytes.values()) + layer.host_bytes) / 1e6:.2f}",
            layer.mapping if layer.op == "host" else _largest_loss(layer.compute_cycles),
            "[green]equal[/]" if layer.bit_exact else "[bold red]DIFFER[/]",
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        f"{summary.cycles:,}",
        f"{summary.estimated_cycles:,}",
        signed(summary.estimate_error),
        percent(summary.utilization),
        f"{sum(summary.dram_bytes.values()) / 1e6:.2f}",
        _largest_loss(summary.compute_cycles),
        "[green]equal[/]" if summary.bit_exact else "[bold red]no[/]",
    )
    console.print(table)
    by_class = ", ".join(f"{name} {count / 1e6:.1f}" for name, count in summary.dram_bytes.items())
    console.print(f"efficiency {percent(summary.efficiency)} of the lower bound of "
                  f"{summary.lower_bound_cycles:,.0f} cycles; DRAM MB: {by_class}")  # fmt: skip
    if summary.host_layers:
        console.print(f"{len(summary.host_layers)} of {summary.nodes} nodes ran on the host: cut at "
                      f"{', '.join(summary.host_layers)}", markup=False, highlight=False)  # fmt: skip
    total = sum(summary.compute_cycles.values()) or 1.0
    spent = sorted(summary.compute_cycles.items(), key=lambda item: -item[1])
    console.print("compute units: " + ", ".join(f"{CAUSES[cause]} {percent(count / total)}" for cause, count in spent))
    shared = f", in {summary.processes} processes {summary.simulation_s:.1f} s" if summary.processes > 1 else ""
    console.print(f"build {summary.build_s:.1f} s, schedule {summary.schedule_s:.1f} s, golden {summary.golden_s:.1f} s"
                  f", simulation {summary.sim_s:.1f} s at {summary.sim_hz / 1e3:.0f} k cycles/s{shared}")  # fmt: skip
    if summary.quantisation_error:
        error = QuantisationError(**summary.quantisation_error)
        console.print(f"int8 against float at the outputs: {error}", highlight=False)
    if summary.input_note:
        console.print(summary.input_note, markup=False, highlight=False)
    if summary.first_difference:
        console.print(f"[bold red]first difference:[/] {summary.first_difference}")
    if summary.failure:
        console.print(f"[bold red]failed:[/] {summary.failure}")
