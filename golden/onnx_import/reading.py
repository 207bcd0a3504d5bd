"""Reading an ONNX file: checked, of a new operator set, its input shapes settled, its constants folded."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from golden.errors import OnnxError
from golden.int8.fallback import Port
from golden.onnx_import.batch import one_picture
from golden.onnx_import.branches import decided, inlined
from golden.onnx_import.convert import convert
from golden.onnx_import.folding import fold
from golden.onnx_import.model import Model, Op, Shapes, captured, require_bounded

__all__ = ["parse", "read"]

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Of operators that go by their bare name."""
KNOWN_DOMAINS = (*DOMAINS, "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft.nchwc", "com.ms.internal.nhwc")
REASON_LENGTH = 200

RANDOM_OPS = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Operators that give other values every time: not even the host can run them if bits are to be compared."""

INPUT_TYPES: dict[int, str] = {
    getattr(TensorProto, name.upper()): kind
    for name, kind in (
        ("float", "float32"), ("float16", "float16"), ("double", "float64"), ("bool", "bool"), ("int8", "int8"),
        ("int16", "int16"), ("int32", "int32"), ("int64", "int64"), ("uint8", "uint8"), ("uint16", "uint16"),
        ("uint32", "uint32"), ("uint64", "uint64"),
    )
}  # fmt: skip
"""Data types of inputs, ONNX's and NumPy's."""


def read(
    path: str | Path,
    shapes: Shapes | None = None,
    *,
    banned: Mapping[str, str] | None = None,
    values: Mapping[str, float] | None = None,
) -> Model:
    """Read and check an ONNX file, convert it to a newer operator set, and fold what does not depend on the data.

    Parameters
    ----------
    shapes : Shapes, optional
        (C, H, W), (F,) or the same behind a batch of 1; needed where the file leaves more than the batch open.
    banned : mapping of str to str, optional
        Why nodes must stay on the host, by name.
    values : mapping of str to float, optional
        Of every element of inputs, by name; these are constants then.

    Raises
    ------
    OnnxError
        If the file is none, contradicts itself, or holds what not even ONNX Runtime runs.
    """
    proto = parse(Path(path))
    graph = proto.graph
    _check_text(proto)
    if not graph.node:
        raise OnnxError(f"{str(path)!r} holds no network (no nodes); export it again")
    _check_operators(graph)
    _sort(graph)
    try:
        _check(proto)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError) as error:
        raise OnnxError(f"{str(path)!r} is not a valid model ({_reason(error)}); export it again") from error
    pictures = 1
    if not shapes and not values:
        proto, pictures = one_picture(proto)
    graph = proto.graph
    inputs, fixed = _fixed(graph, _inputs(graph, shapes or {}), values or {})
    proto, native = convert(proto, inputs)
    taken: tuple[Mapping[str, bool], ...] = ()
    while True:  # branches may hold others
        whole = _model(proto, Path(path), inputs)
        model = fold(replace(whole, banned=banned or {}, native=native, pictures=pictures, taken=taken, fixed=fixed))
        decisions = decided(model) if pictures == 1 else {}  # shapes of one picture are not those of the file
        if not decisions:
            return model
        taken = (*taken, decisions)
        proto = inlined(proto, [decisions])
        _check_operators(proto.graph)


def _model(proto: onnx.ModelProto, path: Path, inputs: tuple[Port, ...]) -> Model:
    """A checked file of settled inputs as it stands."""
    graph = proto.graph
    _sort(graph)
    try:
        inferred = _inferred(proto)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, TypeError) as error:
        raise OnnxError(f"shapes of {str(path)!r} contradict each other ({_reason(error)}); export it again") from error
    _check_sizes(inferred.graph)
    ops = [_op(node) for node in _live(graph)]
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    constants |= {op.outputs[0]: _constant(op) for op in ops if op.kind == "Constant"}
    return Model(
        graph.name or path.stem,
        inputs,
        tuple(op for op in ops if op.kind != "Constant"),
        constants,
        tuple(value.name for value in graph.output),
        {v.name: _type_name(v.type.tensor_type.elem_type) for v in _values(inferred.graph)},
        _known_shapes(inferred.graph) | {port.name: port.shape for port in inputs},
        tuple(proto.opset_import),
        proto.ir_version,
    )


def _inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """With the shapes that onnx finds; those that follow from values only where no two branches share names."""
    try:
        return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)


def parse(path: Path) -> onnx.ModelProto:
    """The protobuf of a file, with its external data, functions expanded.

    Raises
    ------
    OnnxError
        If there is none.
    """
    try:
        proto = onnx.load(str(path))
        return onnx.inliner.inline_local_functions(proto) if proto.functions else proto
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


def _check_operators(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.domain not in KNOWN_DOMAINS:
            _name_op(node).fail(f"domain {node.domain!r} is not ONNX Runtime's", "replace the custom operator")
        if node.op_type in RANDOM_OPS:
            _name_op(node).fail("its values differ from run to run", "not even the host can run it: take it out")


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.input, *graph.value_info, *graph.output]


def _known_shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...]]:
    tensors = {value.name: value.type.tensor_type for value in _values(graph)}
    return {
        name: tuple(dim.dim_value for dim in tensor.shape.dim)
        for name, tensor in tensors.items()
        if tensor.HasField("shape")
        and all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim)
    }


def _check_sizes(graph: onnx.GraphProto) -> None:
    """Refuse values whose inferred shape is absurd."""
    weights = {tensor.name for tensor in graph.initializer}
    for value in _values(graph):
        if value.name not in weights:
            require_bounded(f"value {value.name!r}", (dim.dim_value for dim in value.type.tensor_type.shape.dim))


def _sort(graph: onnx.GraphProto) -> None:
    """Bring the nodes into topological order; refuse cycles and values that come from nowhere."""
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    made = {name for node in graph.node for name in node.output}
    nodes = list(graph.node)  # protobuf makes an object anew for each look
    needs = {id(node): {name for name in (*node.input, *captured(node)) if name} for node in nodes}
    for node in nodes:
        for name in node.input:
            if name and name not in known and name not in made:
                _name_op(node).fail(
                    f"reads {name!r}, which is no input, initialiser or node's output", "export the model with weights"
                )
    waiting, ordered = nodes, []
    while waiting:
        rest = []
        for node in waiting:  # a file that is sorted already stays as it is
            if known.issuperset(needs[id(node)]):
                known.update(node.output)
                ordered.append(node)
            else:
                rest.append(node)
        if len(rest) == len(waiting):
            _name_op(waiting[0]).fail("is on a cycle or behind one", "only feed-forward networks can run")
        waiting = rest
    if any(old is not new for old, new in zip(nodes, ordered, strict=True)):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)


def _live(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes on which an output depends."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input, captured(node))
            live.append(node)
    return live[::-1]


def _inputs(graph: onnx.GraphProto, shapes: Shapes) -> tuple[Port, ...]:
    """The inputs; what the file leaves open is settled and written into it: a batch is 1, shapes fill the rest."""
    constants = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in constants]
    if not values:
        raise OnnxError(f"model {graph.name!r} has no input; its outputs are constants")
    for name in shapes:
        if name and name not in {value.name for value in values}:
            raise OnnxError(f"SHAPE names {name!r}, but the inputs are {', '.join(v.name for v in values)}")
    before = {value.name: _dims(value.type.tensor_type) for value in values}
    ports = tuple(
        _settled_input(value, shapes.get(value.name), shapes.get(""), alone=len(values) == 1) for value in values
    )
    if any(before[port.name] != list(port.shape) for port in ports):
        del graph.value_info[:]
        for value in graph.output:
            _open(value)
    return ports


def _fixed(
    graph: onnx.GraphProto, inputs: tuple[Port, ...], values: Mapping[str, float]
) -> tuple[tuple[Port, ...], dict[str, np.ndarray]]:
    """The inputs that are left, and those that become constants of the graph."""
    ports = {port.name: port for port in inputs}
    fixed: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if name not in ports:
            raise OnnxError(f"INPUT={name}={value:g}: the model's inputs are {', '.join(ports)}")
        kind = np.dtype(ports[name].dtype)
        whole = kind.kind in "iu" and np.iinfo(kind).min <= value <= np.iinfo(kind).max and value == int(value)
        if kind.kind != "f" and not whole and not (kind.kind == "b" and value in (0, 1)):
            raise OnnxError(f"INPUT={name}={value:g}: this input is {kind}; give a value that it can hold")
        fixed[name] = np.full(ports[name].shape, int(value) if whole else value, kind)
        graph.initializer.append(numpy_helper.from_array(fixed[name], name))
    left = tuple(port for port in inputs if port.name not in fixed)
    if not left:
        raise OnnxError(f"INPUT gives all inputs of {graph.name!r} a value; leave one of them to the picture")
    kept = [value for value in graph.input if value.name not in fixed]
    del graph.input[:]
    graph.input.extend(kept)
    return left, fixed


def _open(value: onnx.ValueInfoProto) -> None:
    """Forget the sizes that a file gives for an output; inference finds those of the settled inputs."""
    value.type.tensor_type.ClearField("shape")


def _dims(tensor: Any) -> list[int]:
    """Sizes, 0 where they are open."""
    return [max(dim.dim_value, 0) if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]


def _settled_input(
    value: onnx.ValueInfoProto, own: tuple[int, ...] | None, common: tuple[int, ...] | None, *, alone: bool
) -> Port:
    """The port of an input, its shape written into the file; a common shape is for the inputs that it fits."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type not in INPUT_TYPES:
        kind = _type_name(tensor.elem_type) if value.type.HasField("tensor_type") else value.type.WhichOneof("value")
        raise OnnxError(
            f"input {value.name!r} has data type {kind}; supported are tensors of {', '.join(INPUT_TYPES.values())}"
        )
    if not tensor.HasField("shape") and (own or common) is None:
        raise OnnxError(f"input {value.name!r} has no shape; say SHAPE={value.name}=1,3,224,224 or whatever fits")
    dims = _dims(tensor) if tensor.HasField("shape") else [0] * len(own or common or ())
    given = own or common
    full = tuple(dims) if given is None else tuple(given) if len(given) == len(dims) else (1, *given)
    fits = len(full) == len(dims) and all(old in (0, new) for old, new in zip(dims, full, strict=True))
    if given is not None and (fits or own is not None or alone):
        if not fits:
            raise OnnxError(f"input {value.name!r} has shape {_shown(tensor)}, which SHAPE={given} does not fit")
        dims = list(full)
    elif len(dims) > 1 and dims[0] == 0:
        dims[0] = 1
    if 0 in dims:
        example = ",".join(str(size) if size else "N" for size in dims)
        raise OnnxError(
            f"input {value.name!r} has dynamic shape {_shown(tensor)}; say SHAPE={value.name}={example}, a number for N"
        )
    require_bounded(f"input {value.name!r}", dims)
    del tensor.shape.dim[:]
    for size in dims:
        tensor.shape.dim.add().dim_value = size
    if not dims:
        tensor.shape.SetInParent()
    return Port(value.name, tuple(dims), INPUT_TYPES[tensor.elem_type])


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
