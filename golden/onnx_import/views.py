"""Operators of quantised models that leave every value as it is, in another shape."""

from dataclasses import replace

import numpy as np

from golden.onnx_import.attributes import reshaped
from golden.onnx_import.builder import Builder
from golden.onnx_import.model import Op
from golden.onnx_import.operands import require_inference
from golden.onnx_import.quantised_maps import unpadded
from golden.onnx_import.values import Activation, Curve, Pending, Value

__all__ = ["view"]


def view(build: Builder, op: Op) -> Value:
    """A value in another shape."""
    value = build.value(op)
    if isinstance(value, np.ndarray) and op.kind == "Identity":
        return value
    if not isinstance(value, Activation | Pending | Curve):
        op.cannot(f"input {op.inputs[0]!r} is a constant or not quantised", "the chip sees quantised tensors")
    if isinstance(value, Activation):
        value = unpadded(build, op, value)
    require_inference(build.draft.values, op)
    constant = build.optional(op, 1) if op.kind != "Dropout" else None
    return replace(value, shape=reshaped(op, value.shape, constant))
