"""Inputs of ZigZag 3.9.1: hardware, mapping and workload in YAML, and a script that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tb.foreign.shapes import LayerShape, Missing
from tb.foreign.tool import Entry, Target
from tb.foreign.write.alike import alike
from tb.foreign.write.files import dump_yaml

__all__ = ["core_yaml", "layer_yaml", "mapping_yaml", "write_zigzag"]

SCRIPT = '''\
"""Runs ZigZag here."""

from zigzag.api import get_hardware_performance_zigzag

get_hardware_performance_zigzag(
    "workload.yaml", "hardware.yaml", "mapping.yaml", opt="latency", dump_folder="results", lpf_limit=5,
    loma_show_progress_bar=False,
)
'''

DRAM_BITS = 10_000_000_000
REGISTER_BITS = 16
"""Of a PE: a weight, and the one that comes next."""

CHIP = (
    Missing("cores and mesh", "one core; packets, routers and multicast are not modelled"),
    Missing("memory latency", "a read takes a cycle and nothing queues"),
    Missing("accumulator banks", "one memory, read and written at once; requantisation takes no time"),
    Missing("tap unit", "depthwise layers and pools are mapped to the array's multipliers, kernel columns on its rows"),
    Missing("instructions", "nothing is fetched, no launch begins or ends"),
    Missing("energy", "costs are 0: only cycles are read"),
)


def write_zigzag(
    target: Target, net: str, layers: Sequence[LayerShape], folder: Path
) -> tuple[list[Entry], list[Missing]]:
    """Write the inputs; the layers that they hold, and what they cannot say. Layers alike are one."""
    entries, kinds = alike(layers)
    workload = [layer_yaml(number, layer) for number, layer in enumerate(kinds)]
    dump_yaml(folder / "hardware.yaml", core_yaml(target, "systomesh"))
    dump_yaml(folder / "mapping.yaml", mapping_yaml(target, kinds))
    dump_yaml(folder / "workload.yaml", workload)
    (folder / "run.py").write_text(SCRIPT)
    return entries, list(CHIP)


def core_yaml(target: Target, name: str, *, dram: bool = True) -> dict[str, Any]:
    """A core of the chip as ZigZag's accelerator: K on the columns, C on the rows; with DRAM, or without."""
    core = target.chip.cores[0]
    link = 8 * target.chip.link_bytes
    memories = {
        "weights_of_pes": _memory(REGISTER_BITS, ["I2"], [], [("r", 8, ["I2, tl"]), ("w", 8, ["I2, fh"])]),
        "accumulators": _memory(
            32 * core.acc_entries, ["O"], ["D2"],
            [("r", 32, ["O, tl"]), ("r", 32, ["O, th"]), ("w", 32, ["O, fh"]), ("w", 32, ["O, fl"])],
        ),
        "activations": _memory(
            8 * core.act_bytes, ["I1"], ["D1", "D2"], [("r", 8 * core.rows, ["I1, tl"]), ("w", link, ["I1, fh"])]
        ),
        "weights": _memory(
            8 * core.weight_bytes, ["I2"], ["D1", "D2"], [("r", 8 * core.cols, ["I2, tl"]), ("w", link, ["I2, fh"])]
        ),
    }  # fmt: skip
    if dram:
        all_ways = ["I1, fh", "I1, tl", "I2, fh", "I2, tl", "O, fh", "O, tl", "O, fl", "O, th"]
        memories["dram"] = _memory(
            DRAM_BITS, ["I1", "I2", "O"], ["D1", "D2"], [("rw", round(8 * target.rate), all_ways)]
        )
    array = {
        "unit_energy": 0.0, "unit_area": 0.0, "dimensions": ["D1", "D2"], "sizes": [core.cols, core.rows],
        "systolic_dimensions": ["D1", "D2"],
    }  # fmt: skip
    return {"name": name, "memories": memories, "operational_array": array}


def _memory(
    bits: int, operands: list[str], served: list[str], ports: Sequence[tuple[str, int, list[str]]]
) -> dict[str, Any]:
    kinds = {"r": "read", "w": "write", "rw": "read_write"}
    made, counts = [], dict.fromkeys(kinds, 0)
    for kind, width, allocation in ports:
        counts[kind] += 1
        made.append({
            "name": f"{kind}_port_{counts[kind]}", "type": kinds[kind], "bandwidth_min": 8, "bandwidth_max": width,
            "allocation": allocation,
        })  # fmt: skip
    return {
        "size": bits, "r_cost": 0.0, "w_cost": 0.0, "area": 0.0, "latency": 1, "operands": operands, "ports": made,
        "served_dimensions": served,
    }  # fmt: skip


def mapping_yaml(target: Target, layers: Sequence[LayerShape]) -> list[dict[str, Any]]:
    """Which loops run on columns and rows.

    Of a layer on the network's own input, taps share the rows with its few channels; of one that goes channel by
    channel they have them.
    """
    core = target.chip.cores[0]
    links = {"O": "O", "W": "I2", "I": "I1"}
    mappings = [("default", [f"K, {core.cols}"], [f"C, {core.rows}"])]
    for number, layer in enumerate(layers):
        columns = min(layer.kernel[1], core.tap_columns)
        if layer.kind in ("depthwise", "pool"):
            mappings.append((f"L{number}", [f"G, {core.tap_lanes}"], [f"FX, {columns}"]))
        elif layer.first and layer.channels < target.chip.link_bytes and layer.kernel[1] > 1:
            across = min(layer.kernel[1], max(1, core.rows // layer.channels))
            down = min(layer.kernel[0], max(1, core.rows // (layer.channels * across)))
            rows = [f"C, {layer.channels}", f"FX, {across}", *([f"FY, {down}"] if down > 1 else [])]
            mappings.append((f"L{number}", [f"K, {core.cols}"], rows))
    return [
        {"name": name, "spatial_mapping": {"D1": columns, "D2": rows}, "memory_operand_links": links}
        for name, columns, rows in mappings
    ]


def layer_yaml(number: int, layer: LayerShape, sources: dict[str, int] | None = None) -> dict[str, Any]:
    """A layer as ZigZag's workload has it; without `sources` it reads what no layer makes."""
    (rows, columns), (tall, wide), (down, right) = layer.out, layer.kernel, layer.stride
    top, left, bottom, across = layer.padding
    pool = layer.kind == "pool"
    loops = {"B": 1, "G": layer.groups, "OY": rows, "OX": columns, "FY": tall, "FX": wide}
    if not pool:
        loops |= {"K": layer.filters // layer.groups, "C": layer.channels // layer.groups}
    return {
        "id": number, "name": f"L{number}", "operator_type": "Pooling" if pool else "Conv",
        "equation": "O[b][g][oy][ox]+=W[fy][fx]*I[b][g][iy][ix]"
        if pool
        else "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [
            f"iy={down}*oy+{layer.dilation[0]}*fy", f"ix={right}*ox+{layer.dilation[1]}*fx",
        ],
        "loop_dims": list(loops), "loop_sizes": list(loops.values()),
        "operand_precision": {"W": 0 if pool else 8, "I": 8, "O": 32, "O_final": 8},
        "operand_source": sources or {"I": number, "W": number},
        "pr_loop_dims": ["IY", "IX"], "pr_loop_sizes": list(layer.size), "padding": [[top, bottom], [left, across]],
    }  # fmt: skip
