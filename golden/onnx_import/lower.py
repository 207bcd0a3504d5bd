"""Quantised layers from ONNX's scales: the integers that give what ONNX Runtime gives.

ONNX Runtime forms ``x_scale * w_scale / y_scale`` in float32, and so does this; a `Requant` then holds that very
float32. Its product with the accumulator is exact here and rounded to float32 there, so a value may differ by one
where the product comes within float32's rounding of a tie. With power-of-two scales both are exact.
"""

import math

import numpy as np

from golden.int8.qnodes import ADD_WEIGHT_LIMIT, QAdd, QConv, QPool
from golden.int8.requant import INT8, Requant
from golden.onnx_import.attributes import Window
from golden.onnx_import.model import Op
from golden.onnx_import.values import Activation, Fixed, Target

__all__ = ["NO_WINDOW", "lower_add", "lower_average", "lower_conv", "lower_max"]

BIAS_TOLERANCE = 1e-5
"""A bias scale this near to the product of the others is taken for it, as ONNX Runtime does."""

NO_WINDOW = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))


def lower_conv(
    op: Op, name: str, kind: str, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None,
    window: Window, groups: int, target: Target,
) -> QConv:  # fmt: skip
    """Convolution or fully connected layer; `weight` is [O, I/groups, Kh, Kw] with scales along axis 0."""
    filters = weight.raw.shape[0]
    zero = weight.zero.astype(np.int32).reshape(-1, 1, 1, 1)
    integers = weight.raw.astype(np.int32) - zero
    wide = integers.size and not INT8[0] <= integers.min() <= integers.max() <= INT8[1]
    with np.errstate(over="ignore", under="ignore"):
        product = x.params.scale * np.broadcast_to(weight.scale, (filters,))
        scale = product / target.params.scale
    folded = _bias(op, bias, product) - x.params.zero_point * integers.reshape(filters, -1).sum(axis=1, dtype=np.int64)
    if np.abs(folded).max() >= 1 << 31:
        op.cannot(f"bias reaches {np.abs(folded).max()} with the zero point folded in", "it must stay below 2**31")
    if kind == "conv" and groups > 1 and groups == x.chw[0]:
        kind = "depthwise"
    return QConv(
        name, kind, x.tensor, target.tensor, integers.astype(np.int16 if wide else np.int8), folded.astype(np.int32),
        window.stride, window.padding, window.dilation, groups, x.params.zero_point, _requant(scale, target),
    )  # fmt: skip


def lower_average(name: str, x: Activation, window: Window, target: Target, *, zero_first: bool = False) -> QPool:
    """Average pool; a 1x1 window is a requantisation alone. `zero_first` as in :func:`lower_add`."""
    taps = math.prod(window.kernel)
    with np.errstate(over="ignore", under="ignore"):
        scale = x.params.scale / (target.params.scale * np.float32(taps))
    zero = x.params.zero_point
    # Sums can only lie on ties where the output's unit is a whole number of the accumulator's.
    one = 1 / float(scale) if scale > 0 else 0.0
    absorb = zero_first and target.params.zero_point & 1 and one.is_integer() and one < 1 << 24
    odd = 1 if absorb else 0
    return QPool(
        name, "avgpool", x.tensor, target.tensor, window.kernel, window.stride, window.padding,
        _requant(np.full(x.chw[0], scale), target, odd), zero, odd * int(one) - taps * zero,
    )  # fmt: skip


def lower_max(name: str, x: Activation, window: Window, tensor: str) -> QPool:
    """Maximum pool; the tensor keeps its parameters."""
    return QPool(
        name, "maxpool", x.tensor, tensor, window.kernel, window.stride, window.padding, None, INT8[0]
    )  # fmt: skip


def lower_add(
    name: str, a: Activation, b: Activation, target: Target, *, zero_first: bool, negative: bool = False
) -> QAdd:
    """Element-wise sum, or difference, with weights up to 2**21.

    With `zero_first` the output's zero point is added before rounding half to even, as ONNX Runtime's QLinearAdd does.
    The parity of the zero point then decides ties, so an odd one leaves its one in the accumulator.
    """
    scale_a, scale_b, scale_y = (float(p.scale) for p in (a.params, b.params, target.params))
    odd = target.params.zero_point & 1 if zero_first else 0
    limit = ADD_WEIGHT_LIMIT
    while True:
        unit = max(scale_a, scale_b) / limit
        weights = round(scale_a / unit), round(scale_b / unit) * (-1 if negative else 1)
        one = round(scale_y / unit) if odd else 0
        bias = one - weights[0] * a.params.zero_point - weights[1] * b.params.zero_point
        if limit == 1 or 128 * sum(map(abs, weights)) + abs(bias) < 1 << 31:
            break
        limit //= 2
    scale = np.full(a.chw[0], unit / scale_y)
    return QAdd(name, (a.tensor, b.tensor), target.tensor, weights, bias, _requant(scale, target, odd))


def _requant(scale: np.ndarray, target: Target, absorbed: int = 0) -> Requant:
    return Requant.from_scale(scale, target.params.zero_point - absorbed, target.lo, target.hi)


def _bias(op: Op, bias: Fixed | np.ndarray | None, product: np.ndarray) -> np.ndarray:
    """Bias as int64[O] in units of `product`."""
    filters = product.size
    if bias is None:
        return np.zeros(filters, dtype=np.int64)
    raw = bias.raw if isinstance(bias, Fixed) else bias
    if raw.size not in (1, filters):
        op.fail(f"bias has {raw.size} values for {filters} output channels", "give one per channel")
    raw = np.broadcast_to(raw.reshape(-1), (filters,))
    if raw.dtype == np.int32 and not isinstance(bias, Fixed):  # of a QLinear operator: its scale is the product
        return raw.astype(np.int64)
    if isinstance(bias, Fixed):
        raw = raw.astype(np.int64) - bias.zero
        ratio = bias.scale.astype(np.float64) / product
        if np.abs(ratio - 1).max() <= BIAS_TOLERANCE:
            return raw
    elif raw.dtype == np.float32:
        ratio = 1 / product.astype(np.float64)
    else:
        op.fail(f"bias has data type {raw.dtype}", "supported are int32 and float32")
    with np.errstate(all="ignore"):
        rounded = np.rint(raw * ratio)
    if not (np.abs(rounded) < 1 << 31).all():  # also refuses NaN
        op.fail("bias leaves int32 in units of x_scale * w_scale", "check the scales")
    return rounded.astype(np.int64)
