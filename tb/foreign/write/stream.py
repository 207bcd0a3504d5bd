"""Inputs of Stream (commit 28fb901): cores, mesh, mapping, and a workload for each kind of layer, in YAML.

Stream's figures are of a whole workload, so that every layer is one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtl.contract.params import ChipParams, Direction
from tb.foreign.shapes import LayerShape, Missing
from tb.foreign.tool import Entry, Target
from tb.foreign.write.alike import alike
from tb.foreign.write.files import dump_yaml
from tb.foreign.write.zigzag import core_yaml, layer_yaml, mapping_yaml

__all__ = ["write_stream"]

CHIP = (
    Missing("routers", "no packets, virtual channels or hops; a link carries its bandwidth"),
    Missing("multicast", "every core's copy of a load crosses its links"),
    Missing("tap unit", "depthwise layers and pools are mapped to the array's multipliers, kernel columns on its rows"),
    Missing("memory latency", "a read takes a cycle and nothing queues"),
    Missing("instructions", "nothing is fetched, no launch begins or ends"),
    Missing("energy", "costs are 0: only cycles are read"),
)


def write_stream(
    target: Target, net: str, layers: Sequence[LayerShape], folder: Path
) -> tuple[list[Entry], list[Missing]]:
    """Write the inputs; the layers that they hold, and what they cannot say. Layers alike are one."""
    chip, missing = target.chip, list(CHIP)
    entries, kinds = alike(layers)
    if len({(core.rows, core.cols) for core in chip.cores}) > 1:
        missing.append(Missing("cores of other shapes", "all are written as the first"))
    if len(chip.memory_nodes) > 1:
        missing.append(Missing("memory nodes", f"{len(chip.memory_nodes)} are one core, linked to each of their cores"))
    cores = folder / "cores"
    cores.mkdir(exist_ok=True)
    dump_yaml(cores / "core.yaml", {**core_yaml(target, "core", dram=False), "type": "compute"})
    offchip = core_yaml(target, "offchip")
    offchip["memories"] = {"dram": offchip["memories"]["dram"]}
    offchip["operational_array"]["sizes"] = [0, 0]
    dump_yaml(cores / "offchip.yaml", {**offchip, "type": "memory"})
    dump_yaml(folder / "hardware.yaml", _mesh(target))
    allocation = list(range(chip.n_cores))
    for number, layer in enumerate(kinds):
        place = folder / f"L{number}"
        place.mkdir(exist_ok=True)
        dump_yaml(place / "workload.yaml", [layer_yaml(0, layer)])
        split = [f"{'G' if layer.groups > 1 else 'K'}, {chip.n_cores}"] if chip.n_cores > 1 else []
        mappings = [
            {**mapping, "core_allocation": allocation, "inter_core_tiling": split}
            for mapping in mapping_yaml(target, [layer])
        ]
        dump_yaml(place / "mapping.yaml", mappings)
    return entries, missing


def _mesh(target: Target) -> dict[str, Any]:
    """Cores by number, then the memory; links of the mesh both ways."""
    chip = target.chip
    offchip, bits = chip.n_cores, 8 * chip.link_bytes
    links = [
        {"type": "link", "cores": [one, other], "bandwidth": bits}
        for one in range(chip.n_cores)
        for other in _neighbours(chip, one)
        if one < other
    ]
    homes = sorted({node.y * chip.mesh_width + node.x for node in chip.memory_nodes})
    links += [{"type": "link", "cores": [core, offchip], "bandwidth": round(8 * target.rate)} for core in homes]
    places = {core: [core % chip.mesh_width, core // chip.mesh_width] for core in range(chip.n_cores)}
    return {
        "name": "systomesh", "cores": {**dict.fromkeys(places, "core.yaml"), offchip: "offchip.yaml"},
        "offchip_core_id": offchip, "core_connectivity": links, "core_coordinates": {**places, offchip: _beside(chip)},
    }  # fmt: skip


def _neighbours(chip: ChipParams, core: int) -> list[int]:
    x, y = core % chip.mesh_width, core // chip.mesh_width
    east = [core + 1] if x + 1 < chip.mesh_width else []
    return east + ([core + chip.mesh_width] if y + 1 < chip.mesh_height else [])


def _beside(chip: ChipParams) -> list[int]:
    """Coordinates of the first memory node."""
    node = chip.memory_nodes[0]
    step = {Direction.WEST: (-1, 0), Direction.EAST: (1, 0), Direction.NORTH: (0, -1), Direction.SOUTH: (0, 1)}
    x, y = step[node.side]
    return [node.x + x, node.y + y]
