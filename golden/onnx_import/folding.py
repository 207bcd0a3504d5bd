"""What of a model does not depend on the data: constants that follow from constants and shapes, and all shapes.

onnx's inference finds the shapes of most values. Where it does not, one run of ONNX Runtime on seeded inputs shows
them; values whose shape depends on the data are told apart by their operators.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from golden.errors import OnnxError
from golden.int8.fallback import RuntimeRefusal
from golden.onnx_import.model import QUANTISED_OPS, Model, Op, brings_scales
from golden.onnx_import.trial import Seen, try_model, try_shapes

__all__ = ["fold", "submodel"]

LOOSE_OPS = frozenset({
    "Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "StringNormalizer", "StringSplit",
    "TfIdfVectorizer", "Unique",
})  # fmt: skip
"""Operators whose results have a shape that the data decide, or may have."""

SHAPING = {
    "AffineGrid": (1,), "CenterCropPad": (1,), "ConstantOfShape": (0,), "Expand": (1,), "MaxUnpool": (2,),
    "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,),
    "TopK": (1,), "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip
"""Operands that decide the shape of a result, by operator."""


def fold(model: Model) -> Model:
    """The model with shapes of all values whose shape the data do not decide, and without nodes that are constants."""
    model = _with_shapes(model)
    found = _sorted(model)
    known = found.known
    shapes = {name: value for name, value in known.items() if value is not None}
    model = replace(
        model,
        constants=model.constants | shapes,
        loose=frozenset(found.loose),
        shapes={name: shape for name, shape in model.shapes.items() if name not in found.loose},
    )
    wanted = {name for op in found.left for name in op.reads} | set(model.outputs)
    done = [op for op in model.ops if all(name in known for name in op.outputs if name)]
    names = [name for name, value in known.items() if value is None and name in wanted]
    computed = _computed(model, done, names)
    if computed is None:
        return model
    return replace(model, ops=_upwards(found.left, model.outputs), constants=model.constants | computed)


def submodel(
    model: Model, ops: Iterable[Op], inputs: Iterable[onnx.ValueInfoProto], outputs: Iterable[str]
) -> onnx.ModelProto:
    """Some nodes, in the model's order, as a model of their own, with the constants that they read."""
    nodes, wanted = list(ops), list(outputs)
    read = {name for op in nodes for name in op.reads} | set(wanted)
    constants = [numpy_helper.from_array(value, name) for name, value in model.constants.items() if name in read]
    results = [onnx.ValueInfoProto(name=name) for name in wanted]
    graph = helper.make_graph([op.proto for op in nodes], "host", list(inputs), results, constants)
    return helper.make_model(graph, opset_imports=list(model.opsets), ir_version=model.ir_version)


def _with_shapes(model: Model) -> Model:
    """Shapes that inference did not find, as a run on seeded inputs shows them."""
    unknown = [
        name
        for op in model.ops
        for name in op.outputs
        if name and (name not in model.shapes or name not in model.types)
    ]
    if not unknown:
        return model
    feeds = [
        helper.make_tensor_value_info(port.name, helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype)), port.shape)
        for port in model.inputs
    ]
    proto = submodel(model, model.ops, feeds, unknown)
    try:
        values = try_shapes(proto.SerializeToString(), model.sample, unknown)
    except (RuntimeRefusal, ValueError) as error:  # of a file that is too large for one message
        raise OnnxError(
            f"ONNX Runtime does not run model {model.name!r} on seeded inputs {_shown(model)} ({error}); give another "
            "SHAPE, mend the node that it names, or give an input that decides branches its value: INPUT=name=1"
        ) from error
    found = {name: value for name, value in zip(unknown, values, strict=True) if value.dtype != "object"}
    return replace(
        model,
        shapes=model.shapes | {name: value.shape for name, value in found.items()},
        types=model.types | {name: _type_name(value) for name, value in found.items()},
    )


def _shown(model: Model) -> str:
    return ", ".join(f"{port.name!r} {port.shape}" for port in model.inputs)


def _type_name(value: Seen) -> str:
    """ONNX's name of a value's data type, as `Model.types` has it."""
    return {"float32": "float", "float64": "double"}.get(value.dtype, value.dtype)


@dataclass
class _Sorted:
    """The values of a model, by what they depend on."""

    known: dict[str, np.ndarray | None]
    """Constants; those that are shapes with their values."""
    left: list[Op]
    """Nodes that put out other values."""
    loose: set[str]
    """Values whose shape the data decide, and all that is computed of them."""


def _sorted(model: Model) -> _Sorted:
    every = _sort(model, quantised=False)
    return _sort(model, quantised=True) if brings_scales(every.left) else every


def _sort(model: Model, *, quantised: bool) -> _Sorted:
    """In one pass; of a quantised model, constants with a scale stay what they are."""
    found = _Sorted({}, [], set())
    known, loose = found.known, found.loose

    def constant(name: str) -> bool:
        return name in model.constants or name in known

    for op in model.ops:
        first = op.inputs[0] if op.inputs else ""
        shape = model.shapes.get(first) if op.kind in ("Shape", "Size") and first not in loose else None
        if shape is not None:
            part = shape[op.attributes.get("start", 0) : op.attributes.get("end", len(shape))]
            size = np.array(part, np.int64) if op.kind == "Shape" else np.array(np.prod(shape, dtype=np.int64))
            known[op.outputs[0]] = size
            continue
        if all(map(constant, op.reads)) and not (quantised and op.kind in QUANTISED_OPS):
            known |= dict.fromkeys(filter(None, op.outputs))
            continue
        found.left.append(op)
        shaping = [op.inputs[index] for index in SHAPING.get(op.kind, ()) if op.has(index)]
        open_ended = op.kind in LOOSE_OPS or op.kind.startswith("Sequence") or not all(map(constant, shaping))
        if open_ended or loose.intersection(op.reads):
            loose.update(filter(None, op.outputs))
    return found


def _computed(model: Model, ops: list[Op], names: list[str]) -> dict[str, np.ndarray] | None:
    """Constants by ONNX Runtime; None where it cannot."""
    if not names:
        return {}
    needed = _upwards([op for op in ops if not all(name in model.constants for name in op.outputs if name)], names)
    try:
        values = try_model(submodel(model, needed, [], names).SerializeToString(), {}, names)
    except (RuntimeRefusal, ValueError):
        return None
    found = dict(zip(names, values, strict=True))
    return None if any(value.dtype == object for value in found.values()) else found


def _upwards(ops: list[Op], names: Iterable[str]) -> tuple[Op, ...]:
    """Of these nodes, in order, those that the values need."""
    wanted, needed = set(names), []
    for op in reversed(ops):
        if wanted.intersection(op.outputs):
            wanted.update(op.reads)
            needed.append(op)
    return tuple(reversed(needed))
