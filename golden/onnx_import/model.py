"""An ONNX file as plain Python: operators in topological order, constants as arrays, one input."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from golden.errors import OnnxError, UnsupportedError
from golden.int8.fallback import Port

__all__ = [
    "ELEMENTWISE_OPS", "ELEMENT_LIMIT", "FLOAT_OPS", "QUANTISED_OPS", "WAY_OUT", "Model", "Op", "read",
    "require_bounded",
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
    "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Sum", "Transpose", "Unsqueeze",
}) | ELEMENTWISE_OPS  # fmt: skip
"""Operators that a float model may hold."""

QUANTISED_OPS = frozenset({
    "DequantizeLinear", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv",
    "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul", "QLinearSigmoid", "QuantizeLinear",
})  # fmt: skip
"""Operators that make a model a quantised one."""

RANDOM_OPS = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Operators that give other values every time: not even the host can run them if bits are to be compared."""

ELEMENT_LIMIT = 1 << 26
"""Elements of one value; a model that asks for more is taken for damaged before memory runs out."""

WAY_OUT = ", or FALLBACK=host runs it on the host"
"""The end of what is said of a node that the chip cannot run."""

DOMAINS = ("", "ai.onnx", "com.microsoft")
FIRST_OPSET = 13
INPUT_TYPES: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.UINT8: "uint8", TensorProto.INT8: "int8"}
REASON_LENGTH = 200


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

    def fail(self, what: str, remedy: str) -> NoReturn:
        """Raise an OnnxError that names this node."""
        raise OnnxError(f"node {self.name!r} ({self.kind}): {what}; {remedy}")

    def cannot(self, what: str, remedy: str) -> NoReturn:
        """Raise an UnsupportedError: the node is valid, but the chip cannot run it."""
        raise UnsupportedError(f"node {self.name!r} ({self.kind}): {what}; {remedy}{WAY_OUT}")

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and bool(self.inputs[index])


@dataclass(frozen=True, eq=False)
class Model:
    """A checked ONNX graph with one input of batch one."""

    name: str
    input: str
    input_shape: tuple[int, ...]
    input_type: str
    """float32, uint8 or int8."""
    ops: tuple[Op, ...]
    constants: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    types: dict[str, str]
    """Data type of every value where shape inference knows it."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of every value where shape inference knows all of it."""
    opsets: tuple[onnx.OperatorSetIdProto, ...]
    ir_version: int
    fallback: bool
    """Whether nodes that the chip cannot run go to the host."""

    @property
    def port(self) -> Port:
        """The input as ONNX sees it."""
        return Port(self.input, self.input_shape, self.input_type)

    @cached_property
    def maker(self) -> dict[str, Op]:
        """The node that puts out a value, by the value's name."""
        return {name: op for op in self.ops for name in op.outputs if name}

    @property
    def quantised(self) -> bool:
        """Whether it brings its own scales."""
        return any(op.kind in QUANTISED_OPS for op in self.ops)


def read(path: str | Path, shape: tuple[int, ...] | None = None, *, fallback: bool = False) -> Model:
    """Read and check an ONNX file.

    Parameters
    ----------
    shape : (C, H, W), (F,) or the same behind a batch of 1, optional
        Of the input; needed where the file leaves it open.
    fallback : bool
        Take operators that the chip does not know, for the host.

    Raises
    ------
    OnnxError
        If the file is none, contradicts itself, or holds an operator or data type that is not supported.
    """
    proto = _parse(Path(path))
    graph = proto.graph
    _check_text(proto)
    if not graph.node:
        raise OnnxError(f"{str(path)!r} holds no network (no nodes); export it again")
    _check_opset(proto)
    _check_operators(graph, fallback=fallback)
    _sort(graph)
    try:
        _check(proto)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError) as error:
        raise OnnxError(f"{str(path)!r} is not a valid model ({_reason(error)}); export it again") from error
    name, input_shape, input_type = _input(graph, shape)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, TypeError) as error:
        raise OnnxError(f"shapes of {str(path)!r} contradict each other ({_reason(error)}); export it again") from error
    _check_sizes(inferred.graph)
    ops = [_op(node) for node in _live(graph)]
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    constants |= {op.outputs[0]: _constant(op) for op in ops if op.kind == "Constant"}
    return Model(
        graph.name or Path(path).stem,
        name,
        input_shape,
        input_type,
        tuple(op for op in ops if op.kind != "Constant"),
        constants,
        tuple(value.name for value in graph.output),
        {v.name: _type_name(v.type.tensor_type.elem_type) for v in _values(inferred.graph)},
        _known_shapes(inferred.graph),
        tuple(proto.opset_import),
        proto.ir_version,
        fallback,
    )


