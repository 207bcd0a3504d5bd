"""Layers of quantised models: each gives a pending result, whose node is written once its output's scale is known."""

from dataclasses import replace

import numpy as np

from golden.int8.qnodes import QConcat
from golden.net.window import out_hw
from golden.onnx_import.attributes import Window, window
from golden.onnx_import.builder import Builder
from golden.onnx_import.geometry import require_alike, reshaped_map, spatial
from golden.onnx_import.lower import NO_WINDOW, lower_add, lower_average, lower_conv, lower_max
from golden.onnx_import.model import Op
from golden.onnx_import.operands import (
    filter_window,
    of_pixels,
    require_joined,
    require_stored,
    require_unpadded,
)
from golden.onnx_import.quantised_maps import average_in_parts, joined, move, unpadded
from golden.onnx_import.values import Activation, Fixed, Pending, Target

__all__ = [
    "add", "average_pool", "concatenation", "convolution", "dense", "global_average", "max_pool", "pass_on",
    "plain_max_pool", "require_plain_gemm",
]  # fmt: skip


def convolution(build: Builder, op: Op, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None) -> Pending:
    """A convolution, grouped or depthwise too."""
    require_stored(op, x.tensor, x)
    if weight.raw.ndim == 3 and len(x.shape) == 3:
        weight = replace(weight, raw=weight.raw[..., None])
    if weight.raw.ndim != 4 or (weight.scale.size > 1 and weight.axis != 0):
        op.cannot(f"weight is {weight.raw.shape}, scales on axis {weight.axis}", "give [O, I, Kh, Kw] and axis 0")
    groups = int(op.attributes.get("group", 1))
    filters, depth = weight.raw.shape[:2]
    if groups < 1 or depth * groups != x.chw[0] or filters % groups:
        op.fail(f"weight {weight.raw.shape} with group {groups} does not fit {x.chw[0]} channels", "check group")
    win = filter_window(op, x, weight.raw.shape)
    chw = (filters, *out_hw((x.chw[1], x.chw[2]), win.kernel, win.stride, win.padding, win.dilation))
    return _filters(build, op, "conv", x, weight, bias, win, groups, chw, spatial(x, chw))


def dense(
    build: Builder, op: Op, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None, *, transposed: bool
) -> Pending:
    """A fully connected layer; its weight is (F, O), or (O, F) transposed."""
    x = unpadded(build, op, x)
    if weight.raw.ndim == 2 and of_pixels(x, weight.raw.shape[transposed]):
        return _of_pixels(build, op, x, weight, bias, transposed=transposed)
    if weight.raw.ndim != 2 or x.shape != (1, weight.raw.shape[transposed]):
        op.cannot(f"input {x.shape} and weight {weight.raw.shape} do not fit", "give (1, F) and (F, O)")
    if weight.scale.size > 1 and weight.axis != (0 if transposed else 1):
        op.cannot(f"scales lie along axis {weight.axis}", "they must belong to output channels")
    raw = weight.raw if transposed else weight.raw.T
    if x.last:  # to the order of the chip
        raw = np.moveaxis(raw.reshape(len(raw), *x.chw[1:], x.chw[0]), 3, 1).reshape(len(raw), -1)
    reordered = replace(weight, raw=np.ascontiguousarray(raw).reshape(-1, *x.chw), axis=0)
    chw = (len(raw), 1, 1)
    return _filters(build, op, "fc", x, reordered, bias, NO_WINDOW, 1, chw, (1, len(raw)))


def _of_pixels(
    build: Builder, op: Op, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None, *, transposed: bool
) -> Pending:
    """The same of each pixel of a map whose channels ONNX sees last: a 1x1 convolution."""
    if weight.scale.size > 1 and weight.axis != (0 if transposed else 1):
        op.cannot(f"scales lie along axis {weight.axis}", "they must belong to output channels")
    raw = weight.raw if transposed else weight.raw.T
    reordered = replace(weight, raw=np.ascontiguousarray(raw)[..., None, None], axis=0)
    chw = (raw.shape[0], *x.chw[1:])
    pending = _filters(build, op, "conv", x, reordered, bias, NO_WINDOW, 1, chw, (*x.shape[:-1], raw.shape[0]))
    return replace(pending, last=True)


def require_plain_gemm(op: Op) -> None:
    """Refuse a Gemm that scales or transposes its input."""
    attributes = op.attributes
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        op.cannot("transA, alpha or beta is set", "only transA = 0, alpha = beta = 1 can run")


def _filters(
    build: Builder, op: Op, kind: str, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None, win: Window,
    groups: int, chw: tuple[int, int, int], shape: tuple[int, ...],
) -> Pending:  # fmt: skip
    def emit(target: Target) -> None:
        build.add(lower_conv(op, build.name(op), kind, x, weight, bias, win, groups, target))

    if min(chw) < 1:
        op.fail(f"its output is {chw}", "the kernel must fit the input")
    return Pending(emit, chw, shape)


