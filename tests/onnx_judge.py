"""ONNX Runtime as the judge of quantised models, layer by layer, and the explanation of every difference.

A difference of one is allowed only where ONNX Runtime's own float32 arithmetic cannot tell a rounding tie from its
neighbourhood: the exact value lies closer to the tie than the roundings of that arithmetic add up to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from golden.int8 import ops
from golden.int8.fallback import run_model
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConv, QNode, QPool
from golden.int8.requant import INT8
from golden.onnx_import import QuantisedModel
from golden.onnx_import.attributes import Names

__all__ = ["Verdict", "bytes_for", "explain", "judge", "outputs", "require_equal_outputs", "session"]

FLOAT32_UNIT = Fraction(1, 1 << 24)
"""Largest relative error of one float32 rounding."""


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs(model: onnx.ModelProto, graph: QGraph, image: np.ndarray) -> dict[str, np.ndarray]:
    """ONNX Runtime's outputs of a model as it is, int8[C, H, W] by tensor."""
    return _values(model, graph, image, dict(zip(graph.outputs, (v.name for v in model.graph.output), strict=True)))


def require_equal_outputs(path: Path, model: QuantisedModel, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All tensors for these inputs; fails unless every output of the model is ONNX Runtime's, bit for bit."""
    graph = model.bound([feeds])
    tensors = ops.run(graph, model.image(feeds))
    got = model.results(feeds, model.onnx_values(tensors))
    for name, expected in zip(got, run_model(str(path), feeds, list(got)), strict=True):
        np.testing.assert_array_equal(got[name], expected, err_msg=name)
    return tensors


def bytes_for(model: QuantisedModel, seed: int) -> dict[str, np.ndarray]:
    """Random integers for the inputs of a model that takes them."""
    rng = np.random.default_rng(seed)
    infos = {port.name: (np.iinfo(port.dtype), port.shape) for port in model.inputs}
    return {
        name: rng.integers(info.min, info.max + 1, shape).astype(info.dtype) for name, (info, shape) in infos.items()
    }


def _all_tensors(model: onnx.ModelProto, graph: QGraph, image: np.ndarray) -> dict[str, np.ndarray]:
    """ONNX Runtime's values of the tensors of a graph, int8[C, H, W], as far as the model has them.

    Every quantised value is made an output of the model, so that one difference does not spread to the next layers.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    named = {Names().new(name): name for node in model.graph.node for name in node.output}
    wanted = {tensor: named[tensor] for tensor in graph.tensors if tensor in named}
    present = {value.name for value in model.graph.output}
    for name in wanted.values():
        if name not in present:
            shown.graph.output.append(onnx.ValueInfoProto(name=name))
    return _values(shown, graph, image, wanted)


def _values(
    model: onnx.ModelProto, graph: QGraph, image: np.ndarray, wanted: Mapping[str, str]
) -> dict[str, np.ndarray]:
    (source,) = model.graph.input
    dtype = helper.tensor_dtype_to_np_dtype(source.type.tensor_type.elem_type)
    feed = _from_int8(image, dtype)[None]
    values = session(model).run(list(wanted.values()), {source.name: feed})
    return {
        tensor: _to_int8(np.asarray(value)).reshape(graph.tensors[tensor].shape)
        for tensor, value in zip(wanted, values, strict=True)
    }


def _from_int8(raw: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return (raw.astype(np.int16) + 128 * (dtype == np.uint8)).astype(dtype)


def _to_int8(value: np.ndarray) -> np.ndarray:
    return (value.astype(np.int16) - 128 * (value.dtype == np.uint8)).astype(np.int8)


@dataclass(frozen=True)
class Verdict:
    """What a judgement found."""

    elements: int
    """Compared with ONNX Runtime."""
    ties: int
    """That differ, each explained."""


def judge(model: onnx.ModelProto, graph: QGraph, image: np.ndarray) -> Verdict:
    """Compare each node, given ONNX Runtime's values of its inputs, with ONNX Runtime's output; explain differences.

    Raises
    ------
    AssertionError
        With the node and the element, for a difference that is no tie.
    """
    reference = _all_tensors(model, graph, image)
    values = {graph.input: image} | reference
    elements = ties = 0
    for node in graph.nodes:
        got = ops.run_node(node, values)
        if node.output not in reference:  # a step inside an ONNX node: only what comes out of that can be compared
            values[node.output] = got
            continue
        different = np.argwhere(got != reference[node.output])
        for index in different:
            where = (int(index[0]), int(index[1]), int(index[2]))
            explain(node, values, where, int(got[where]), int(reference[node.output][where]))
        elements, ties = elements + got.size, ties + len(different)
    return Verdict(elements, ties)


def explain(node: QNode, values: Mapping[str, np.ndarray], where: tuple[int, int, int], got: int, other: int) -> None:
    """Fail unless both answers are the neighbours of a tie that float32 cannot resolve."""
    assert isinstance(node, QConv | QPool | QAdd), f"{node.name} only copies, yet {where} is {got} and {other}"
    assert node.requant is not None, f"{node.name} only compares, yet {where} is {got} and {other}"
    requant, channel = node.requant, where[0]
    sums = ops.accumulate(node, values)
    scale = Fraction(int(requant.multiplier[channel]), 1 << int(requant.shift[channel]))
    exact = int(sums[where]) * scale + requant.zero_point
    below = exact.__floor__()
    distance = abs(exact - below - Fraction(1, 2))
    slack = FLOAT32_UNIT * _roundings(node, values, where) * scale
    text = f"{node.name}{where}: {got} here, {other} there, exactly {float(exact):.9f} before rounding"
    assert distance <= slack, f"{text}; float32 explains {float(slack):.2g} around a tie, not {float(distance):.2g}"
    bounds = max(requant.lo, INT8[0]), min(requant.hi, INT8[1])
    neighbours = {min(max(side, bounds[0]), bounds[1]) for side in (below, below + 1)}
    assert {got, other} <= neighbours, f"{text}; the neighbours are {sorted(neighbours)}"


def _roundings(node: QConv | QPool | QAdd, values: Mapping[str, np.ndarray], where: tuple[int, int, int]) -> int:
    """Magnitudes, in units of the accumulator, that ONNX Runtime's float32 arithmetic rounds, one for each rounding."""
    magnitude = abs(int(ops.accumulate(node, values)[where]))
    # The scale's product and quotient, the accumulator's conversion, and the product with it.
    count = 4 * magnitude
    if isinstance(node, QAdd):
        # Both operands are dequantised, added, and the zero point is added before or after.
        terms = (abs(w * int(values[name][where])) for w, name in zip(node.weights, node.inputs, strict=True))
        count += 4 * (sum(terms) + abs(node.bias))
    return count