def require_bounded(what: str, shape: Iterable[int]) -> None:
    """Refuse a value of more than ELEMENT_LIMIT elements."""
    shape = tuple(shape)
    if math.prod(shape) > ELEMENT_LIMIT:
        raise OnnxError(f"{what} has shape {shape}; it must stay within {ELEMENT_LIMIT} elements: use a smaller input")


def _parse(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(str(path))
    except FileNotFoundError as error:
        missing = error.filename or path
        raise OnnxError(f"model {str(missing)!r} does not exist; check NET") from None
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise OnnxError(f"{str(path)!r} is truncated or no ONNX file ({_reason(error)}); export it again") from error


def _check(proto: onnx.ModelProto) -> None:
    """The checker of ONNX, which wants a shape of every output; ONNX Runtime does not, and inference finds it."""
    outputs = list(proto.graph.output)
    del proto.graph.output[:]
    proto.graph.output.extend(value for value in outputs if value.type.tensor_type.HasField("shape"))
    onnx.checker.check_model(proto)
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)


def _check_text(proto: onnx.ModelProto) -> None:
    """Refuse names that are not UTF-8; protobuf hands these out as bytes."""
    graph = proto.graph
    names = [graph.name, *(tensor.name for tensor in graph.initializer)]
    names += [entry.domain for entry in proto.opset_import]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    for value in (*graph.input, *graph.output):
        names += [value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim)]
    for name in names:
        if not isinstance(name, str):
            raise OnnxError(f"model {str(graph.name)!r} holds a name that is no text ({name!r}); export it again")


def _check_opset(proto: onnx.ModelProto) -> None:
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise OnnxError(f"model {proto.graph.name!r} names no operator set; export it again with opset 13 or later")
    if min(versions) < FIRST_OPSET:
        raise OnnxError(f"model {proto.graph.name!r} has opset {min(versions)}; convert it to {FIRST_OPSET} or later")


def _check_operators(graph: onnx.GraphProto, *, fallback: bool) -> None:
    supported = FLOAT_OPS | QUANTISED_OPS
    for node in graph.node:
        inner = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        if fallback and (inner or node.op_type in RANDOM_OPS):
            why = "it holds a graph of its own" if inner else "its values differ from run to run"
            _name_op(node).fail(why, "not even the host can run it: take it out of the model")
        if fallback:
            continue
        op = _name_op(node)
        if op.kind not in supported:
            op.cannot(f"operator {op.kind} cannot run on the chip", f"supported are {', '.join(sorted(supported))}")


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.input, *graph.value_info, *graph.output]


def _known_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    tensors = {value.name: value.type.tensor_type for value in _values(graph)}
    return {
        name: tuple(dim.dim_value for dim in tensor.shape.dim)
        for name, tensor in tensors.items()
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    }


def _check_sizes(graph: onnx.GraphProto) -> None:
    """Refuse values whose inferred shape is absurd."""
    for value in _values(graph):
        require_bounded(f"value {value.name!r}", (dim.dim_value for dim in value.type.tensor_type.shape.dim))


