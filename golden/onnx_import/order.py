"""Which dimension of a value that the host brings becomes the chip's channels: what its readers take for them."""

import math
from collections.abc import Sequence

from golden.onnx_import.model import ELEMENTWISE_OPS, Model

__all__ = ["channels_last"]

PASSING = ELEMENTWISE_OPS | {
    "Concat", "DequantizeLinear", "Dropout", "DynamicQuantizeLinear", "Identity", "Pad", "QuantizeLinear", "Slice",
    "Sum",
}  # fmt: skip
"""Operators behind which a value has the same dimensions."""

WEIGHTS = {"Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "QGemm": 3, "QLinearMatMul": 3}
"""Operators that multiply the last dimension of their first operand, and the number of that with the weights."""


def channels_last(model: Model, name: str, shape: tuple[int, ...]) -> bool:
    """Whether the first layer behind a value multiplies its last dimension with constant weights, or a transposition
    brings that to the front.

    The dimensions before are then pixels. A vector is the same either way, and counts as channels first.
    """
    if len(shape) < 2 or math.prod(shape[:-1]) == 1:
        return False
    waiting, seen = [name], {name}
    while waiting:
        value = waiting.pop()
        for op in model.ops:
            if value not in op.inputs:
                continue
            if op.kind in WEIGHTS and op.inputs[0] == value and _is_constant(model, op.inputs[WEIGHTS[op.kind]]):
                return True
            if op.kind == "Transpose" and _to_front(len(shape), op.attributes.get("perm")):
                return True
            if op.kind in PASSING and op.outputs[0] not in seen:
                seen.add(op.outputs[0])
                waiting.append(op.outputs[0])
    return False


def _to_front(rank: int, order: Sequence[int] | None) -> bool:
    """Whether a permutation brings the last of at least three dimensions behind the batch, and leaves the others."""
    return rank > 2 and order is not None and list(order) == [0, rank - 1, *range(1, rank - 1)]


def _is_constant(model: Model, name: str) -> bool:
    """Whether a value is a constant, quantised perhaps."""
    maker = model.maker.get(name)
    if maker is not None and maker.kind in ("DequantizeLinear", "Identity", "QuantizeLinear"):
        return _is_constant(model, maker.inputs[0])
    return name in model.constants
