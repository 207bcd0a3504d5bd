"""Copies, gates and arithmetic with constants in quantised models; what keeps its scale needs no QuantizeLinear."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from golden.int8.qnodes import ADD_WEIGHT_LIMIT, QAdd, QConv, QGate, QMove, QPool
from golden.int8.requant import INT8, Requant
from golden.net.window import out_hw
from golden.onnx_import.attributes import Window, pad_amount, window
from golden.onnx_import.builder import Builder
from golden.onnx_import.geometry import (
    Moved,
    concatenated,
    padded_map,
    piece_at,
    regions,
    resize_index,
    resized,
    slice_bounds,
    slices,
    spatial,
    split,
    stuffed,
    transposed_window,
    transposition,
)
from golden.onnx_import.lower import lower_average, lower_conv
from golden.onnx_import.model import Op
from golden.onnx_import.operands import channel_dimension, per_channel, require_stored
from golden.onnx_import.tables import identity
from golden.onnx_import.values import NO_PADDING, Activation, Fixed, Pending, Target

__all__ = [
    "COPIES", "arithmetic", "average_in_parts", "gate", "joined", "move", "prelu", "real_constant",
    "transposed_convolution", "unpadded", "with_constant",
]  # fmt: skip


def _fill(x: Activation) -> int:
    """What a real zero is."""
    return x.params.zero_point


def move(
    build: Builder, op: Op, sources: Sequence[Activation], moved: Moved, shape: tuple[int, ...], fill: int | None = None
) -> Activation:
    """A copy, which keeps the scale."""
    first = sources[0]
    tensor = build.tensor(op.outputs[0], moved.chw, first.params)
    fill = _fill(first) if fill is None else fill
    names = tuple(x.tensor for x in sources)
    build.add(QMove(build.name(op), names, tensor, moved.chw, moved.view, moved.pieces, fill))
    return replace(first, tensor=tensor, chw=moved.chw, shape=shape, padding=NO_PADDING)


def _moves(build: Builder, op: Op, x: Activation, chain: Sequence[Moved]) -> Activation:
    for moved in chain:
        x = move(build, op, [x], moved, spatial(x, moved.chw))
    return x


def unpadded(build: Builder, op: Op, x: Activation) -> Activation:
    """The tensor with its padding in it."""
    if not any(x.padding):
        return x
    return _moves(build, op, replace(x, padding=NO_PADDING), [padded_map(x.chw, x.padding)])


def _operand(build: Builder, op: Op, index: int = 0) -> Activation:
    """A tensor, in integers or seen as real numbers, with its padding in it."""
    value = build.value(op, index)
    if not isinstance(value, Activation):
        op.cannot(f"input {op.inputs[index]!r} is not quantised", "put QuantizeLinear and DequantizeLinear around it")
    return unpadded(build, op, value)


# Copies


def _slice(build: Builder, op: Op) -> Activation:
    x = _operand(build, op)
    moved, shape = slices(op, x, slice_bounds(op, x.shape, [build.optional(op, i) for i in range(1, 5)]))
    return x if shape == x.shape else move(build, op, [x], moved, shape)


def _split(build: Builder, op: Op) -> list[Activation]:
    x = _operand(build, op)
    parts = split(op, x, build.optional(op, 1))
    return [
        move(build, replace(op, outputs=(name,)), [x], moved, shape)
        for name, (moved, shape) in zip(op.outputs, parts, strict=True)
    ]


def _resize(build: Builder, op: Op) -> Activation:
    x = _operand(build, op)
    index = resize_index(op, x, build.optional(op, 2), build.optional(op, 3))
    return _moves(build, op, x, resized(op, x.chw, *index))


def _transpose(build: Builder, op: Op) -> Activation:
    x = _operand(build, op)
    order = [int(a) for a in op.attributes.get("perm", range(len(x.shape))[::-1])]
    shape = tuple(x.shape[axis] for axis in order)
    found = transposition(op, x, order)
    if isinstance(found, bool):
        return replace(x, shape=shape, last=found)
    count = x.chw[0]
    weight = np.zeros((count, count, 1, 1), np.int8)
    weight[np.arange(count), found] = 1
    zero = x.params.zero_point
    tensor = build.tensor(op.outputs[0], x.chw, x.params)
    bias = np.full(count, -zero, np.int32)
    build.add(
        QConv(build.name(op), "conv", x.tensor, tensor, weight, bias, (1, 1), NO_PADDING, (1, 1), 1, zero,
              identity(count, zero))
    )  # fmt: skip
    return replace(x, tensor=tensor, shape=shape)


def _pad(build: Builder, op: Op) -> Activation:
    """Zeros that the next convolution takes up; anything else is a copy."""
    x = _operand(build, op)
    require_stored(op, x.tensor, x)
    given = build.optional(op, 2)
    zero = 0 if x.real else x.params.zero_point + 128 * x.params.unsigned
    fill = zero if given is None or not given.size else given.reshape(-1)[0]
    padding = pad_amount(op, len(x.shape), build.optional(op, 1), build.optional(op, 3))
    if fill == zero and min(padding) >= 0:
        return replace(x, padding=padding)
    raw = float(fill) / float(x.params.scale) + x.params.zero_point if x.real else float(fill) - 128 * x.params.unsigned
    if raw != round(raw) or not INT8[0] <= raw <= INT8[1]:
        op.cannot(f"it pads with {fill}", "a value of the tensor's scale can run")
    moved = padded_map(x.chw, padding)
    return move(build, op, [x], moved, spatial(x, moved.chw), round(raw))


def joined(build: Builder, op: Op, parts: Sequence[Activation], axis: int) -> Pending | None:
    """A concatenation along rows or columns; None along channels."""
    if all(channel_dimension(x) == axis % len(x.shape) for x in parts):
        return None
    parts = [unpadded(build, op, x) for x in parts]
    moved, shape = concatenated(op, parts, axis)

    def emit(target: Target) -> None:
        tensors = []
        for x in parts:
            tensor = x.tensor
            if x.params != target.params or target.clamped:
                tensor = build.tensor(f"{x.tensor}.{target.tensor}", x.chw, target.params)
                window = Window((1, 1), (1, 1), NO_PADDING, (1, 1))
                build.add(lower_average(build.name(op), x, window, replace(target, tensor=tensor)))
            tensors.append(tensor)
        build.add(
            QMove(build.name(op), tuple(tensors), target.tensor, moved.chw, moved.view, moved.pieces,
                  target.params.zero_point)
        )  # fmt: skip

    return Pending(emit, moved.chw, shape, last=parts[0].last)


COPIES: dict[str, Callable[[Builder, Op], Activation | list[Activation]]] = {
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
"""Operators that keep the scale of what they read."""


# Arithmetic


def real_constant(value: object) -> np.ndarray | None:
    """A constant as float64, quantised or not."""
    if isinstance(value, Fixed):
        shape = [1] * value.raw.ndim
        if value.scale.size > 1:
            shape[value.axis] = value.scale.size
        zero = value.zero.astype(np.float64).reshape(shape if value.zero.size > 1 else [1] * value.raw.ndim)
        return (value.raw.astype(np.float64) - zero) * value.scale.astype(np.float64).reshape(shape)
    return value.astype(np.float64) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else None


def arithmetic(build: Builder, op: Op) -> Pending | None:
    """A product or sum of a tensor with a constant per channel; None if it is none."""
    constants = [real_constant(build.value(op, index)) for index in range(len(op.inputs))]
    if len(constants) != 2 or sum(constant is None for constant in constants) != 1:
        return None
    index = 0 if constants[0] is None else 1
    constant = constants[1 - index]
    assert constant is not None
    return with_constant(build, op, op.kind, build.activation(op, index), index, constant)


def with_constant(build: Builder, op: Op, kind: str, x: Activation, index: int, constant: np.ndarray) -> Pending | None:
    """An Add, Div, Mul or Sub whose operand `index` is a tensor and whose other one is float64; or None."""
    x = unpadded(build, op, x)
    value = per_channel(op, x, constant)
    with np.errstate(all="ignore"):
        match kind, index:
            case "Mul", _:
                return _product(build, op, x, value)
            case "Div", 0:
                return _product(build, op, x, 1 / value)
            case "Add", _:
                return _sum(build, op, x, 1, value)
            case "Sub", 0:
                return _sum(build, op, x, 1, -value)
            case "Sub", 1:
                return _sum(build, op, x, -1, value)
    return None


def _product(build: Builder, op: Op, x: Activation, gain: np.ndarray) -> Pending:
    """A factor for each channel: a weight of 1 or -1, and the factor in the scale."""
    if not np.isfinite(gain).all():
        op.fail("a factor is not finite", "export the model again")

    def emit(target: Target) -> None:
        build.add(_scaled(build, op, x, gain, target))

    return Pending(emit, x.chw, x.shape, last=x.last)


def _scaled(build: Builder, op: Op, x: Activation, gain: np.ndarray, target: Target) -> QConv:
    count, zero = x.chw[0], x.params.zero_point
    weight = np.where(gain < 0, -1, 1).astype(np.int8)
    scale = np.abs(gain) * float(x.params.scale) / float(target.params.scale)
    requant = Requant.from_scale(scale, target.params.zero_point, target.lo, target.hi)
    return QConv(
        build.name(op), "depthwise", x.tensor, target.tensor, weight.reshape(-1, 1, 1, 1),
        -zero * weight.astype(np.int32), (1, 1), NO_PADDING, (1, 1), count, zero, requant,
    )  # fmt: skip


def _sum(build: Builder, op: Op, x: Activation, sign: int, offset: np.ndarray) -> Pending:
    """A summand for each channel, in units of a fraction of the tensor's scale."""

    def emit(target: Target) -> None:
        limit, zero, scale = ADD_WEIGHT_LIMIT, x.params.zero_point, float(x.params.scale)
        while True:
            bias = np.rint(offset * limit / scale) - sign * limit * zero
            if limit == 1 or 128 * limit + np.abs(bias).max() < 1 << 31:
                break
            limit //= 2
        if not (128 * limit + np.abs(bias) < 1 << 31).all():
            op.cannot(f"a summand is {np.abs(offset).max()}, the scale {scale}", "it must stay near the tensor's range")
        units = np.full(x.chw[0], scale / limit / float(target.params.scale))
        requant = Requant.from_scale(units, target.params.zero_point, target.lo, target.hi)
        build.add(
            QAdd(build.name(op), (x.tensor,), target.tensor, (sign * limit,), bias.astype(np.int32), requant)
        )  # fmt: skip

    return Pending(emit, x.chw, x.shape, last=x.last)


