"""What an ONNX value is while a quantised model is imported."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from golden.errors import OnnxError
from golden.int8.requant import INT8
from golden.net.window import Padding
from golden.onnx_import.model import Op

__all__ = [
    "Activation", "Curve", "Fixed", "Pending", "QParams", "Target", "Value", "params_of",
    "require_same", "scale_of", "zero_of",
]  # fmt: skip

Shape = tuple[int, int, int]
NO_PADDING = (0, 0, 0, 0)


@dataclass(frozen=True)
class QParams:
    """Scale and zero point of an activation; uint8 is moved down by 128."""

    scale: np.float32
    zero_point: int
    unsigned: bool

    def __str__(self) -> str:
        return f"scale {self.scale}, zero point {self.zero_point + 128 * self.unsigned}"

    def bound(self, real: float, edge: int) -> int:
        """A real clamp in int8; `edge` where it is infinite."""
        if abs(real) == inf:
            return edge
        raw = float(np.rint(np.float32(real) / self.scale)) + self.zero_point
        return int(max(INT8[0], min(INT8[1], raw)))


@dataclass(frozen=True, eq=False)
class Fixed:
    """A quantised constant: integers, float32 scale and zero point (single, or one per entry of `axis`)."""

    raw: np.ndarray
    scale: np.ndarray
    zero: np.ndarray
    axis: int


@dataclass(frozen=True)
class Activation:
    """A tensor of the quantised graph, seen through a view; `real` behind a DequantizeLinear."""

    tensor: str
    chw: Shape
    shape: tuple[int, ...]
    """Its shape as ONNX sees it, batch included."""
    params: QParams
    real: bool = False
    padding: Padding = NO_PADDING
    """Zeros around it that the next operator has to add."""
    last: bool = False
    """Whether ONNX sees it as [H, W, C], not [C, H, W]."""


@dataclass(frozen=True)
class Target:
    """The target of a computation: the tensor that it writes, its parameters, and the clamp."""

    tensor: str
    params: QParams
    lo: int
    hi: int

    @property
    def clamped(self) -> bool:
        """Whether the clamp does more than saturation."""
        return (self.lo, self.hi) != INT8


@dataclass(frozen=True)
class Pending:
    """A float result that waits for its QuantizeLinear; `emit` then writes the quantised node."""

    emit: Callable[[Target], None]
    chw: Shape
    shape: tuple[int, ...]
    lo: float = -inf
    hi: float = inf
    last: bool = False
    """As of `Activation`."""


@dataclass(frozen=True)
class Curve:
    """A float result that is a function of every element of `source`, a quantised tensor, on its own."""

    source: Activation
    shape: tuple[int, ...]
    last: bool = False
    """As of `Activation`."""


Value = Activation | Pending | Curve | Fixed | np.ndarray


def scale_of(op: Op, name: str, array: np.ndarray) -> np.ndarray:
    """Scales as float32[n]; refuses what no scale can be."""
    if array.dtype != np.float32:
        op.fail(f"scale {name!r} has data type {array.dtype}", "supported is float32")
    if array.size == 0 or array.ndim > 1:
        op.fail(f"scale {name!r} has shape {array.shape}", "give one scale, or one per channel")
    scale = array.reshape(-1)
    for bad in scale[~(np.isfinite(scale) & (scale > 0))][:1]:
        op.fail(f"scale {name!r} is {bad}", "scales must be positive and finite: quantise the model again")
    return scale


def zero_of(op: Op, name: str, array: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Zero points, as many as scales or one."""
    if array.dtype not in (np.int8, np.uint8, np.int32):
        op.fail(f"zero point {name!r} has data type {array.dtype}", "supported are int8 and uint8")
    if array.size not in (1, scale.size) or array.ndim > 1:
        op.fail(f"zero point {name!r} has {array.size} values for {scale.size} scales", "give one per scale")
    return array.reshape(-1)


def params_of(op: Op, scale_name: str, scale: np.ndarray, zero_name: str, zero: np.ndarray | None) -> QParams:
    """Parameters of an activation: one scale, one zero point of int8 or uint8."""
    scales = scale_of(op, scale_name, scale)
    if scales.size != 1:
        op.fail(f"scale {scale_name!r} has {scales.size} values", "activations take one scale per tensor")
    if zero is None:
        return QParams(scales[0], -128, True)
    zeros = zero_of(op, zero_name, zero, scales)
    if zeros.dtype == np.int32:
        op.fail(f"zero point {zero_name!r} has data type int32", "supported are int8 and uint8")
    unsigned = zeros.dtype == np.uint8
    return QParams(scales[0], int(zeros[0]) - 128 * unsigned, bool(unsigned))


def require_same(op: Op, name: str, have: QParams, given: QParams) -> None:
    """Refuse a reader whose parameters are not the writer's."""
    if have != given:
        raise OnnxError(
            f"node {op.name!r} ({op.kind}): inconsistent quantisation parameters of {name!r}: written with {have} "
            f"({'uint8' if have.unsigned else 'int8'}), read with {given} "
            f"({'uint8' if given.unsigned else 'int8'}); quantise the model again"
        )
