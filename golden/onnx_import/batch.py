"""Files that fix a batch of several pictures, as the model of one picture that they apply to each."""

from collections.abc import Sequence

import numpy as np
import onnx

from golden.int8.fallback import RuntimeRefusal
from golden.onnx_import.convert import near
from golden.onnx_import.trial import try_model

__all__ = ["one_picture"]

MOST = 64
"""Pictures of a batch; a leading dimension that is longer is taken for something else."""


def one_picture(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The model of one picture, and how many the file takes; the file itself, and 1, where it is not that.

    All inputs must begin with the same number, and ONNX Runtime must find that the pictures do not meet each other: on
    seeded inputs, all at once give what each gives alone.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    leading = {_leading(value) for value in inputs}
    count = leading.pop() if len(leading) == 1 else 0
    if not 1 < count <= MOST:
        return proto, 1
    single = onnx.ModelProto()
    single.CopyFrom(proto)
    del single.graph.value_info[:]
    for value in single.graph.input:
        if value.name not in weights:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    names = [value.name for value in proto.graph.output]
    feeds = {value.name: _seeded(value) for value in inputs}
    try:
        whole = try_model(proto.SerializeToString(), feeds, names)
        alone = [
            try_model(single.SerializeToString(), {name: x[i : i + 1] for name, x in feeds.items()}, names)
            for i in range(count)
        ]
    except (RuntimeRefusal, ValueError, TypeError):
        return proto, 1
    same = all(_joined(parts, value) for value, *parts in zip(whole, *alone, strict=True))
    return (single, count) if same else (proto, 1)


def _leading(value: onnx.ValueInfoProto) -> int:
    """The first of several sizes that are all fixed, else 0."""
    dims = value.type.tensor_type.shape.dim
    return dims[0].dim_value if len(dims) > 1 and all(dim.dim_value > 0 for dim in dims) else 0


def _seeded(value: onnx.ValueInfoProto) -> np.ndarray:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    rng = np.random.default_rng(0)
    shape = [dim.dim_value for dim in tensor.shape.dim]
    return (rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)).astype(dtype)


def _joined(parts: Sequence[np.ndarray], whole: np.ndarray) -> bool:
    """Whether outputs of one picture each, behind each other, are the output of all."""
    if any(part.ndim != whole.ndim or part.ndim == 0 for part in parts):
        return False
    shapes = {part.shape[1:] for part in parts} | {whole.shape[1:]}
    return len(shapes) == 1 and near(np.concatenate(parts), whole)