def gate(build: Builder, op: Op, a: Activation, b: Activation) -> Pending:
    """A map times one value a channel."""
    a, b = unpadded(build, op, a), unpadded(build, op, b)
    if a.chw[1:] == (1, 1) and b.chw[1:] != (1, 1):
        a, b = b, a
    dimensions = channel_dimension(a) == channel_dimension(b) == 1 and len(a.shape) == len(b.shape)
    if not dimensions or a.last or b.last or b.chw != (a.chw[0], 1, 1):
        op.cannot(f"it multiplies {a.shape} and {b.shape}", "a map times one value a channel can run")

    def emit(target: Target) -> None:
        scale = np.full(a.chw[0], float(a.params.scale) * float(b.params.scale) / float(target.params.scale))
        requant = Requant.from_scale(scale, target.params.zero_point, target.lo, target.hi)
        zeros = a.params.zero_point, b.params.zero_point
        build.add(QGate(build.name(op), (a.tensor, b.tensor), target.tensor, zeros, requant))

    return Pending(emit, a.chw, a.shape)


def prelu(build: Builder, op: Op) -> Pending | None:
    """A slope for each channel below zero: the halves above and below, each rounded as it is, and their sum."""
    x, constant = unpadded(build, op, build.activation(op, 0)), real_constant(build.value(op, 1))
    if constant is None:
        return None
    slope, zero = per_channel(op, x, constant), x.params.zero_point

    def emit(target: Target) -> None:
        params, parts = target.params, []
        least, most = replace(target, lo=params.zero_point, hi=INT8[1]), replace(target, lo=INT8[0], hi=INT8[1])
        below = x
        if slope.min() < 0:  # then a clamp behind the product would cut at the wrong end
            tensor = build.tensor(f"{x.tensor}.below", x.chw, x.params)
            requant = replace(identity(x.chw[0], zero), hi=zero)
            build.add(
                QPool(build.name(op), "avgpool", x.tensor, tensor, (1, 1), (1, 1), NO_PADDING, requant, zero, -zero)
            )
            below = replace(x, tensor=tensor)
        else:
            most = replace(most, hi=params.zero_point)
        for name, part, gain, bounds in (("above", x, np.ones(x.chw[0]), least), ("below", below, slope, most)):
            tensor = build.tensor(f"{target.tensor}.{name}", x.chw, params)
            build.add(_scaled(build, op, part, gain, replace(bounds, tensor=tensor)))
            parts.append(tensor)
        requant = Requant.from_scale(np.ones(x.chw[0]), params.zero_point, target.lo, target.hi)
        pair = (parts[0], parts[1])
        build.add(QAdd(build.name(op), pair, target.tensor, (1, 1), -2 * params.zero_point, requant))

    return Pending(emit, x.chw, x.shape, last=x.last)


