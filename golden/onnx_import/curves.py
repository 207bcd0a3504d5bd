"""Curves: functions of one quantised tensor that element-wise operators make, and the tables that compute them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from golden.int8.qnodes import QPool
from golden.onnx_import.builder import Builder
from golden.onnx_import.lower import NO_WINDOW
from golden.onnx_import.model import Op
from golden.onnx_import.operands import require_unpadded
from golden.onnx_import.tables import compute_table, identity
from golden.onnx_import.values import Activation, Curve, Fixed, QParams

__all__ = ["ONE_TENSOR", "curve_of", "curve_of_float", "tabulate"]

ONE_TENSOR = "element-wise operators run on one quantised tensor and single constants: put QuantizeLinear before them"


def curve_of_float(build: Builder, op: Op) -> Curve | None:
    """The function that an element-wise operator continues or begins, if it reads one tensor and single constants.

    A clamp right on a tensor begins none: the node before, or a requantisation, can do it.
    """
    read: list[Activation | Curve] = []
    ranks: list[int] = []
    for value in (build.draft.values[name] for name in op.inputs if name):
        match value:
            case Curve() | Activation(real=True, padding=(0, 0, 0, 0)):
                read.append(value)
            case Fixed(raw=raw) if raw.size == 1:
                ranks.append(raw.ndim)
            case np.ndarray() if value.size == 1:
                ranks.append(value.ndim)
            case _:
                return None
    if not read or max(ranks, default=0) > len(read[0].shape):  # then the result has more dimensions
        return None
    if op.kind in ("Relu", "Clip") and not any(isinstance(value, Curve) for value in read):
        return None
    return _common(build, read)


def curve_of(build: Builder, op: Op, read: Sequence[Activation]) -> Curve:
    """The function that a QLinear operator computes; refuses one of two tensors."""
    for x in read:
        require_unpadded(op, x)
    curve = _common(build, read)
    if curve is None:
        op.cannot("it multiplies two tensors", ONE_TENSOR)
    return curve


def _common(build: Builder, read: Sequence[Activation | Curve]) -> Curve | None:
    """Curve of an operator on these values, if they are functions of one tensor and of one shape."""
    sources = [x.source if isinstance(x, Curve) else _root(build, x) for x in read]
    if len({source.tensor for source in sources}) != 1 or len({(x.shape, x.last) for x in read}) != 1:
        return None
    return Curve(sources[0], read[0].shape, read[0].last)


def _root(build: Builder, x: Activation) -> Activation:
    """What a tensor is a function of, if ONNX sees both in one order."""
    root = build.draft.roots.get(x.tensor, x)
    return root if root.last == x.last else x


def tabulate(build: Builder, op: Op, curve: Curve, params: QParams) -> Activation:
    """A table alone; `merge_tables` moves it into the node before, if that has a requantisation."""
    x = curve.source
    table = compute_table(build.model, op, curve, build.is_tensor(x.tensor), unsigned=params.unsigned)
    tensor = build.tensor(op.outputs[0], x.chw, params)
    zero = x.params.zero_point
    requant = replace(identity(x.chw[0], zero), table=table)
    window = (NO_WINDOW.kernel, NO_WINDOW.stride, NO_WINDOW.padding)
    build.add(QPool(build.name(op), "avgpool", x.tensor, tensor, *window, requant, zero, -zero))
    build.draft.roots[tensor] = x
    return Activation(tensor, x.chw, curve.shape, params, last=curve.last)
