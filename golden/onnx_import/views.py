"""Operators of quantised models that leave every value as it is: other shapes, and padding for the next layer."""

from dataclasses import replace

import numpy as np

from golden.onnx_import.attributes import pad_amount, reshaped
from golden.onnx_import.builder import Builder
from golden.onnx_import.model import Op
from golden.onnx_import.operands import require_inference, require_stored, require_unpadded
from golden.onnx_import.values import Activation, Curve, Pending, Value

__all__ = ["pad", "view"]


def view(build: Builder, op: Op) -> Value:
    """A value in another shape."""
    value = build.value(op)
    if isinstance(value, np.ndarray) and op.kind == "Identity":
        return value
    if not isinstance(value, Activation | Pending | Curve):
        op.cannot(f"input {op.inputs[0]!r} is a constant or not quantised", "the chip sees quantised tensors")
    if isinstance(value, Activation) and op.kind not in ("Dropout", "Identity"):
        require_unpadded(op, value)
    require_inference(build.draft.values, op)
    constant = build.optional(op, 1) if op.kind != "Dropout" else None
    return replace(value, shape=reshaped(op, value.shape, constant))


def pad(build: Builder, op: Op) -> Activation:
    """A tensor with zeros around it that the next convolution takes up."""
    value = build.value(op)
    if not isinstance(value, Activation):
        op.cannot(f"input {op.inputs[0]!r} is not quantised", "put QuantizeLinear and DequantizeLinear before it")
    require_stored(op, value.tensor, value)
    require_unpadded(op, value)
    fill = build.optional(op, 2)
    zero = 0 if value.real else value.params.zero_point + 128 * value.params.unsigned
    if (0 if fill is None else fill.reshape(-1)[0]) != zero:
        op.cannot(f"it pads with {fill}", f"only the zero point ({zero}) can be taken up by the next layer")
    top, left, bottom, right = pad_amount(op, len(value.shape), build.optional(op, 1), build.optional(op, 3))
    return replace(value, padding=(top, left, bottom, right))
