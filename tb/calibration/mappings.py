"""The scheduler's choice of mappings against the best of many that were run on the RTL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from estimator import MemoryTiming, estimate
from rtl.contract.params import ChipParams, default_chip
from scheduler.choose import Policy
from scheduler.kinds.layers import Layers
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.work.work import Work
from tb.calibration.layers import Layer, Network, load_networks, measure_network
from tb.calibration.record import JudgedMapping

__all__ = ["CANDIDATES", "measure_mappings"]

CANDIDATES = 20
"""Mappings of a layer that are run: the best by the closed form."""
NETS = (("lenet5", 4), ("squeezenet1_1", 4), ("mobilenet_v2", 4), ("squeezenet1_1", 16), ("resnet18", 16))
"""Networks and cores whose layers are taken, until there are enough."""


@dataclass(frozen=True)
class _Ranked:
    """A search that finds one mapping of a work: that of a rank, or the last one if there are fewer."""

    rank: int

    def __call__(
        self, work: Work, cores: tuple[int, ...], chip: ChipParams, memory: MemoryTiming, count: int = 1
    ) -> list[Mapping]:
        return best_mappings(work, cores, chip, memory, self.rank + 1)[-1:]


def measure_mappings(
    least: int, folder: Path, jobs: int, say: Callable[[str], None] = lambda _: None
) -> tuple[JudgedMapping, ...]:
    """Run at least so many layers with the mapping that the scheduler chooses, and with `CANDIDATES` others.

    Each rank of all layers of a network is one run; what was run on this hardware is not run again.

    Raises
    ------
    RunError
        If a bit differs.
    """
    found: list[JudgedMapping] = []
    known = {(network.net, network.chip_name, network.schedule): network for network in load_networks(folder)}
    for net, cores in NETS:
        if len(found) >= least:
            break
        chip, name = default_chip(cores), f"{cores}cores"
        say(f"mappings of {net} on {cores} cores: the chosen ones")
        # The choice depends on the coefficients: a run keeps only the launches whose programs are still the same.
        chosen = measure_network(net, name, chip, folder / "chosen", schedule="chosen", kind=Layers(), jobs=jobs)
        ranked: list[Network] = []
        for rank in range(CANDIDATES):
            schedule = f"rank{rank}"
            if (net, name, schedule) not in known:
                say(f"mappings of {net} on {cores} cores: {rank + 1} of {CANDIDATES}")
                kind = Layers(policy=Policy(candidates=1, slow_candidates=1), search=_Ranked(rank))
                known[net, name, schedule] = measure_network(
                    net, name, chip, folder, schedule=schedule, kind=kind, jobs=jobs
                )
            ranked.append(known[net, name, schedule])
        found += [_judged(layer, name, ranked) for layer in chosen.layers]
    return tuple(mapping for mapping in found if len(mapping.candidates) > 1)


def _judged(chosen: Layer, chip_name: str, ranked: list[Network]) -> JudgedMapping:
    """A layer with all different mappings that were run, its own among them."""
    others = [layer for network in ranked for layer in network.layers if layer.name == chosen.name]
    programs = {_program(layer): layer for layer in [*others, chosen]}
    candidates = sorted(
        (estimate(layer, layer.chip, layer.settings).cycles, layer.cycles) for layer in programs.values()
    )
    return JudgedMapping(chosen.net, chip_name, chosen.name, chosen.op, chosen.cycles, tuple(candidates))


def _program(layer: Layer) -> tuple[str, int]:
    """What tells two mappings of a layer apart; programs at other addresses are the same."""
    return layer.mapping, sum(map(len, layer.streams.values()))