# Windows


def transposed_convolution(
    build: Builder, op: Op, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None
) -> Pending:
    """A convolution of the map with zeros between its elements."""
    x = unpadded(build, op, x)
    require_stored(op, x.tensor, x)
    raw, groups = weight.raw, int(op.attributes.get("group", 1))
    raw = raw[..., None] if raw.ndim == len(x.shape) == 3 else raw
    alone = weight.scale.size == 1 and weight.zero.size == 1
    if raw.ndim != 4 or raw.shape[0] != x.chw[0] or groups < 1 or x.chw[0] % groups:
        op.cannot(f"weight {raw.shape} for {x.chw[0]} channels", "two-dimensional ones can run")
    if not alone and (groups > 1 or weight.axis != 1):
        op.cannot(f"scales lie along axis {weight.axis}", "they must belong to output channels")
    win, padding = transposed_window(op, x, raw.shape)
    filters = raw.shape[1] * groups
    flipped = raw.reshape(groups, -1, *raw.shape[1:])[..., ::-1, ::-1].swapaxes(1, 2)
    turned = replace(weight, raw=np.ascontiguousarray(flipped.reshape(filters, -1, *win.kernel)), axis=0)
    cut = (min(0, padding[0]), min(0, padding[1]), min(0, padding[2]), min(0, padding[3]))
    x = _moves(build, op, x, stuffed(x.chw, win.stride))
    if any(cut):
        x = _moves(build, op, x, [padded_map(x.chw, cut)])
    grown = (max(0, padding[0]), max(0, padding[1]), max(0, padding[2]), max(0, padding[3]))
    win = Window(win.kernel, (1, 1), grown, win.dilation)
    chw = (filters, *out_hw((x.chw[1], x.chw[2]), win.kernel, win.stride, win.padding, win.dilation))
    if min(chw) < 1:
        op.fail(f"its output is {chw}", "the kernel must fit the input")

    def emit(target: Target) -> None:
        build.add(lower_conv(op, build.name(op), "conv", x, turned, bias, win, groups, target))

    return Pending(emit, chw, spatial(x, chw))