def _sort(graph: onnx.GraphProto) -> None:
    """Bring the nodes into topological order; refuse cycles and values that come from nowhere."""
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    made = {name for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            if name not in known and name not in made:
                _name_op(node).fail(
                    f"reads {name!r}, which is no input, initialiser or node's output", "export the model with weights"
                )
    waiting, ordered = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            _name_op(waiting[0]).fail("is on a cycle or behind one", "only feed-forward networks can run")
        # One at a time keeps a file that is already sorted as it is.
        for node in ready:
            known.update(node.output)
        ordered += ready
        waiting = [node for node in waiting if all(node is not other for other in ready)]
    if any(old is not new for old, new in zip(graph.node, ordered, strict=True)):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)


def _live(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes on which an output depends."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            live.append(node)
    return live[::-1]


def _input(graph: onnx.GraphProto, shape: tuple[int, ...] | None) -> tuple[str, tuple[int, ...], str]:
    """Name, shape and type of the one input; a given shape is written into the graph."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise OnnxError(f"model {graph.name!r} has {len(inputs)} inputs ({names}); give it exactly one")
    (value,) = inputs
    tensor = value.type.tensor_type
    if tensor.elem_type not in INPUT_TYPES:
        raise OnnxError(
            f"input {value.name!r} has data type {_type_name(tensor.elem_type)}; supported are "
            f"{', '.join(INPUT_TYPES.values())}"
        )
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    if shape is not None:
        full = tuple(shape) if len(shape) == len(dims) else (1, *shape)
        differs = len(full) != len(dims) or any(old not in (0, new) for old, new in zip(dims, full, strict=True))
        if differs or min(full) < 1:
            raise OnnxError(f"input {value.name!r} has shape {_shown(tensor)}, which SHAPE={shape} does not fit")
        for dim, size in zip(tensor.shape.dim, full, strict=True):
            dim.dim_value = size
        dims = list(full)
        del graph.value_info[:]
    if not tensor.HasField("shape") or not dims or min(dims) < 1:
        raise OnnxError(f"input {value.name!r} has dynamic shape {_shown(tensor)}; say SHAPE=C,H,W")
    if dims[0] != 1 or len(dims) not in (2, 4):
        raise OnnxError(f"input {value.name!r} has shape {_shown(tensor)}; (1, C, H, W) or (1, F) can run")
    require_bounded(f"input {value.name!r}", dims)
    return value.name, tuple(dims), INPUT_TYPES[tensor.elem_type]


def _op(node: onnx.NodeProto) -> Op:
    op = _name_op(node)
    for attribute in node.attribute:
        try:
            value = onnx.helper.get_attribute_value(attribute)
            op.attributes[attribute.name] = _array(value) if isinstance(value, TensorProto) else value
        except (ValueError, TypeError) as error:
            op.fail(f"attribute {attribute.name!r} is unreadable ({_reason(error)})", "export the model again")
    return op


def _constant(op: Op) -> np.ndarray:
    for key, value in op.attributes.items():
        if key == "value" and isinstance(value, np.ndarray):
            return value
        if key in ("value_float", "value_floats"):
            return np.asarray(value, dtype=np.float32)
        if key in ("value_int", "value_ints"):
            return np.asarray(value, dtype=np.int64)
    return op.fail("it holds no tensor of numbers", "use attribute value")


def _name_op(node: onnx.NodeProto) -> Op:
    return Op(
        node.name or (node.output[0] if node.output else "?"),
        node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}",
        tuple(node.input),
        tuple(node.output),
        {},
        node,
    )


def _array(tensor: TensorProto) -> np.ndarray:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError, KeyError, OSError, AttributeError) as error:
        raise OnnxError(f"tensor {tensor.name!r} is unreadable ({_reason(error)}); export the model again") from error


def _type_name(code: int) -> str:
    return {value: name.lower() for name, value in TensorProto.DataType.items()}.get(code, str(code))


def _shown(tensor: Any) -> str:
    dims = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    return f"({', '.join(dims)})"


def _reason(error: BaseException) -> str:
    """An error's text as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 3] + "..."
