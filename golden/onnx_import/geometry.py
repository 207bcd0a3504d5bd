"""Where the elements of a map go: slices, joins, padding, resizing, and average pools in parts, for both imports."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from golden.net.pieces import Piece, joined, padded, repeated, sliced
from golden.net.window import Padding, Pair
from golden.onnx_import.attributes import Window
from golden.onnx_import.model import Op
from golden.onnx_import.operands import Seen

__all__ = [
    "Moved",
    "Region",
    "axes_of",
    "concatenated",
    "is_column",
    "nearest",
    "padded_map",
    "piece_at",
    "regions",
    "require_alike",
    "reshaped_map",
    "resize_index",
    "resized",
    "slice_bounds",
    "slices",
    "spatial",
    "split",
    "stuffed",
    "transposed_window",
    "transposition",
    "turned",
]  # fmt: skip

Shape = tuple[int, int, int]
PIECES = 32
"""Most of a node: each is a part of a launch."""
ROW = 512
"""Longest row, in pixels, of a copy that may choose it; the chip's fields hold 1023."""


@dataclass(frozen=True)
class Moved:
    """One copy: its pieces, the view in which they lie, and the shape of what they make."""

    pieces: tuple[Piece, ...]
    view: Pair
    chw: Shape


def axes_of(op: Op, x: Seen) -> tuple[int | None, ...]:
    """Of each dimension that ONNX sees, the axis (0 channels, 1 rows, 2 columns) that it is; None for the batch.

    Raises
    ------
    UnsupportedError
        If a dimension is none of them.
    """
    order = (1, 2, 0) if x.last else (0, 1, 2)
    for batch in ((None,), ()):
        for missing in (0, 1, 2):
            axes = [axis for axis in order if not axis or axis <= 2 - missing]
            rest = math.prod(x.chw[axis] for axis in (1, 2) if axis not in axes)
            sizes = (*([1] if batch else []), *(x.chw[axis] for axis in axes))
            if rest == 1 and x.shape == sizes:
                return (*batch, *axes)
    return op.cannot(f"it takes {x.chw} as {x.shape}", "channels, rows and columns must be dimensions of their own")


def _axis(op: Op, x: Seen, axis: int) -> int:
    """The axis of the chip that a dimension is."""
    found = axes_of(op, x)[axis % len(x.shape)]
    return op.cannot(f"axis {axis} is the batch", "a batch is one picture") if found is None else found


def slices(op: Op, x: Seen, bounds: Mapping[int, range]) -> tuple[Moved, tuple[int, ...]]:
    """Elements of a map: `bounds` by ONNX's dimension; with the shape that ONNX sees."""
    ranges = [range(size) for size in x.chw]
    shape = list(x.shape)
    for axis, chosen in bounds.items():
        if chosen != range(x.shape[axis]):
            ranges[_axis(op, x, axis)] = chosen
            shape[axis] = len(chosen)
    if any(chosen.step < 0 for chosen in ranges):
        op.cannot("a step is negative", "only ascending ones can run")
    if not all(map(len, ranges)):
        op.cannot("nothing is left", "drop it")
    start, stop, step = ([getattr(chosen, field) for chosen in ranges] for field in ("start", "stop", "step"))
    pieces, chw = sliced(x.chw, (*start,), (*stop,), (*step,))  # pyright: ignore[reportArgumentType]
    _require_few(op, pieces)
    return Moved(pieces, (chw[1], chw[2]), chw), tuple(shape)


def slice_bounds(op: Op, shape: Sequence[int], operands: Sequence[np.ndarray | None]) -> dict[int, range]:
    """Elements of each dimension that a Slice takes; operands are starts, ends, axes and steps."""
    starts, ends, axes, steps = ([int(v) for v in part.reshape(-1)] if part is not None else None for part in operands)
    if starts is None or ends is None:
        op.fail("its starts or ends are missing", "export the model again")
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps if steps is not None else [1] * len(starts)
    return {
        axis % len(shape): range(shape[axis])[slice(first, end, step)]
        for axis, first, end, step in zip(axes, starts, ends, steps, strict=True)
    }