def average_in_parts(build: Builder, op: Op, x: Activation, win: Window, *, zero_first: bool) -> Pending:
    """An average pool whose windows have fewer elements at the border."""
    size = (x.chw[1], x.chw[2])
    out = out_hw(size, win.kernel, win.stride, win.padding)
    plain = window(replace(op, attributes={**op.attributes, "ceil_mode": 0}), size, win.kernel)
    include = bool(op.attributes.get("count_include_pad", 0))
    parts = regions(size, win, out, include_pad=include, padding=plain.padding)
    chw = (x.chw[0], *out)

    def emit(target: Target) -> None:
        tensors = []
        for number, part in enumerate(parts):
            shape = (x.chw[0], *part.size)
            tensor = build.tensor(f"{target.tensor}.{number}", shape, target.params)
            pool = Window(part.kernel, win.stride, part.padding, (1, 1))
            own, first = replace(target, tensor=tensor), zero_first and not target.clamped
            build.add(lower_average(build.name(op), x, pool, own, zero_first=first))
            tensors.append((tensor, shape, part.first))
        pieces = tuple(piece_at(n, shape, first) for n, (_, shape, first) in enumerate(tensors))
        names = tuple(tensor for tensor, _, _ in tensors)
        build.add(QMove(build.name(op), names, target.tensor, chw, out, pieces, target.params.zero_point))

    return Pending(emit, chw, spatial(x, chw))
