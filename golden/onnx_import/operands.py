"""Operands as both imports read them: constants by their index, computed maps with what an operator demands of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from golden.net.window import Padding
from golden.onnx_import.attributes import Window, window
from golden.onnx_import.model import Op

__all__ = [
    "Seen", "channel_dimension", "constant", "filter_window", "of_pixels", "optional_constant", "per_channel",
    "require_inference", "require_joined", "require_stored", "require_unpadded",
]  # fmt: skip


class Seen(Protocol):
    """A map of the chip as ONNX sees it."""

    @property
    def chw(self) -> tuple[int, int, int]:
        """Its own shape."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape behind views, batch included."""
        ...

    @property
    def last(self) -> bool:
        """Whether ONNX sees it as [H, W, C], not [C, H, W]."""
        ...

    @property
    def padding(self) -> Padding:
        """Zeros around it that the next operator has to add."""
        ...


def constant(values: Mapping[str, object], op: Op, index: int) -> np.ndarray:
    """A constant operand; refuses a computed one."""
    value = values[op.inputs[index]]
    if not isinstance(value, np.ndarray):
        op.cannot(f"input {op.inputs[index]!r} is computed", "the chip takes a constant")
    return value


def optional_constant(values: Mapping[str, object], op: Op, index: int) -> np.ndarray | None:
    """A constant operand that may be left out."""
    return constant(values, op, index) if op.has(index) else None


def require_unpadded(op: Op, x: Seen) -> None:
    """Refuse the output of a Pad."""
    if any(x.padding):
        op.cannot("it reads the output of a Pad", "only a convolution can take one up")


def require_stored(op: Op, name: str, x: Seen) -> None:
    """Refuse a map that ONNX sees in another shape than the (1, C, H, W) or (1, C, H) it is stored as."""
    if x.last or x.shape not in ((1, *x.chw), *([(1, *x.chw[:2])] if x.chw[2] == 1 else [])):
        op.cannot(f"it reads {name!r} of shape {(1, *x.chw)} as {x.shape}", "only fully connected layers can")


def require_joined(op: Op, parts: Sequence[Seen], axis: int) -> None:
    """Refuse a concatenation of anything but channels."""
    first = parts[0]
    for x in parts:
        require_unpadded(op, x)
        alike = len(x.shape) == len(first.shape) and (x.last, x.chw[1:]) == (first.last, first.chw[1:])
        others = [[size for at, size in enumerate(y.shape) if at != axis % len(y.shape)] for y in (x, first)]
        if not alike or others[0] != others[1] or channel_dimension(x) != axis % len(first.shape):
            op.cannot(f"it joins {[x.shape for x in parts]} along axis {axis}", "only channels can be joined")


def channel_dimension(x: Seen) -> int | None:
    """The dimension that ONNX sees the channels of a map as, if that is one of its own."""
    if x.last:
        return len(x.shape) - 1 if x.shape[-1] == x.chw[0] else None
    return 1 if x.shape[:2] == (1, x.chw[0]) else None


def of_pixels(x: Seen, features: int) -> bool:
    """Whether a product with the last dimension that ONNX sees, of so many features, is one of each pixel."""
    return x.last and x.chw[0] == features and x.shape[-1] == features


def per_channel(op: Op, x: Seen, constant: np.ndarray) -> np.ndarray:
    """A constant that is broadcast to a map, as one value for each channel."""
    sizes = (1,) * (len(x.shape) - constant.ndim) + constant.shape
    channel = channel_dimension(x)
    alone = channel is not None and len(sizes) == len(x.shape) and math.prod(sizes) == sizes[channel]
    if channel is None or not alone or sizes[channel] not in (1, x.chw[0]):
        op.cannot(f"a constant of shape {constant.shape} for {x.shape}", "one value per channel can run")
    return np.broadcast_to(constant.reshape(-1), (x.chw[0],))


def require_inference(values: Mapping[str, object], op: Op) -> None:
    """Refuse a Dropout that drops."""
    if op.kind == "Dropout" and op.has(2) and constant(values, op, 2).any():
        op.fail("it is in training mode", "export the model for inference")


def filter_window(op: Op, x: Seen, weight: tuple[int, ...]) -> Window:
    """Window of a convolution by a weight [O, I, Kh, Kw], with the padding of a Pad before it taken up."""
    given = op.attributes.get("kernel_shape")
    if given is not None and tuple(given) != weight[2:][: len(given)]:
        op.fail(f"kernel_shape is {tuple(given)}, weight {weight}", "they must agree")
    before = x.padding
    win = window(op, (x.chw[1] + before[0] + before[2], x.chw[2] + before[1] + before[3]), weight[2:])
    top, left, bottom, right = (a + b for a, b in zip(win.padding, before, strict=True))
    return replace(win, padding=(top, left, bottom, right))
