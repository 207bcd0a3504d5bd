"""Records of runs that nobody made, of any size: seeded, and as consistent as those of the hardware."""

from __future__ import annotations

import random
from dataclasses import replace

from rtl.contract.isa import TrafficClass
from rtl.contract.params import ChipParams, chip_table, default_chip
from tb.report.mesh import LaunchLoad, Load
from tb.report.record import RunRecord
from tb.report.summary import CAUSES, LayerSummary, PartSummary, Summary
from tb.run.loads import mesh_of

__all__ = ["make_record"]

OPS = ("conv", "conv+maxpool", "depthwise", "fc", "avgpool")
ENERGIES = {"mine": ("mac", "dram", "network"), "relative": ("mac", "dram")}


def make_record(
    name: str = "made", cores: int = 4, layers: int = 5, launches: int = 1, seed: int = 1,
    chip: ChipParams | None = None,
) -> RunRecord:  # fmt: skip
    """A run of so many layers in so many launches, and of a layer on the host behind them."""
    rng = random.Random(seed)
    chip = chip or default_chip(cores)
    links = len(mesh_of(chip, ()).links)
    summary = Summary(
        net="made <net>", cores=chip.n_cores, array="16x16", sim="verilator", schedule="made up", seed=seed,
        pe_count=chip.pes,
        memory={"latency_cycles": 64, "bytes_per_cycle": 16.0, "nodes": len(chip.memory_nodes)},
        lower_bound_cycles=1000.0, build_s=1.0, schedule_s=2.0, golden_s=0.5, bit_exact=True,
        energy_units={"mine": "pJ", "relative": "MAC"}, chip=chip_table(chip),
        provenance={"commit": "abc", "versions": {"numpy": "2"}},
    )  # fmt: skip
    loads: list[LaunchLoad | None] = []
    for launch in range(launches):
        parts = [
            _part(rng, f"block{launch}.features.{at}.conv", links, chip.n_cores, len(chip.memory_nodes), chip.pes)
            for at in range(launch, layers, launches)
        ]
        layer, load = _together(f"launch{launch}", parts, chip.pes, rng)
        summary.layers.append(layer)
        loads.append(load)
    host = LayerSummary("softmax", "host", 0, 0, 0, 0.0, {}, True, 0.1, mapping="Softmax", host_bytes=10, on_host=True)
    summary.layers.append(host)
    return RunRecord(name, summary, mesh_of(chip, [*loads, None]))


def _part(
    rng: random.Random, name: str, links: int, cores: int, memories: int, pes: int
) -> tuple[PartSummary, Load]:
    op = rng.choice(OPS)
    cycles = round(10 ** rng.uniform(2, 5))
    of_cores = [_split(rng, cycles, len(CAUSES)) for _ in range(cores)]
    causes = {cause: sum(core[at] for core in of_cores) / cores for at, cause in enumerate(CAUSES)}
    moved = [rng.randrange(16 * cycles) for _ in range(memories)]
    kinds = _split(rng, sum(moved), len(TrafficClass))
    energy = {each: {kind: rng.uniform(1e3, 1e6) for kind in of} for each, of in ENERGIES.items()}
    part = PartSummary(
        name, op, 0 if op == "avgpool" else rng.randrange(pes * cycles), "2 x 2 cores (channels x rows), 3 tiles",
        cycles, round(cycles * rng.uniform(0.9, 1.1)),
        {kind.name.lower(): kinds[at] for at, kind in enumerate(TrafficClass)}, causes, energy,
    )  # fmt: skip
    return part, Load(cycles, of_cores, [rng.randrange(cycles) for _ in range(links)], moved, [0] * memories)


def _together(
    name: str, parts: list[tuple[PartSummary, Load]], pes: int, rng: random.Random
) -> tuple[LayerSummary, LaunchLoad]:
    """The launch of some parts; of one alone nothing is said apart."""
    loads = [load for _, load in parts]
    whole = sum(loads[1:], loads[0])
    blocked = [rng.randrange(round(whole.cycles)) for _ in whole.cores]
    some = [part for part, _ in parts]
    cycles, estimated = round(whole.cycles), sum(part.estimated_cycles for part in some)
    macs = sum(part.macs for part in some)
    layer = LayerSummary(
        name if len(parts) > 1 else some[0].name, ", ".join(part.op for part in some), cycles, estimated, macs,
        macs / (pes * cycles), _sums([part.dram_bytes for part in some]), True, 0.5,
        _sums([part.compute_cycles for part in some]), "; ".join(part.mapping for part in some),
        parts=some if len(parts) > 1 else [], estimated_interval=(0.97 * estimated, 1.03 * estimated),
        energy={each: _sums([part.energy[each] for part in some]) for each in ENERGIES},
    )  # fmt: skip
    return layer, LaunchLoad(replace(whole, blocked=blocked), loads if len(parts) > 1 else [])


def _split(rng: random.Random, total: int, count: int) -> list[int]:
    """So many counts that add up to a total."""
    cuts = sorted(rng.randrange(total + 1) for _ in range(count - 1))
    return [high - low for low, high in zip([0, *cuts], [*cuts, total], strict=True)]


def _sums(some: list) -> dict:
    return {name: sum(each[name] for each in some) for name in some[0]}