def split(op: Op, x: Seen, sizes: np.ndarray | None) -> list[tuple[Moved, tuple[int, ...]]]:
    """What each output of a Split takes."""
    axis = int(op.attributes.get("axis", 0)) % len(x.shape)
    whole, count = x.shape[axis], len(op.outputs)
    each = -(-whole // int(op.attributes.get("num_outputs", count)))
    given = [int(size) for size in sizes.reshape(-1)] if sizes is not None else [each] * count
    found, first = [], 0
    for size in given:
        found.append(slices(op, x, {axis: range(first, min(first + size, whole))}))
        first += size
    return found


def concatenated(op: Op, parts: Sequence[Seen], axis: int) -> tuple[Moved, tuple[int, ...]]:
    """Maps one behind the other."""
    first = parts[0]
    if all(_flat(x) == axis % len(x.shape) for x in parts) and len({(x.chw[0], x.last) for x in parts}) == 1:
        return _pixels_behind(op, parts, axis)
    at = _axis(op, first, axis)
    for x in parts:
        others = [size for index, size in enumerate(x.chw) if index != at]
        if axes_of(op, x) != axes_of(op, first) or others != [s for i, s in enumerate(first.chw) if i != at]:
            op.cannot(f"it joins {[x.shape for x in parts]} along axis {axis}", "all other sizes must agree")
    pieces, chw = joined([x.chw for x in parts], at)
    _require_few(op, pieces)
    shape = list(first.shape)
    shape[axis % len(shape)] = sum(x.shape[axis % len(shape)] for x in parts)
    return Moved(pieces, (chw[1], chw[2]), chw), tuple(shape)


def _flat(x: Seen) -> int | None:
    """The one dimension that ONNX sees rows and columns of a map as, if it does."""
    pixels = x.chw[1] * x.chw[2]
    if len(x.shape) != 3 or x.chw[2] == 1:
        return None
    dimension, wanted = (1, (1, pixels, x.chw[0])) if x.last else (2, (1, x.chw[0], pixels))
    return dimension if x.shape == wanted else None


def _pixels_behind(op: Op, parts: Sequence[Seen], axis: int) -> tuple[Moved, tuple[int, ...]]:
    """Maps one behind the other, pixel by pixel, as one column; rows of the copies are as long as all parts allow."""
    counts = [x.chw[1] * x.chw[2] for x in parts]
    common = math.gcd(*counts)
    width = next(size for size in range(min(common, ROW), 0, -1) if common % size == 0)
    channels = parts[0].chw[0]
    pieces, _ = joined([(channels, count // width, width) for count in counts], 1)
    _require_few(op, pieces)
    total, shape = sum(counts), list(parts[0].shape)
    shape[axis % 3] = total
    return Moved(pieces, (total // width, width), (channels, total, 1)), tuple(shape)


def padded_map(chw: Shape, padding: Padding) -> Moved:
    """A map with fill around it."""
    pieces, out = padded(chw, padding)
    return Moved(pieces, (out[1], out[2]), out)


def resized(op: Op, chw: Shape, rows: np.ndarray, columns: np.ndarray) -> list[Moved]:
    """Copies, one behind the other, that make output (y, x) of a map's row rows[y] and column columns[x]."""
    made: list[Moved] = []
    for axis, index in ((2, columns), (1, rows)):
        size, count = chw[axis], len(index)
        times = count // size
        if np.array_equal(index, np.arange(size)):
            continue
        if count == size * times and np.array_equal(index, np.arange(count) // times):
            made.append(_repeated_rows(chw, times) if axis == 1 else Moved(*repeated(chw, times)))
        else:
            step = int(index[1] - index[0]) if count > 1 else 1
            if step < 1 or not np.array_equal(index, index[0] + step * np.arange(count)):
                op.cannot(f"it takes {size} rows or columns to {count}", "whole factors can run")
            bounds = [range(size) for size in chw]
            bounds[axis] = range(int(index[0]), int(index[-1]) + 1, step)
            start, stop, steps = ([getattr(r, field) for r in bounds] for field in ("start", "stop", "step"))
            pieces, out = sliced(chw, (*start,), (*stop,), (*steps,))  # pyright: ignore[reportArgumentType]
            made.append(Moved(pieces, (out[1], out[2]), out))
        chw = made[-1].chw
    return made


def _repeated_rows(chw: Shape, times: int) -> Moved:
    """Every row so many times: in a view of `times` maps beside each other, each is a copy of the whole."""
    channels, height, width = chw
    pieces = tuple(
        Piece(0, (height, width), (0, channels), (0, 0), (1, 1), (height, width), (0, 0, number * width))
        for number in range(times)
    )
    return Moved(pieces, (height, times * width), (channels, height * times, width))


def nearest(op: Op, size: int, scale: float, count: int) -> np.ndarray:
    """int64[count]: the element that each output of a Resize along an axis is."""
    mode = op.attributes.get("nearest_mode", b"round_prefer_floor").decode()
    where = op.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    out = np.arange(count, dtype=np.float64)
    match where:
        case "asymmetric":
            at = out / scale
        case "half_pixel":
            at = (out + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            at = (out + 0.5) / scale - 0.5 if count > 1 else out * 0
        case "align_corners":
            at = out * (size - 1) / max(1, count - 1)
        case _:
            op.cannot(f"its coordinates are {where}", "asymmetric, half_pixel and align_corners can run")
    match mode:
        case "floor":
            index = np.floor(at)
        case "ceil":
            index = np.ceil(at)
        case "round_prefer_ceil":
            index = np.floor(at + 0.5)
        case _:
            index = np.ceil(at - 0.5)
    return index.clip(0, size - 1).astype(np.int64)


def stuffed(chw: Shape, stride: Pair) -> list[Moved]:
    """Copies, one behind the other, that put stride - 1 rows and columns of fill behind every row and column."""
    channels, height, width = chw
    made: list[Moved] = []
    if stride[1] > 1:
        pixels = (height * width, stride[1])
        piece = Piece(0, (height * width, 1), (0, channels), (0, 0), (1, 1), pixels, (0, 0, 0))
        width *= stride[1]
        made.append(Moved((piece,), pixels, (channels, height, width)))
    if stride[0] > 1:
        view = (height, width * stride[0])
        piece = Piece(0, (height, width), (0, channels), (0, 0), (1, 1), view, (0, 0, 0))
        made.append(Moved((piece,), view, (channels, height * stride[0], width)))
    return made


@dataclass(frozen=True)
class Region:
    """Outputs of an average pool whose windows have equally many elements: a pool of its own."""

    kernel: Pair
    padding: Padding
    first: Pair
    """Row and column of the first output."""
    size: Pair


def regions(in_hw: Pair, win: Window, out_hw: Pair, *, include_pad: bool, padding: Padding) -> list[Region]:
    """An average pool in parts; `padding` is what the file says, `win` has that of ceil_mode too."""
    sides = [
        _runs(in_hw[a], win.kernel[a], win.stride[a], padding[a], padding[a + 2] if include_pad else 0, out_hw[a],
              include_pad=include_pad)
        for a in (0, 1)
    ]  # fmt: skip
    return [
        Region((y[2], x[2]), (-y[3], -x[3], y[4], x[4]), (y[0], x[0]), (y[1] - y[0], x[1] - x[0]))
        for y in sides[0]
        for x in sides[1]
    ]


def _runs(
    size: int, kernel: int, stride: int, before: int, after: int, count: int, *, include_pad: bool
) -> list[tuple[int, int, int, int, int]]:
    """(first output, end, elements, first input, padding behind) of outputs with whole windows, and of each other."""
    low, high = (-before, size + after) if include_pad else (0, size)
    spans = [
        (max(low, out * stride - before), min(high, out * stride - before + kernel)) for out in range(count)
    ]  # fmt: skip
    runs: list[tuple[int, int, int, int, int]] = []
    first = 0
    while first < count:
        start, end = spans[first]
        last = first + 1
        while last < count and end - start == kernel and spans[last][1] - spans[last][0] == kernel:
            last += 1
        behind = spans[last - 1][1] - size
        runs.append((first, last, end - start, start, behind))
        first = last
    return runs


def _require_few(op: Op, pieces: Sequence[Piece]) -> None:
    if len(pieces) > PIECES:
        op.cannot(f"it takes {len(pieces)} copies", f"at most {PIECES} can run")


def reshaped_map(chw: Shape, hw: Pair) -> Moved:
    """A map of another size and as many pixels, in the same order."""
    piece = piece_at(0, chw, (0, 0))
    return Moved((piece,), piece.size, (chw[0], *hw))


def is_column(x: Seen) -> bool:
    """Whether a map of one column is what ONNX sees as one row (1, C, 1, W)."""
    return len(x.shape) == 4 and not x.last and x.shape == (1, x.chw[0], 1, x.chw[1]) and x.chw[1] > x.chw[2] == 1


def turned(chw: Shape) -> Moved:
    """A row as a column, or a column as a row: the same pixels."""
    pixels = (chw[1] * chw[2], 1)
    return Moved((Piece(0, pixels, (0, chw[0]), (0, 0), (1, 1), pixels, (0, 0, 0)),), pixels, (chw[0], chw[2], chw[1]))


def require_alike(op: Op, a: Seen, b: Seen) -> None:
    """Refuse two maps that ONNX does not see alike; their rows may still be of other lengths."""
    if a.shape != b.shape:
        op.cannot(f"it reads {a.shape} and {b.shape}", "both need one shape")
    if (a.last, a.chw[0], a.chw[1] * a.chw[2]) != (b.last, b.chw[0], b.chw[1] * b.chw[2]):
        op.cannot(f"its operands {a.shape} have their channels in different dimensions", "the host computes it")


def piece_at(source: int, chw: Shape, first: Pair) -> Piece:
    """A whole map, at a row and column of the output."""
    size = (chw[1], chw[2])
    return Piece(source, size, (0, chw[0]), (0, 0), (1, 1), size, (0, *first))


def spatial(x: Seen, chw: Shape) -> tuple[int, ...]:
    """The shape in which ONNX sees a map of other sizes that came of one that it sees dimension by dimension."""
    if x.last:
        return (*x.shape[: len(x.shape) - 1 - _spatial_dimensions(x)], *chw[1:][: _spatial_dimensions(x)], chw[0])
    return (*x.shape[:1], chw[0], *chw[1:][: len(x.shape) - 2])


def _spatial_dimensions(x: Seen) -> int:
    return min(2, len(x.shape) - 1 - (x.shape[0] == 1 and len(x.shape) > 2))


def transposed_window(op: Op, x: Seen, weight: tuple[int, ...]) -> tuple[Window, Padding]:
    """Window of a ConvTranspose, and the padding, perhaps negative, of the stuffed map that its convolution takes."""
    attributes = op.attributes

    def pair(field: str, default: int) -> Pair:
        values = [int(v) for v in attributes.get(field, [default] * len(x.shape[2:]))]
        if len(values) not in (1, 2):
            op.cannot(f"{field} is {values}", "one and two dimensions can run")
        return (values[0], values[1]) if len(values) == 2 else (values[0], default)

    kernel, stride, dilation = (weight[2], weight[3]), pair("strides", 1), pair("dilations", 1)
    extra = pair("output_padding", 0)
    pads = [int(p) for p in attributes.get("pads", (0, 0, 0, 0))]
    pads = [pads[0], 0, pads[1], 0] if len(pads) == 2 else pads
    wanted, mode = attributes.get("output_shape"), attributes.get("auto_pad", b"NOTSET")
    wanted = None if wanted is None else [*wanted[2 - len(x.shape) :], 1][:2]
    padding = [0, 0, 0, 0]
    for axis in (0, 1):
        span = (kernel[axis] - 1) * dilation[axis]
        full = (x.chw[axis + 1] - 1) * stride[axis] + span + 1 + extra[axis]
        if wanted is not None or mode in (b"SAME_UPPER", b"SAME_LOWER"):
            size = int(wanted[axis]) if wanted is not None else x.chw[axis + 1] * stride[axis]
            total = max(0, full - size)
            less = total // 2
            pads[axis] = total - less if mode == b"SAME_LOWER" else less
            pads[axis + 2] = total - pads[axis]
            more = max(0, size - full)
            extra = (extra[0] + more * (axis == 0), extra[1] + more * (axis == 1))
        padding[axis] = span - pads[axis]
        padding[axis + 2] = span - pads[axis + 2] + extra[axis] - (stride[axis] - 1)
    win = Window(kernel, stride, (0, 0, 0, 0), dilation)
    return win, (padding[0], padding[1], padding[2], padding[3])


def resize_index(op: Op, x: Seen, scales: np.ndarray | None, sizes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the map that each row and column of a Resize is."""
    axes = axes_of(op, x)
    if op.attributes.get("mode", b"nearest") != b"nearest":
        op.cannot("it interpolates", "nearest neighbours can run")
    if op.attributes.get("axes") or op.attributes.get("antialias", 0):
        op.cannot("axes or antialias is set", "leave them out")
    if sizes is not None and sizes.size:
        counts = [int(size) for size in sizes]
        factors = [count / size for count, size in zip(counts, x.shape, strict=True)]
    elif scales is not None and scales.size:
        factors = [float(scale) for scale in scales]
        counts = [math.floor(size * factor) for size, factor in zip(x.shape, factors, strict=True)]
    else:
        op.fail("it has neither scales nor sizes", "export the model again")
    index = [np.arange(size) for size in x.chw]
    for dimension, axis in enumerate(axes):
        if counts[dimension] == x.shape[dimension]:
            continue
        if axis not in (1, 2):
            op.cannot(f"it resizes dimension {dimension}", "rows and columns can be resized")
        index[axis] = nearest(op, x.shape[dimension], factors[dimension], counts[dimension])
    return index[1], index[2]


def transposition(op: Op, x: Seen, order: Sequence[int]) -> bool | np.ndarray:
    """Whether the channels are last behind a Transpose that moves only these; or the channel that each becomes."""
    small = np.arange(math.prod(x.chw), dtype=np.int64).reshape(x.chw)
    seen = (small.transpose(1, 2, 0) if x.last else small).reshape(x.shape)
    wanted = seen.transpose(order).reshape(-1)
    for last in (x.last, not x.last):
        if np.array_equal((small.transpose(1, 2, 0) if last else small).reshape(-1), wanted):
            return last
    plane = x.chw[1] * x.chw[2]
    rows = wanted.reshape(-1, plane)
    channels = rows[:, 0] // plane
    if not x.last and np.array_equal(rows, channels[:, None] * plane + np.arange(plane)):
        return channels
    return op.cannot(f"it permutes {x.shape} by {tuple(order)}", "the channels can move to the end or the front")
