"""Inputs of ONNXim (commit a1e8629): configuration, and for each kind of layer an ONNX file of one node.

ONNXim's figures are of a whole model, so that every layer is one of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tb.foreign.shapes import LayerShape, Missing
from tb.foreign.tool import Entry, Target
from tb.foreign.write.alike import alike

__all__ = ["write_onnxim"]

CHIP = (
    Missing("mesh", "one crossbar; routers, hops and multicast are not modelled"),
    Missing("clocks", "core, network and memory are given one clock"),
    Missing("weight and activation memories", "one scratchpad, of both sizes together"),
    Missing("tap unit", "depthwise layers run on the array, pools on a vector unit"),
    Missing("programs", "its own tiling, not the scheduler's"),
)
OPSET = 13
MEGAHERTZ = 1000


def write_onnxim(
    target: Target, net: str, layers: Sequence[LayerShape], folder: Path
) -> tuple[list[Entry], list[Missing]]:
    """Write the inputs; the layers that they hold, and what they cannot say. Layers alike are one."""
    missing = list(CHIP)
    core = target.chip.cores[0]
    if core.rows != core.cols:
        missing.append(Missing("array", f"{core.rows} rows and {core.cols} columns; ONNXim was tried on squares alone"))
    entries, kinds = alike(layers)
    (folder / "config.json").write_text(json.dumps(_configuration(target), indent=1) + "\n")
    for number, layer in enumerate(kinds):
        place = folder / f"L{number}"
        place.mkdir(exist_ok=True)
        (place / f"L{number}.onnx").write_bytes(_model(layer, f"L{number}").SerializeToString())
        listed = {"models": [{"name": f"L{number}", "request_time": 0, "batch_size": 1}]}
        (place / "models.json").write_text(json.dumps(listed) + "\n")
    return entries, missing


def _configuration(target: Target) -> dict[str, object]:
    chip, core = target.chip, target.chip.cores[0]
    return {
        "num_cores": chip.n_cores, "core_type": "systolic_ws", "core_freq": MEGAHERTZ, "core_width": core.cols,
        "core_height": core.rows, "spad_size": (core.act_bytes + core.weight_bytes) // 1024,
        "accum_spad_size": max(1, 4 * core.acc_entries * core.cols // 1024), "sram_width": chip.link_bytes,
        "dram_type": "simple", "dram_freq": MEGAHERTZ, "dram_channels": len(chip.memory_nodes),
        "dram_req_size": max(1, round(target.rate)), "dram_latency": target.memory.latency_cycles,
        "icnt_type": "simple", "icnt_latency": 2, "icnt_freq": MEGAHERTZ, "precision": 1, "layout": "NHWC",
        "scheduler": "simple",
    }  # fmt: skip


def _model(layer: LayerShape, name: str) -> onnx.ModelProto:
    """One node; weights are zeros, of which only the shape counts."""
    shape = [1, layer.channels, *layer.size]
    initial, inputs = [], ["x"]
    attributes: dict[str, Any]
    window: dict[str, Any] = {
        "kernel_shape": list(layer.kernel), "strides": list(layer.stride), "pads": list(layer.padding),
    }  # fmt: skip
    if layer.operator == "fc":
        shape = [1, layer.depth]
        weight, kind, attributes = (layer.filters, layer.depth), "Gemm", {"transB": 1}
    elif layer.operator == "conv":
        weight = (layer.filters, layer.channels // layer.groups, *layer.kernel)
        kind, attributes = "Conv", {**window, "group": layer.groups, "dilations": list(layer.dilation)}
    else:
        weight, attributes = None, window
        kind = "MaxPool" if layer.operator == "maxpool" else "AveragePool"
    if weight is not None:
        initial.append(numpy_helper.from_array(np.zeros(weight, np.float32), "w"))
        inputs.append("w")
    out = [1, layer.filters] if layer.operator == "fc" else [1, layer.filters, *layer.out]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["y"], name, **attributes)], name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)], initial,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="systomesh")
