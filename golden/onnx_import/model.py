"""An ONNX model as plain Python: operators in topological order, constants as arrays, shapes settled."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import onnx

from golden.errors import OnnxError, UnsupportedError
from golden.int8.fallback import Feeds, Port
from golden.onnx_import.feeds import sample_feeds

__all__ = [
    "ELEMENTWISE_OPS", "ELEMENT_LIMIT", "FLOAT_OPS", "LAYERS", "QUANTISED_OPS", "Model", "Op",
    "Shapes", "brings_scales", "captured", "require_bounded",
]  # fmt: skip

ELEMENTWISE_OPS = frozenset({
    "Abs", "Add", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Max",
    "Min", "Mul", "Neg", "PRelu", "Pow", "QuickGelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub",
    "Tanh",
})  # fmt: skip
"""Operators that work on every element alone: of one tensor and single constants they make a table."""

FLOAT_OPS = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv", "ConvTranspose", "Dropout",
    "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MatMul", "MaxPool", "Pad", "ReduceMean",
    "Relu", "Reshape", "Resize", "Slice", "Softmax", "Split", "Squeeze", "Sum", "Transpose", "Unsqueeze",
}) | ELEMENTWISE_OPS  # fmt: skip
"""Operators that a float model may hold."""

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with weights."""

QUANTISED_OPS = frozenset({
    "DequantizeLinear", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv",
    "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul", "QLinearSigmoid", "QuantizeLinear",
})  # fmt: skip
"""Operators that make a model a quantised one."""

ELEMENT_LIMIT = 1 << 26
"""Elements of one value; a model that asks for more is taken for damaged before memory runs out."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes that the user gives: by input, or under the empty name for whichever inputs they fit."""


@dataclass(frozen=True, eq=False)
class Op:
    """One ONNX node."""

    name: str
    kind: str
    """The operator, with its domain where that is not one of ONNX or ONNX Runtime."""
    inputs: tuple[str, ...]
    """An omitted optional input is an empty string."""
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    proto: onnx.NodeProto = field(repr=False)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """All values that it needs: its inputs, and what the graphs inside it take from outside."""
        return (*filter(None, self.inputs), *captured(self.proto))

    def fail(self, what: str, remedy: str) -> NoReturn:
        """Raise an OnnxError that names this node."""
        raise OnnxError(f"node {self.name!r} ({self.kind}): {what}; {remedy}")

    def cannot(self, what: str, remedy: str) -> NoReturn:
        """Raise an UnsupportedError: the node is valid, but the chip cannot run it."""
        raise UnsupportedError(f"node {self.name!r} ({self.kind}): {what}; {remedy}")

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and bool(self.inputs[index])


@dataclass(frozen=True, eq=False)
class Model:
    """A checked ONNX graph, for one set of input shapes."""

    name: str
    inputs: tuple[Port, ...]
    ops: tuple[Op, ...]
    constants: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    types: dict[str, str]
    """Data type of every value where shape inference knows it."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of every value where shape inference knows all of it."""
    opsets: tuple[onnx.OperatorSetIdProto, ...]
    ir_version: int
    loose: frozenset[str] = frozenset()
    """Values whose shape depends on the data."""
    banned: Mapping[str, str] = field(default_factory=dict)
    """Why nodes must stay on the host, by name."""
    pictures: int = 1
    """How many pictures the file takes at once; the model is that of one."""
    native: bool = True
    """Whether the operators are those of opset 13 or later; of older ones only those that never changed are known."""

    taken: tuple[Mapping[str, bool], ...] = ()
    """The branches of `golden.onnx_import.branches` that the nodes stand for."""
    fixed: Feeds = field(default_factory=dict)
    """Inputs of the file that have one value for good, and are constants here."""

    @cached_property
    def sample(self) -> Feeds:
        """Some values of the inputs, to try parts of the model."""
        return sample_feeds(self.inputs)

    @cached_property
    def maker(self) -> dict[str, Op]:
        """The node that puts out a value, by the value's name."""
        return {name: op for op in self.ops for name in op.outputs if name}

    @property
    def quantised(self) -> bool:
        """Whether it brings its own scales."""
        return brings_scales(self.ops)


def brings_scales(ops: Iterable[Op]) -> bool:
    """Whether operators quantise values; what only dequantises stored integers, as of an embedding, does not."""
    return any(op.kind in QUANTISED_OPS and op.kind != "DequantizeLinear" for op in ops)


def captured(node: onnx.NodeProto) -> tuple[str, ...]:
    """Values that the graphs inside a node, of a loop or a branch, take from outside of it."""
    found: dict[str, None] = {}
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {name for inner in graph.node for name in inner.output}
            names = [name for inner in graph.node for name in (*inner.input, *captured(inner))]
            names += [value.name for value in graph.output]
            found |= dict.fromkeys(name for name in names if name and name not in own)
    return tuple(found)


def require_bounded(what: str, shape: Iterable[int]) -> None:
    """Refuse a value of more than ELEMENT_LIMIT elements."""
    shape = tuple(shape)
    if math.prod(shape) > ELEMENT_LIMIT:
        raise OnnxError(f"{what} has shape {shape}; it must stay within {ELEMENT_LIMIT} elements: use a smaller input")
