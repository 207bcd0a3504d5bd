"""Layers of networks with the cycles that they took on the RTL: what estimates are judged by, and nothing is fitted to.

The launches of a run are kept as they are, so that other coefficients, or another estimator, are judged without a
simulation; the hardware must be the same.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from estimator import Unrated
from rtl.contract.isa import INSTRUCTION_BYTES, Unit
from rtl.contract.params import ChipParams, chip_from_table, chip_table
from scheduler.kinds.kind import ScheduleKind
from scheduler.plan.program import HostStep, Step
from tb.errors import BenchError, RunError
from tb.files import write_atomically
from tb.model.hardware import hardware_fingerprint
from tb.report.watcher import Watcher
from tb.run.options import RunOptions
from tb.run.run import Run
from tb.run.workload import load_workload
from tb.sim.settings import MemorySettings

__all__ = ["Layer", "Network", "layer_of", "link_name", "load_networks", "measure_network"]

DIRECTIONS = ("local", "north", "east", "south", "west")


@dataclass(frozen=True)
class Layer(Unrated):
    """A launch that was simulated, every bit equal.

    Attributes
    ----------
    op : str
        Operators of its parts, with commas between.
    cycles : int
    compute : dict of str to float
        Cycles of the compute units by what they did, mean over the cores.
    link, link_load : str, float
        The busiest output of a router, and the flits per cycle that it carried.
    blocked : float
        Share of the cycles in which the most blocked router had a flit waiting.
    streams : dict
        Instructions of every core and unit, END last.
    """

    net: str
    schedule: str
    name: str
    op: str
    mapping: str
    macs: int
    cycles: int
    compute: Mapping[str, float]
    link: str
    link_load: float
    blocked: float
    chip: ChipParams
    settings: MemorySettings
    streams: Mapping[tuple[int, Unit], Sequence[bytes]]

    @property
    def effect(self) -> str:
        return self.op


@dataclass(frozen=True)
class Network:
    """A network's layers on one chip.

    Attributes
    ----------
    chip_name : str
    """

    net: str
    chip_name: str
    schedule: str
    layers: tuple[Layer, ...]

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.layers)

    def save(self, folder: Path) -> None:
        """Write it as a file of its own."""
        first = self.layers[0]
        rows = []
        for layer in self.layers:
            row = asdict(layer)
            for shared in ("net", "schedule", "chip", "settings"):
                del row[shared]
            row["streams"] = _packed(layer.streams)
            rows.append(row)
        content = {
            "hardware": hardware_fingerprint(), "net": self.net, "chip_name": self.chip_name,
            "schedule": self.schedule, "chip": chip_table(first.chip), "settings": asdict(first.settings),
            "layers": rows,
        }  # fmt: skip
        write_atomically(_file(folder, self.net, self.chip_name, self.schedule), json.dumps(content).encode())


@dataclass(frozen=True)
class _Options(RunOptions):
    """Options of a run whose kind of schedule may have no name."""

    given: ScheduleKind | None = None

    def kind(self) -> ScheduleKind:
        return super().kind() if self.given is None else self.given


def load_networks(folder: Path) -> list[Network]:
    """All networks in a folder that were measured on the present hardware, by name and chip.

    Raises
    ------
    BenchError
        If a file there is something else.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text())
            if content["hardware"] == hardware_fingerprint():
                found.append(_network(content))
        except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
            raise BenchError(f"{file} holds no layers of a network: {error!r}; remove it") from error
    return found


def measure_network(
    net: str, chip_name: str, chip: ChipParams, folder: Path, *, schedule: str = "layers",
    kind: ScheduleKind | None = None, jobs: int | None = None, watcher: Watcher | None = None,
) -> Network:  # fmt: skip
    """Simulate a network as `make sim` does, and keep its launches.

    Parameters
    ----------
    schedule : str
        Kind of schedule; with `kind`, only the name of that.

    Raises
    ------
    RunError
        If a bit differs, or the simulation fails.
    """
    name = f"calibration-{net}-{chip_name}-{schedule}"
    options = _Options(name=name, chip=chip, schedule=schedule if kind is None else "layers", jobs=jobs, given=kind)
    run = Run(options, lambda: load_workload(net, apart=False), net, watcher)
    summary = run.execute()
    if not summary.bit_exact:
        raise RunError(f"{net} on {chip_name}: {summary.verdict}")
    assert run.scheduled is not None
    pairs = zip(run.scheduled.plan.steps, run.results, strict=True)
    layers = tuple(
        _layer(net, schedule, step, result.cycles, result.counters, chip, options.settings)
        for step, result in pairs
        if not isinstance(step, HostStep)
    )
    network = Network(net, chip_name, schedule, layers)
    network.save(folder)
    return network


def _layer(
    net: str, schedule: str, step: Step, cycles: int, counters: Mapping[str, Any], chip: ChipParams,
    settings: MemorySettings,
) -> Layer:  # fmt: skip
    assert not isinstance(step, HostStep)
    return layer_of(
        net, schedule, step.name, step.op, step.mapping, step.macs, cycles, counters, chip, settings,
        {place: list(stream) for place, stream in step.streams.items()},
    )  # fmt: skip


def layer_of(
    net: str, schedule: str, name: str, op: str, mapping: str, macs: int, cycles: int, counters: Mapping[str, Any],
    chip: ChipParams, settings: MemorySettings, streams: Mapping[tuple[int, Unit], Sequence[bytes]],
) -> Layer:  # fmt: skip
    """A layer, of the counters of its launch."""
    busiest = max(
        (counts[f"flits_{direction}"], router, direction)
        for router, counts in enumerate(counters["router"])
        for direction in DIRECTIONS
    )
    working = [core for core in counters["core"] if core["passes"]]
    causes = [name for name in counters["core"][0] if name.startswith("compute_")]
    compute = {
        cause.removeprefix("compute_"): sum(core[cause] for core in working) / max(1, len(working)) for cause in causes
    }
    blocked = max(counts["blocked"] for counts in counters["router"]) / cycles
    return Layer(
        net, schedule, name, op, mapping, macs, cycles, compute, link_name(busiest[1], busiest[2]),
        busiest[0] / cycles, blocked, chip, settings, streams,
    )  # fmt: skip


def link_name(router: int, port: str) -> str:
    """An output of a router in words."""
    return f"router {router} {port}"


def _file(folder: Path, net: str, chip_name: str, schedule: str) -> Path:
    return folder / f"{net}-{chip_name}-{schedule}.json"


def _network(content: dict[str, Any]) -> Network:
    chip, settings = chip_from_table(content["chip"]), MemorySettings(**content["settings"])
    layers = tuple(
        Layer(
            net=content["net"], schedule=content["schedule"], chip=chip, settings=settings,
            **{**row, "streams": _unpacked(row["streams"])},
        )
        for row in content["layers"]
    )  # fmt: skip
    return Network(content["net"], content["chip_name"], content["schedule"], layers)


def _packed(streams: Mapping[tuple[int, Unit], Sequence[bytes]]) -> dict[str, str]:
    return {
        f"{core} {int(unit)}": base64.b64encode(zlib.compress(b"".join(stream))).decode()
        for (core, unit), stream in streams.items()
    }


def _unpacked(packed: Mapping[str, str]) -> dict[tuple[int, Unit], list[bytes]]:
    out = {}
    for place, text in packed.items():
        core, unit = map(int, place.split())
        raw = zlib.decompress(base64.b64decode(text))
        words = [raw[at : at + INSTRUCTION_BYTES] for at in range(0, len(raw), INSTRUCTION_BYTES)]
        out[core, Unit(unit)] = words
    return out
