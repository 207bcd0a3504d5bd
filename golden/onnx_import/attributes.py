"""Windows, shapes and other attributes that float and quantised operators share."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from golden.net.window import Padding, Pair, out_hw
from golden.onnx_import.model import Op

__all__ = ["Names", "Window", "clip_bounds", "mean_axes_ok", "pad_amount", "reshaped", "window"]

NAME_LENGTH = 80


class Names:
    """Names that are fit for files and for `layers=`, one for each ONNX name."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, name: str) -> str:
        """A fresh name that resembles the given one."""
        base = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")
        base = re.sub(r"\.\.+", ".", base)[:NAME_LENGTH] or "value"
        count, result = 1, base
        while result in self._taken:
            count += 1
            result = f"{base}_{count}"
        self._taken.add(result)
        return result


@dataclass(frozen=True)
class Window:
    """A sliding window; padding is (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair


def window(op: Op, in_hw: Pair, kernel: Iterable[int]) -> Window:
    """Window of a convolution or pool, with auto_pad and ceil_mode worked out as explicit padding."""
    kernel = tuple(kernel)
    size = _pair(op, "kernel", kernel)
    stride = _pair(op, "strides", op.attributes.get("strides", (1, 1)))
    dilation = _pair(op, "dilations", op.attributes.get("dilations", (1, 1)))
    for field, value in (("kernel", size), ("strides", stride), ("dilations", dilation)):
        if not 1 <= min(value) <= max(value) < 1 << 15:
            op.fail(f"{field} is {value}", "every entry must be at least 1")
    pads = tuple(int(p) for p in op.attributes.get("pads", (0, 0, 0, 0)))
    pads = (pads[0], 0, pads[1], 0) if len(pads) == 2 else pads
    if len(pads) != 4 or min(pads) < 0 or max(pads) >= 1 << 15:
        op.fail(f"pads is {pads}", "give (top, left, bottom, right), none negative")
    mode = op.attributes.get("auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = _same(in_hw, size, stride, dilation, lower=mode == b"SAME_LOWER")
    elif mode == b"VALID":
        pads = (0, 0, 0, 0)
    elif mode != b"NOTSET":
        op.fail(f"auto_pad is {mode!r}", "use NOTSET, SAME_UPPER, SAME_LOWER or VALID")
    if op.attributes.get("ceil_mode", 0):
        pads = _ceil(in_hw, size, stride, dilation, pads)
    if min(out_hw(in_hw, size, stride, pads, dilation)) < 1:
        op.fail(f"kernel {size} exceeds the padded input {in_hw}", "pad more or use a smaller kernel")
    return Window(size, stride, pads, dilation)


def _pair(op: Op, field: str, values: Iterable[int]) -> Pair:
    pair = tuple(int(v) for v in values)
    pair = (*pair, 1) if len(pair) == 1 else pair  # a map of one column
    if len(pair) != 2:
        op.cannot(f"{field} is {pair}", "windows of one and two dimensions can run")
    return pair[0], pair[1]


def _same(in_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair, *, lower: bool) -> Padding:
    before, after = [], []
    for size, taps, step, spread in zip(in_hw, kernel, stride, dilation, strict=True):
        total = max((math.ceil(size / step) - 1) * step + (taps - 1) * spread + 1 - size, 0)
        less, more = total // 2, total - total // 2
        before.append(more if lower else less)
        after.append(less if lower else more)
    return before[0], before[1], after[0], after[1]


def _ceil(in_hw: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Padding) -> Padding:
    """Padding behind the map that makes the last, partial window a whole one."""
    pads_out = list(pads)
    for axis in (0, 1):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        rest = in_hw[axis] + pads[axis] + pads[axis + 2] - span
        steps = -(-rest // stride[axis])
        if steps * stride[axis] >= in_hw[axis] + pads[axis]:  # a window must start inside the map
            steps -= 1
        pads_out[axis + 2] += max(0, steps * stride[axis] - rest)
    return pads_out[0], pads_out[1], pads_out[2], pads_out[3]


def reshaped(op: Op, shape: tuple[int, ...], constant: np.ndarray | None) -> tuple[int, ...]:
    """Shape behind a Flatten, Reshape, Squeeze or Unsqueeze; anything else leaves it."""
    if op.kind == "Flatten":
        axis = op.attributes.get("axis", 1)
        if not -len(shape) <= axis <= len(shape):
            op.fail(f"axis is {axis} for shape {shape}", "use axis 1")
        axis += len(shape) if axis < 0 else 0
        result = (math.prod(shape[:axis]), math.prod(shape[axis:]))
    elif op.kind in ("Reshape", "Squeeze", "Unsqueeze"):
        if constant is None and (op.kind != "Squeeze" or len(op.inputs) > 1):
            op.cannot("its shape is computed of the data", "the chip takes a constant")
        wanted = [] if constant is None else [int(v) for v in constant.reshape(-1)]
        result = {"Reshape": _reshape, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze}[op.kind](op, shape, wanted)
    else:
        result = shape
    if math.prod(result) != math.prod(shape):
        op.fail(f"it turns {shape} into {result}", "both need the same number of elements")
    return result


def _reshape(op: Op, shape: tuple[int, ...], wanted: list[int]) -> tuple[int, ...]:
    if not op.attributes.get("allowzero", 0):
        wanted = [shape[i] if v == 0 and i < len(shape) else v for i, v in enumerate(wanted)]
    known = math.prod(v for v in wanted if v != -1)
    if known < 1 or wanted.count(-1) > 1:
        op.fail(f"it turns {shape} into {tuple(wanted)}", "sizes must be positive, with at most one -1")
    return tuple(math.prod(shape) // known if v == -1 else v for v in wanted)


def _squeeze(op: Op, shape: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    drop = {a % len(shape) for a in axes} if axes else {i for i, v in enumerate(shape) if v == 1}
    return tuple(v for i, v in enumerate(shape) if i not in drop)


def _unsqueeze(op: Op, shape: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    rank = len(shape) + len(axes)
    new = {a % rank for a in axes}
    rest = iter(shape)
    return tuple(1 if i in new else next(rest) for i in range(rank))


def pad_amount(
    op: Op, rank: int, pads: np.ndarray | None, axes: np.ndarray | None, *, last: bool = False
) -> Padding:
    """Padding (top, left, bottom, right) of a Pad operator, of a map whose channels may be the last dimension."""
    mode = op.attributes.get("mode", b"constant")
    if mode != b"constant" or rank not in (3, 4) or pads is None:
        op.cannot(f"mode {mode!r} on {rank} dimensions", "only constant padding of (1, C, H, W) by a constant can run")
    values = [int(v) for v in pads.reshape(-1)]
    where = [int(a) % rank for a in axes.reshape(-1)] if axes is not None else list(range(rank))
    if len(values) != 2 * len(where):
        op.fail(f"pads has {len(values)} values", f"give {2 * len(where)}")
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(where):
        before[axis], after[axis] = values[index], values[index + len(where)]
    if last:
        before, after = ([sizes[0], sizes[-1], *sizes[1:-1]] for sizes in (before, after))
    if any(before[:2] + after[:2]) or min(before + after) <= -1 << 15 or max(before + after) >= 1 << 15:
        op.cannot(f"pads is {values}", "only height and width can be padded")
    before, after = [*before, 0], [*after, 0]
    return before[2], before[3], after[2], after[3]


def mean_axes_ok(op: Op, rank: int, axes: np.ndarray | None) -> bool:
    """Whether a ReduceMean is a global average pool."""
    given = op.attributes.get("axes") if axes is None else [int(a) for a in axes.reshape(-1)]
    return rank == 4 and given is not None and sorted(a % rank for a in given) == [2, 3]


def clip_bounds(op: Op, bounds: list[np.ndarray | None]) -> tuple[float, float]:
    """Lower and upper bound of a Relu or Clip."""
    if op.kind == "Relu":
        return 0.0, math.inf
    low, high = (
        edge if bound is None else float(np.asarray(bound).reshape(-1)[0])
        for bound, edge in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    if not low <= high:
        op.fail(f"bounds are ({low}, {high})", "the lower bound must not exceed the upper one")
    return low, high
