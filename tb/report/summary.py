"""The summary of a run: what summary.json holds; `tb.report.terminal` shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from rtl.contract.isa import TrafficClass
from tb.files import write_atomically

__all__ = [
    "CAUSES",
    "CLASSES",
    "IDLE",
    "SPARSE",
    "VERSION",
    "LayerSummary",
    "PartSummary",
    "Summary",
    "describe_forecast",
    "largest_loss",
    "percent",
    "signed",
    "whole_interval",
]

VERSION = 1
"""Of what summary.json holds: it rises where `Summary.load` could no longer read what was written before."""

CLASSES = tuple(traffic.name.lower() for traffic in TrafficClass)
"""Names of the classes of DRAM bytes."""
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
"""What a compute unit does in a cycle: the COMPUTE counters of `rtl.contract.regs.CoreCounter`, in words."""
IDLE = {
    "empty": "items without a product",
    "starved": "waiting for items",
    "blocked": "waiting for sums to be collected",
    "resting": "engine not at work",
}
"""Why a PE of a sparse engine makes no product in a cycle, in words."""
SPARSE = {
    "pairs": "products",
    "skipped": "products left out",
    "items": "items",
    **{cause: f"PE-cycles: {words}" for cause, words in IDLE.items()},
    "weight_bytes": "compressed weights, bytes",
    "dense_weight_bytes": "dense weights, bytes",
    "dense_cycles": "cycles on a dense array",
}
"""Figures of what sparse engines do (`tb.run.sparsity`), in words. Those of a layer alone that need time, and those of
idle PEs but for `empty`, are known where the layer is a launch of its own."""


@dataclass(frozen=True)
class PartSummary:
    """The share of one layer in a launch.

    Where the cores have no trace memory, or the launch is one part, nothing is known of its cycles apart.
    """

    name: str
    op: str
    macs: int
    mapping: str = ""
    cycles: int | None = None
    estimated_cycles: int = 0
    dram_bytes: Mapping[str, int] = field(default_factory=dict)
    compute_cycles: Mapping[str, float] = field(default_factory=dict)
    energy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sparse: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerSummary:
    """A launch, or a step of the host; `op`, `macs` and `mapping` are those of its parts together."""

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
    """Cycles of the compute units by cause (`CAUSES`), mean over the cores."""
    mapping: str = ""
    host_bytes: int = 0
    """Bytes that the host reads and writes."""
    on_host: bool = False
    """The host computed it; it takes no cycles of the chip."""
    parts: Sequence[PartSummary] = ()
    """The layers of a launch, in the order in which they are computed."""
    estimated_interval: Sequence[float] | None = None
    """Cycles between which such a launch lies in nine cases of ten (`estimator.bands`), where that is known."""
    energy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By set of constants and class (`estimator.energy`); empty of the host."""
    sparse: Mapping[str, float] = field(default_factory=dict)
    """What sparse engines did (`SPARSE`), as far as it is known; empty where they did nothing."""

    @property
    def speed_up(self) -> float | None:
        """Over a dense array with as many multipliers, estimated; of estimated cycles where nothing was simulated."""
        cycles = self.cycles or self.estimated_cycles
        return self.sparse["dense_cycles"] / cycles if cycles and "dense_cycles" in self.sparse else None

    @property
    def edp(self) -> dict[str, float]:
        """Energy times cycles, by set; by the estimated cycles of a layer that was not simulated."""
        return {name: sum(of.values()) * (self.cycles or self.estimated_cycles) for name, of in self.energy.items()}

    @property
    def estimate_error(self) -> float | None:
        """Relative error of the estimate, positive where that is too high."""
        return self.estimated_cycles / self.cycles - 1 if self.cycles else None

    def rows(self, pe_count: int) -> list[LayerSummary]:
        """One for each of its parts, if their cycles are known apart; they add up to it. Else itself.

        Of a launch that was not simulated these are estimated cycles.
        """
        apart = [part.cycles if self.cycles else part.estimated_cycles or None for part in self.parts]
        if not apart or None in apart:
            return [self]
        return [
            replace(
                self, name=part.name, op=part.op, cycles=part.cycles or 0, estimated_cycles=part.estimated_cycles,
                macs=part.macs, utilization=part.macs / (pe_count * part.cycles) if part.cycles else 0.0,
                dram_bytes=part.dram_bytes, compute_cycles=part.compute_cycles, mapping=part.mapping, parts=(),
                energy=part.energy, estimated_interval=None, sparse=part.sparse,
            )
            for part in self.parts
        ]  # fmt: skip


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
    """Multipliers of all cores. Products that sparse engines leave out count as done: utilisations may pass 100 %."""
    memory: Mapping[str, Any]
    """Latency and bandwidth of the external memory."""
    lower_bound_cycles: float
    build_s: float
    schedule_s: float
    golden_s: float
    name: str = ""
    """Of the run, whose folder is runs/NAME."""
    kind: str = ""
    """Kind of schedule, with what else was asked of it; `schedule` says what came of it."""
    model: str = ""
    """What compiled the simulation model, and how; of Icarus nothing."""
    quantisation_error: Mapping[str, float] | None = None
    """Distance of the int8 outputs from the float ones (`golden.int8.quant.QuantisationError`), where that is known."""
    nodes: int = 0
    """Number of nodes of the quantised graph."""
    batch: int = 1
    """Number of pictures."""
    repeated_macs: float | None = None
    """Multiply-accumulates that are done again where tiles overlap (`scheduler.plan.repeated`), where that is known."""
    input_note: str = ""
    """The source of the input if that is no picture."""
    outputs: list[Mapping[str, Any]] = field(default_factory=list)
    """The outputs of a whole ONNX model (`tb.run.workload.OutputFacts`), in its order."""
    share: Mapping[str, Any] | None = None
    """How an ONNX model is divided between chip and host (`golden.onnx_import.Share`)."""
    ends: list[Mapping[str, Any]] = field(default_factory=list)
    """What the host does before the first launch and behind the last: operators and bytes that pass."""
    onnxruntime: Mapping[str, Any] | None = None
    """What the comparison with ONNX Runtime found (`golden.onnx_import.Judgement`), of an ONNX model."""
    pruning: str = ""
    """What was pruned and where its densities come from, in one line."""
    densities: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By layer with weights, `golden.int8.density.Density` of the golden tensors, and what a pruning asked for."""
    predicted_by: str = ""
    """What the prediction knew of the activations, where cycles depend on them."""
    bit_exact: bool = False
    mismatches: int = 0
    first_difference: str | None = None
    failure: str | None = None
    """Why the run stopped early."""
    failed_launch: str | None = None
    """The first launch that ended in an error, with a wrong bit or a wrong count."""
    failed_cycle: int | None = None
    """The cycle of that launch in which the first wrong value was written, a rule was broken or nothing moved any more,
    where that is known."""
    waves: list[str] = field(default_factory=list)
    """Files of recorded waves; sessions of viewers lie beside them."""
    processes: int = 0
    """Simulators that shared the launches; 0 where an earlier run had finished all of them."""
    simulation_s: float = 0.0
    """Time from the start of the simulators to the end of the last; `sim_s` is what the launches took one by one, of
    earlier runs too."""
    calibration_note: str = ""
    """What speaks against the estimator's coefficients, if anything does."""
    energy_units: Mapping[str, str] = field(default_factory=dict)
    """Sets of constants for energies, and their units; the set of the user comes first."""
    chip: Mapping[str, Any] = field(default_factory=dict)
    """The chip, as its file has it (`rtl.contract.params.chip_table`)."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was made of (`tb.report.provenance`)."""
    layers: list[LayerSummary] = field(default_factory=list)

    @property
    def dram_rate(self) -> float:
        """Bytes per cycle of all memory nodes together; 0 where they are not known."""
        return self.memory["bytes_per_cycle"] * self.memory["nodes"] if self.memory else 0

    @property
    def title(self) -> str:
        """'lenet5 on 4 cores of 16x16'."""
        pictures = f", {self.batch} pictures," if self.batch > 1 else ""
        return f"{self.net}{pictures} on {self.cores} cores of {self.array}"

    @property
    def verdict(self) -> str:
        """'every bit equal', or what went wrong first, in one line."""
        if self.bit_exact:
            return "every bit equal"
        if self.first_difference:
            return f"{self.mismatches:,} values differ; {self.first_difference}"
        return f"failed: {self.failure or 'the run did not come to its end'}"

    @property
    def estimated_interval(self) -> tuple[float, float] | None:
        """Of all layers, for errors that all go the same way: more than nine runs of ten lie in it."""
        chip = [layer for layer in self.layers if not layer.on_host]
        return whole_interval([layer.estimated_cycles for layer in chip], [layer.estimated_interval for layer in chip])

    @property
    def layers_inside(self) -> tuple[int, int] | None:
        """Simulated layers whose cycles lie in their interval, and all that have one; None without any."""
        known = [(layer.cycles, layer.estimated_interval) for layer in self.layers if layer.cycles]
        inside = [interval[0] <= cycles <= interval[1] for cycles, interval in known if interval is not None]
        return (sum(inside), len(inside)) if inside else None

    @property
    def rows(self) -> list[LayerSummary]:
        """Layers, as far as they are known apart."""
        return [row for layer in self.layers for row in layer.rows(self.pe_count)]

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    @property
    def cycles_per_picture(self) -> float:
        return self.cycles / self.batch

    @property
    def dram_bytes_per_picture(self) -> float:
        """Of all classes."""
        return sum(self.dram_bytes.values()) / self.batch

    @property
    def host_layers(self) -> list[str]:
        """Layers that the host computed, in order."""
        return [layer.name for layer in self.layers if layer.on_host]

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def utilization(self) -> float:
        return self.macs / (self.pe_count * self.cycles) if self.cycles else 0.0

    @property
    def efficiency(self) -> float | None:
        """Lower bound of the cycles over the cycles; None unless the run is whole."""
        return self.lower_bound_cycles / self.cycles if self.cycles and self.failure is None else None

    @property
    def estimated_cycles(self) -> int:
        return sum(layer.estimated_cycles for layer in self.layers)

    @property
    def estimate_error(self) -> float | None:
        return self.estimated_cycles / self.cycles - 1 if self.cycles else None

    @property
    def dram_bytes(self) -> dict[str, int]:
        return {name: sum(layer.dram_bytes.get(name, 0) for layer in self.layers) for name in CLASSES}

    @property
    def compute_cycles(self) -> dict[str, float]:
        return {cause: sum(layer.compute_cycles.get(cause, 0.0) for layer in self.layers) for cause in CAUSES}

    @property
    def energy(self) -> dict[str, dict[str, Any]]:
        """By set: unit, energy of all layers by class and in all, per multiply-accumulate, and times cycles (EDP)."""
        found = {}
        for name, unit in self.energy_units.items():
            layers = [layer.energy[name] for layer in self.layers if name in layer.energy]
            of = {kind: sum(layer[kind] for layer in layers) for kind in (layers[0] if layers else ())}
            total, cycles = sum(of.values()), self.cycles or self.estimated_cycles
            per_mac = total / self.macs if self.macs else None
            found[name] = {"unit": unit, "of": of, "total": total, "per_mac": per_mac, "edp": total * cycles}
        return found

    @property
    def sparse(self) -> dict[str, float]:
        """Figures of `SPARSE` that all launches have in which a sparse engine worked, added up."""
        of_layers = [layer.sparse for layer in self.layers if layer.sparse]
        known = [name for name in SPARSE if of_layers and all(name in each for each in of_layers)]
        return {name: sum(each[name] for each in of_layers) for name in known}

    @property
    def sim_s(self) -> float:
        return sum(layer.sim_s for layer in self.layers)

    @property
    def sim_hz(self) -> float:
        return self.cycles / self.sim_s if self.sim_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, derived figures included, in the order in which a reader wants it."""
        derived = (
            "host_layers", "cycles", "cycles_per_picture", "dram_bytes_per_picture", "macs", "utilization",
            "efficiency", "dram_bytes", "compute_cycles", "estimated_cycles", "estimated_interval",
            "layers_inside", "estimate_error", "sim_s", "sim_hz", "energy", "sparse",
        )  # fmt: skip
        facts = asdict(self)
        layers = facts.pop("layers")
        facts |= {name: getattr(self, name) for name in derived}
        for layer, record in zip(self.layers, layers, strict=True):
            record |= {"estimate_error": layer.estimate_error, "edp": layer.edp}
        return {"version": VERSION, **facts, "layers": layers}

    @classmethod
    def load(cls, path: Path) -> Summary:
        """Read what `save` has written.

        Raises
        ------
        OSError
            If there is no such file.
        ValueError
            If it is none of this `VERSION`.
        """
        facts = json.loads(path.read_text())
        if not isinstance(facts, dict) or facts.get("version") != VERSION:
            raise ValueError(f"{path} is no summary of version {VERSION}")
        return cls.from_dict(facts)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Summary:
        """What `as_dict` was made of."""
        layers = [
            replace(_known(LayerSummary, layer), parts=[_known(PartSummary, part) for part in layer["parts"]])
            for layer in facts["layers"]
        ]
        return replace(_known(cls, facts), layers=layers)

    def save(self, path: Path) -> None:
        """Write the summary whole or not at all."""
        write_atomically(path, (json.dumps(self.as_dict(), indent=1) + "\n").encode())


T = TypeVar("T")


def _known(kind: type[T], facts: Mapping[str, Any]) -> T:
    """A record of the facts that are its own; what is derived of them is left out."""
    names = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType] - a dataclass
    return kind(**{name: facts[name] for name in names})


def whole_interval(cycles: Sequence[float], intervals: Sequence[Sequence[float] | None]) -> tuple[float, float] | None:
    """The sums of lower and of upper limits; a launch without limits counts as it is expected. None without any."""
    if not any(intervals):
        return None
    pairs = [interval or (count, count) for count, interval in zip(cycles, intervals, strict=True)]
    return sum(low for low, _ in pairs), sum(high for _, high in pairs)


def describe_forecast(cycles: float, interval: tuple[float, float] | None) -> str:
    """'4,710 cycles expected, 90 %: 4,390 to 4,980'."""
    limits = f", 90 %: {interval[0]:,.0f} to {interval[1]:,.0f}" if interval else ""
    return f"{cycles:,.0f} cycles expected{limits}"


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
