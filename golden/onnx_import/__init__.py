"""Networks from ONNX files: quantised ones as they are, float ones as a graph to quantise."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from golden.int8 import ops
from golden.int8.qgraph import QGraph, QTensor
from golden.int8.qnodes import QHost
from golden.int8.quant import affine
from golden.onnx_import.floats import import_float
from golden.onnx_import.imported import FloatModel, Output, QuantisedModel
from golden.onnx_import.islands import largest_refusal
from golden.onnx_import.judge import Judgement, judge_float, judge_quantised
from golden.onnx_import.model import read
from golden.onnx_import.quantised import import_quantised

__all__ = [
    "FloatModel", "Judgement", "Output", "QuantisedModel", "judge_float", "judge_quantised", "largest_refusal",
    "load_onnx", "settle",
]  # fmt: skip


def load_onnx(
    path: str | Path, shape: tuple[int, ...] | None = None, *, fallback: bool = False
) -> QuantisedModel | FloatModel:
    """Import an ONNX file.

    Parameters
    ----------
    shape : (C, H, W), (F,) or the same behind a batch of 1, optional
        Of the input; needed where the file leaves it open.
    fallback : bool
        Nodes that the chip cannot run become nodes for the host; otherwise they are refused.

    Raises
    ------
    OnnxError
        In one line, with the node or tensor and the remedy.
    """
    model = read(path, shape, fallback=fallback)
    return import_quantised(model) if model.quantised else import_float(model)


def settle(model: QuantisedModel, image: np.ndarray) -> QuantisedModel:
    """Scale the real outputs of the host by what they are for one input int8[C, H, W]."""
    if not model.unscaled:
        return model
    values = ops.run(model.graph, image)
    tensors, nodes = dict(model.graph.tensors), list(model.graph.nodes)
    for index, node in enumerate(nodes):
        if isinstance(node, QHost) and node.output in model.unscaled:
            real = node.real([values[name] for name in node.inputs])
            old = tensors[node.output]
            tensors[node.output] = made = QTensor(old.name, old.shape, *affine(float(real.min()), float(real.max())))
            nodes[index] = replace(node, scales=(*node.scales[:-1], (made.scale, made.zero_point)))
    graph = QGraph(model.graph.name, model.graph.input, model.graph.outputs, tensors, tuple(nodes))
    return replace(model, graph=graph, unscaled=())
