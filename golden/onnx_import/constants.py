"""Constants of quantised models: weights and biases with their scales, and what QuantizeLinear makes of real ones."""

import numpy as np

from golden.onnx_import.builder import Builder
from golden.onnx_import.model import Op
from golden.onnx_import.values import Fixed, scale_of, zero_of

__all__ = ["bias_of", "fixed", "quantised_constant", "require_bytes", "weight_of"]


def fixed(build: Builder, op: Op, raw: np.ndarray, scale_index: int, zero_index: int, axis: int) -> Fixed:
    """A quantised constant, with scale and zero point from the operands of these indices."""
    scale = scale_of(op, op.inputs[scale_index], build.constant(op, scale_index))
    zero = np.zeros(1, raw.dtype)
    if op.has(zero_index):
        zero = zero_of(op, op.inputs[zero_index], build.constant(op, zero_index), scale)
        if zero.dtype != raw.dtype:
            op.fail(f"zero point {op.inputs[zero_index]!r} is {zero.dtype}", f"its tensor is {raw.dtype}")
    if scale.size > 1:
        axis += raw.ndim if axis < 0 else 0
        if not 0 <= axis < raw.ndim or raw.shape[axis] != scale.size:
            op.fail(f"{scale.size} scales for a tensor {raw.shape} along axis {axis}", "give one per channel")
    return Fixed(raw, scale, zero, axis)


def quantised_constant(build: Builder, op: Op, value: np.ndarray) -> np.ndarray:
    """The integers of a real constant behind a QuantizeLinear."""
    scale = scale_of(op, op.inputs[1], build.constant(op, 1))
    zero_array = build.optional(op, 2)
    zero = zero_of(op, op.inputs[2], zero_array, scale) if zero_array is not None else np.zeros(1, np.uint8)
    if value.dtype != np.float32 or zero.dtype == np.int32:
        op.fail(f"it turns {value.dtype} into {zero.dtype}", "supported are float32 into int8 and uint8")
    shape = [1] * value.ndim
    if scale.size > 1:
        shape[op.attributes.get("axis", 1)] = scale.size
    raw = np.rint(value / scale.reshape(shape)) + zero.reshape(shape if zero.size > 1 else [1] * value.ndim)
    info = np.iinfo(zero.dtype)
    if np.isnan(raw).any():
        op.fail(f"tensor {op.inputs[0]!r} holds NaN", "export the model again")
    return np.asarray(np.clip(raw, info.min, info.max), dtype=zero.dtype)


def require_bytes(build: Builder, op: Op, index: int) -> None:
    """Refuse weights of a QLinear operator that are no bytes."""
    array = build.constant(op, index)
    if array.dtype not in (np.int8, np.uint8):
        op.fail(f"weight {op.inputs[index]!r} has data type {array.dtype}", "supported are int8 and uint8")


def weight_of(build: Builder, op: Op, index: int) -> Fixed:
    """The weights of a float operator, behind their DequantizeLinear."""
    value = build.value(op, index)
    if not isinstance(value, Fixed) or value.raw.dtype == np.int32:
        op.cannot(f"weight {op.inputs[index]!r} is no int8 or uint8 constant", "quantise the weights too")
    return value


def bias_of(build: Builder, op: Op, index: int) -> Fixed | np.ndarray | None:
    """The bias of a float operator, quantised or real; None where it is left out."""
    if not op.has(index):
        return None
    value = build.value(op, index)
    if not isinstance(value, Fixed) and not (isinstance(value, np.ndarray) and value.dtype == np.float32):
        op.cannot(f"bias {op.inputs[index]!r} is no constant of int32 or float32", "export the model again")
    return value
