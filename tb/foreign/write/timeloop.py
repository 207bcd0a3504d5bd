"""Inputs of Timeloop 3 (architecture format 0.3): architecture, constraints, and a problem for each kind of layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tb.foreign.shapes import LayerShape, Missing
from tb.foreign.tool import Entry, Target
from tb.foreign.write.alike import alike
from tb.foreign.write.files import dump_yaml

__all__ = ["write_timeloop"]

CHIP = (
    Missing("cores and mesh", "one array; the time of networks is not modelled"),
    Missing("filling and draining", "an array has no pipeline"),
    Missing("memory", "reads and writes have the bandwidth each; here a node has it for both"),
    Missing("memory latency", "there is none"),
    Missing("tap unit", "depthwise layers and pools are no problems of its shape"),
    Missing("instructions", "nothing is fetched, no launch begins or ends"),
)
MAPPER = {
    "optimization-metrics": ["delay", "energy"], "live-status": False, "num-threads": 1, "timeout": 5000,
    "victory-condition": 500, "algorithm": "random-pruned",
}  # fmt: skip


def write_timeloop(
    target: Target, net: str, layers: Sequence[LayerShape], folder: Path
) -> tuple[list[Entry], list[Missing]]:
    """Write the inputs; the layers that they hold, and what they cannot say. Layers alike are one."""
    held, missing = [], list(CHIP)
    for layer in layers:
        why = f"{layer.operator}: no problem of its shape" if layer.kind == "pool" else ""
        why = why or (f"{layer.groups} groups: its shape has none" if layer.groups > 1 else "")
        if why:
            missing.append(Missing(layer.name, why))
        else:
            held.append(layer)
    entries, kinds = alike(held)
    dump_yaml(folder / "arch.yaml", _architecture(target))
    dump_yaml(folder / "constraints.yaml", _constraints(target))
    dump_yaml(folder / "mapper.yaml", {"mapper": MAPPER})
    for number, layer in enumerate(kinds):
        place = folder / f"L{number}"
        place.mkdir(exist_ok=True)
        dump_yaml(place / "problem.yaml", _problem(layer))
    return entries, missing


def _architecture(target: Target) -> dict[str, Any]:
    core, rate = target.chip.cores[0], target.rate
    link = target.chip.link_bytes

    def memory(name: str, words: int, width: int, word_bits: int, read: float, write: float) -> dict[str, Any]:
        return {
            "name": name, "class": "smartbuffer_SRAM",
            "attributes": {
                "memory_depth": max(1, words * word_bits // width), "memory_width": width, "word-bits": word_bits,
                "block-size": width // word_bits, "read_bandwidth": read, "write_bandwidth": write,
            },
        }  # fmt: skip

    pe = {
        "name": f"PE[0..{core.pes - 1}]",
        "local": [
            {"name": "weight_reg", "class": "reg_storage", "attributes": {"depth": 1, "width": 8, "meshX": core.cols}},
            {"name": "mac", "class": "intmac", "attributes": {"datawidth": 8, "meshX": core.cols}},
        ],
    }
    array = {
        "name": "core", "attributes": {"technology": "45nm"},
        "local": [
            memory("activations", core.act_bytes, 8 * core.rows, 8, core.rows, link),
            memory("weights", core.weight_bytes, 8 * core.cols, 8, core.cols, link),
            memory("accumulators", core.acc_entries * core.cols, 32 * core.cols, 32, core.cols, core.cols),
        ],
        "subtree": [pe],
    }  # fmt: skip
    dram = {
        "name": "DRAM", "class": "DRAM",
        "attributes": {
            "type": "LPDDR4", "width": 8 * link, "block-size": link, "word-bits": 8, "read_bandwidth": rate,
            "write_bandwidth": rate,
        },
    }  # fmt: skip
    system = {"name": "system", "local": [dram], "subtree": [array]}
    return {"architecture": {"version": 0.3, "subtree": [system]}}


def _constraints(target: Target) -> dict[str, Any]:
    """Weights stay in PEs: channels on rows, filters on columns; each memory keeps its own tensor."""
    core = target.chip.cores[0]
    everything = ("Inputs", "Weights", "Outputs")

    def keep(memory: str, tensor: str) -> dict[str, Any]:
        others = [other for other in everything if other != tensor]
        return {"target": memory, "type": "bypass", "keep": [tensor], "bypass": others}

    return {
        "architecture_constraints": {
            "targets": [
                keep("activations", "Inputs"), keep("weights", "Weights"), keep("accumulators", "Outputs"),
                keep("weight_reg", "Weights"),
                {
                    "target": "accumulators", "type": "spatial",
                    "factors": f"C<={core.rows} M<={core.cols} N=1 P=1 Q=1 R=1 S=1", "permutation": "CM",
                },
            ]
        }
    }  # fmt: skip


def _problem(layer: LayerShape) -> dict[str, Any]:
    (rows, columns), (tall, wide) = layer.out, layer.kernel
    return {
        "problem": {
            "shape": "cnn-layer",
            "instance": {
                "N": 1, "C": layer.channels if layer.operator != "fc" else layer.depth, "M": layer.filters,
                "P": columns, "Q": rows, "R": wide if layer.operator != "fc" else 1,
                "S": tall if layer.operator != "fc" else 1, "Wstride": layer.stride[1], "Hstride": layer.stride[0],
                "Wdilation": layer.dilation[1], "Hdilation": layer.dilation[0],
            },
        }
    }  # fmt: skip
