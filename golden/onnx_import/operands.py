"""Operands as both imports read them: constants by their index, computed maps with what an operator demands of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from golden.net.window import Padding
from golden.onnx_import.attributes import Window, window
from golden.onnx_import.model import Op

__all__ = [
    "Seen", "constant", "filter_window", "optional_constant", "require_inference", "require_joined", "require_stored",
    "require_unpadded", "require_whole_windows",
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
    """Refuse a map that ONNX sees in another shape than the (1, C, H, W) it is stored as."""
    if x.shape != (1, *x.chw):
        op.cannot(f"it reads {name!r} of shape {(1, *x.chw)} as {x.shape}", "only fully connected layers can")


def require_joined(op: Op, parts: Sequence[Seen], axis: int) -> None:
    """Refuse a concatenation of anything but channels."""
    first = parts[0]
    for x in parts:
        require_unpadded(op, x)
        alike = len(x.shape) == len(first.shape) and (x.shape[2:], x.chw[1:]) == (first.shape[2:], first.chw[1:])
        if not alike or x.shape[:2] != (1, x.chw[0]) or axis % len(first.shape) != 1:
            op.cannot(f"it joins {[x.shape for x in parts]} along axis {axis}", "only channels can be joined")


def require_inference(values: Mapping[str, object], op: Op) -> None:
    """Refuse a Dropout that drops."""
    if op.kind == "Dropout" and op.has(2) and constant(values, op, 2).any():
        op.fail("it is in training mode", "export the model for inference")


def require_whole_windows(op: Op, win: Window) -> None:
    """Refuse an average pool whose windows have fewer elements at the border."""
    if any(win.padding) and (not op.attributes.get("count_include_pad", 0) or op.attributes.get("ceil_mode", 0)):
        op.cannot("its padded windows have fewer elements", "padding can run with count_include_pad=1, ceil_mode=0")


def filter_window(op: Op, x: Seen, weight: tuple[int, ...]) -> Window:
    """Window of a convolution by a weight [O, I, Kh, Kw], with the padding of a Pad before it taken up."""
    given = op.attributes.get("kernel_shape")
    if given is not None and tuple(given) != weight[2:]:
        op.fail(f"kernel_shape is {tuple(given)}, weight {weight}", "they must agree")
    before = x.padding
    win = window(op, (x.chw[1] + before[0] + before[2], x.chw[2] + before[1] + before[3]), weight[2:])
    top, left, bottom, right = (a + b for a, b in zip(win.padding, before, strict=True))
    return replace(win, padding=(top, left, bottom, right))