def add(build: Builder, op: Op, a: Activation, b: Activation, *, negative: bool = False) -> Pending:
    """The element-wise sum of two tensors of one shape, or their difference."""
    a, b = unpadded(build, op, a), unpadded(build, op, b)
    require_alike(op, a, b)
    if a.chw != b.chw:
        b = move(build, op, [b], reshaped_map(b.chw, (a.chw[1], a.chw[2])), b.shape)

    def emit(target: Target) -> None:
        # On x86, ONNX Runtime makes QLinearAdd of the QDQ form where it is uint8 and has no clamp of its own;
        # what stays an Add rounds before the zero point, as the standard says.
        fused = op.kind == "QLinearAdd" or (op.kind == "Add" and target.params.unsigned and not target.clamped)
        build.add(lower_add(build.name(op), a, b, target, zero_first=fused, negative=negative))

    return Pending(emit, a.chw, a.shape, last=a.last)


def _pool_window(op: Op, x: Activation) -> tuple[Window, tuple[int, int, int]]:
    """Window of a pool, and the shape of what it makes."""
    require_stored(op, x.tensor, x)
    require_unpadded(op, x)
    win = window(op, (x.chw[1], x.chw[2]), op.attributes["kernel_shape"])
    top, left, bottom, right = win.padding
    if win.dilation != (1, 1) or max(top, bottom) >= win.kernel[0] or max(left, right) >= win.kernel[1]:
        op.cannot(f"pool {win}", "it can run without dilation and with less padding than kernel")
    return win, (x.chw[0], *out_hw((x.chw[1], x.chw[2]), win.kernel, win.stride, win.padding))


def average_pool(build: Builder, op: Op, x: Activation) -> Pending:
    """An average pool."""
    x = unpadded(build, op, x)
    win, chw = _pool_window(op, x)
    if any(win.padding) and (not op.attributes.get("count_include_pad", 0) or op.attributes.get("ceil_mode", 0)):
        return average_in_parts(build, op, x, win, zero_first=True)

    def emit(target: Target) -> None:
        # ONNX Runtime's QLinearAveragePool, made of the QDQ form too, adds the zero point before it rounds.
        build.add(lower_average(build.name(op), x, win, target, zero_first=not target.clamped))

    return Pending(emit, chw, spatial(x, chw))


def global_average(build: Builder, op: Op, x: Activation) -> Pending:
    """An average over the whole map."""
    x = unpadded(build, op, x)
    require_stored(op, x.tensor, x)
    win = replace(NO_WINDOW, kernel=(x.chw[1], x.chw[2]))
    chw = (x.chw[0], 1, 1)
    return Pending(lambda target: build.add(lower_average(build.name(op), x, win, target)), chw, spatial(x, chw))


def plain_max_pool(build: Builder, op: Op, x: Activation) -> Activation:
    """A maximum pool of integers, which keep their scale."""
    x = unpadded(build, op, x)
    win, chw = _pool_window(op, x)
    tensor = build.tensor(op.outputs[0], chw, x.params)
    build.add(lower_max(build.name(op), x, win, tensor))
    return Activation(tensor, chw, spatial(x, chw), x.params)


def max_pool(build: Builder, op: Op, x: Activation) -> Pending:
    """A maximum between two quantisations: with another scale or a clamp behind it, a requantisation follows."""
    x = unpadded(build, op, x)
    win, chw = _pool_window(op, x)

    def emit(target: Target) -> None:
        if x.params == target.params and not target.clamped:
            build.add(lower_max(build.name(op), x, win, target.tensor))
            return
        tensor = build.tensor(op.outputs[0], chw, x.params)
        build.add(lower_max(build.name(op), x, win, tensor))
        _requantise(build, op, Activation(tensor, chw, (1, *chw), x.params), target)

    return Pending(emit, chw, spatial(x, chw))


def pass_on(build: Builder, op: Op, x: Activation) -> Pending:
    """The value itself: a clamp or another scale makes it a 1x1 average."""
    x = unpadded(build, op, x)
    return Pending(lambda target: _requantise(build, op, x, target), x.chw, x.shape, last=x.last)


def _requantise(build: Builder, op: Op, x: Activation, target: Target) -> None:
    build.add(lower_average(build.name(op), x, NO_WINDOW, target))


def concatenation(build: Builder, op: Op, parts: list[Activation]) -> Pending:
    """Channels of several tensors, each brought to the scale of the result."""
    axis = int(op.attributes.get("axis", 1))
    other = joined(build, op, parts, axis)
    if other is not None:
        return other
    parts = [unpadded(build, op, x) for x in parts]
    require_joined(op, parts, axis)
    shape, (_, height, width) = list(parts[0].shape), parts[0].chw
    shape[axis] = sum(x.chw[0] for x in parts)
    chw = (sum(x.chw[0] for x in parts), height, width)

    def emit(target: Target) -> None:
        names = []
        for x in parts:
            name = x.tensor
            if x.params != target.params or target.clamped:
                name = build.tensor(f"{x.tensor}.{target.tensor}", x.chw, target.params)
                _requantise(build, op, x, replace(target, tensor=name))
            names.append(name)
        build.add(QConcat(build.name(op), tuple(names), target.tensor))

    return Pending(emit, chw, tuple(shape), last=parts[0].last)
