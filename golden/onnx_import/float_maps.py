"""Float operators that become several layers, or copies: what a walk over a float model can make of them."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from golden.net.activations import Sigmoid
from golden.net.graph import Add, AvgPool, Clip, Conv2d, Gate, Linear, MaxPool, Move, Node, Relu
from golden.net.window import out_hw
from golden.onnx_import.attributes import Window, window
from golden.onnx_import.geometry import (
    Moved,
    concatenated,
    padded_map,
    piece_at,
    regions,
    require_alike,
    reshaped_map,
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
from golden.onnx_import.islands import OnHost
from golden.onnx_import.maps import Map
from golden.onnx_import.model import Op
from golden.onnx_import.operands import channel_dimension, per_channel, require_stored

__all__ = ["FloatMaps"]

TWICE_TAPS = 128
"""Taps of a filter up to which a convolution costs less than two passes over its output and back."""
SIGNED_TAPS = 2 * TWICE_TAPS
"""Taps up to which it costs less, with both signs, than four passes."""


class FloatMaps:
    """Part of a walk: the operators that it takes, each by a method that gives a value or one for each output."""

    # What the walk brings.

    draft: Any
    dynamic: set[str]

    @abstractmethod
    def _put(self, node: Node, shape: tuple[int, ...] | None = None, *, last: bool = False) -> Map: ...

    @abstractmethod
    def _name(self, op: Op) -> str: ...

    @abstractmethod
    def _map(self, op: Op, index: int) -> Map: ...

    @abstractmethod
    def _optional(self, op: Op, index: int) -> np.ndarray | None: ...

    @abstractmethod
    def _floats(self, op: Op, index: int, size: int | None = None) -> np.ndarray: ...

    @abstractmethod
    def _alone(self, name: str, x: Map) -> bool: ...

    @abstractmethod
    def _affine(self, op: Op, x: Map, gain: np.ndarray, offset: np.ndarray, magnitude: np.ndarray) -> Map: ...

    # Copies

    def _move(self, op: Op, sources: Sequence[Map], moved: Moved, shape: tuple[int, ...], fill: float = 0.0) -> Map:
        """A copy, as ONNX sees it."""
        names = tuple(x.name for x in sources)
        node = Move(self._name(op), names, moved.pieces, moved.view, moved.chw, fill)
        return self._put(node, shape, last=sources[0].last)

    def _moves(self, op: Op, x: Map, chain: Sequence[Moved]) -> Map:
        """Copies behind each other; the shape is that of the map."""
        for moved in chain:
            x = self._move(op, [x], moved, spatial(x, moved.chw))
        return x

    def _unpadded(self, op: Op, x: Map) -> Map:
        """The map with its padding in it."""
        if not any(x.padding):
            return x
        plain = replace(x, padding=(0, 0, 0, 0), function=None)
        moved = padded_map(x.chw, x.padding)
        return self._move(op, [plain], moved, spatial(plain, moved.chw))

    def _sliced(self, op: Op) -> Map:
        x = self._map(op, 0)
        moved, shape = slices(op, x, slice_bounds(op, x.shape, [self._optional(op, i) for i in range(1, 5)]))
        return x if shape == x.shape else self._move(op, [x], moved, shape)

    def _parts(self, op: Op) -> list[Map]:
        x = self._map(op, 0)
        return [self._move(op, [x], moved, shape) for moved, shape in split(op, x, self._optional(op, 1))]

    def _joined(self, op: Op, parts: Sequence[Map], axis: int) -> Map:
        """A concatenation along rows or columns."""
        return self._move(op, parts, *concatenated(op, parts, axis))

    def _resized(self, op: Op) -> Map:
        x = self._map(op, 0)
        index = resize_index(op, x, self._optional(op, 2), self._optional(op, 3))
        return self._moves(op, x, resized(op, x.chw, *index))

    # Transpositions

    def _transposed(self, op: Op) -> Map:
        """A view where only the channels move; a permutation of the channels is a 1x1 convolution."""
        x = self._map(op, 0)
        order = [int(a) for a in op.attributes.get("perm", range(len(x.shape))[::-1])]
        shape = tuple(x.shape[axis] for axis in order)
        found = transposition(op, x, order)
        if isinstance(found, bool):
            return replace(x, shape=shape, last=found, function=None)
        name = self._name(op)
        weight = np.zeros((x.chw[0], x.chw[0], 1, 1), np.float32)
        weight[np.arange(x.chw[0]), found] = 1
        self.draft.weights[f"{name}.weight"] = weight
        return self._put(Conv2d(name, x.name, x.chw[0], (1, 1), bias=False), shape)

    # Arithmetic

    def _per_channel(self, op: Op) -> Map | None:
        """A product or sum with a constant per channel; None if it is none."""
        constants = [isinstance(self.draft.values[name], np.ndarray) for name in op.inputs]
        if constants.count(True) != 1 or len(constants) != 2:
            return None
        index = constants.index(False)
        x, constant = self._map(op, index), self._floats(op, 1 - index).astype(np.float64)
        value = per_channel(op, x, constant)
        ones, zeros = np.ones(x.chw[0]), np.zeros(x.chw[0])
        kind, op = op.kind, replace(op, inputs=(op.inputs[index], op.inputs[1 - index]))  # the map first
        with np.errstate(all="ignore"):  # what comes out not finite is refused with the weights
            match kind, index:
                case "Mul", _:
                    return self._affine(op, x, value, zeros, zeros)
                case "Div", 0:
                    return self._affine(op, x, 1 / value, zeros, zeros)
                case "Sub", 0:
                    return self._affine(op, x, ones, -value, np.abs(value))
                case "Sub", 1:
                    return self._affine(op, x, -ones, value, np.abs(value))
                case "Add", _:
                    return self._affine(op, x, ones, value, np.abs(value))
        return None

    def _product(self, op: Op) -> Map:
        """A map times one value a channel."""
        a, b = self._map(op, 0), self._map(op, 1)
        if a.chw[1:] == (1, 1) and b.chw[1:] != (1, 1):
            a, b = b, a
        fits = a.chw[0] == b.chw[0] and b.chw[1:] == (1, 1) and not (a.last or b.last) and len(a.shape) == len(b.shape)
        if a.chw[1:] == (1, 1) and (a.hosted or b.hosted):
            op.cannot("it multiplies vectors that the host has", "there it costs nothing")
        if not fits or channel_dimension(a) != 1 or channel_dimension(b) != 1:
            op.cannot(f"it multiplies {a.shape} and {b.shape}", "a map times one value a channel can run")
        return self._put(Gate(self._name(op), a.name, b.name), a.shape)

    def _pair(self, op: Op) -> tuple[Map, Map]:
        """Two maps that ONNX and the chip see alike."""
        a, b = self._map(op, 0), self._map(op, 1)
        require_alike(op, a, b)
        if a.chw != b.chw:
            b = self._move(op, [b], reshaped_map(b.chw, (a.chw[1], a.chw[2])), b.shape)
        return a, b

    def _difference(self, op: Op) -> Map:
        a, b = self._pair(op)
        negative = self._depthwise(op, b, np.full(b.chw[0], -1.0))
        return self._put(Add(self._name(op), a.name, negative.name), a.shape, last=a.last)

    def _depthwise(self, op: Op, x: Map, gain: np.ndarray) -> Map:
        """A factor for each channel."""
        name = self._name(op)
        self.draft.weights[f"{name}.weight"] = gain.astype(np.float32).reshape(-1, 1, 1, 1)
        node = Conv2d(name, x.name, x.chw[0], (1, 1), groups=x.chw[0], bias=False)
        return self._put(node, x.shape, last=x.last)

    def _prelu(self, op: Op) -> Map:
        """A slope for each channel below zero.

        Behind a small convolution, that convolution twice: slope * x + max((1 - slope) * x, 0), of which the second is
        added to the sums of the first; or, of slopes beyond 1 or larger ones, max(x, 0) and max(-x, 0) as channels of
        one, and a 1x1 convolution of those. Else max(x, 0) + min(slope * x, 0).
        """
        x = self._map(op, 0)
        slope = per_channel(op, x, self._floats(op, 1).astype(np.float64))
        conv = self.draft.nodes.get(x.name)
        alone = isinstance(conv, Conv2d) and self._alone(op.inputs[0], x)
        taps = math.prod(self.draft.weights[f"{x.name}.weight"].shape[1:]) if alone else 0
        if alone and conv.groups == 1 and taps <= SIGNED_TAPS and (taps > TWICE_TAPS or slope.max() > 1):
            return self._of_both_signs(op, x, slope)
        if alone and taps <= TWICE_TAPS and slope.max() <= 1:
            above = self._again(op, x, 1 - slope)
            above = self._put(Relu(self._name(op), above.name), x.shape, last=x.last)
            below = self._again(op, x, slope)
            return self._put(Add(self._name(op), below.name, above.name), x.shape, last=x.last)
        above = self._put(Relu(self._name(op), x.name), x.shape, last=x.last)
        if slope.min() >= 0:
            below = self._depthwise(op, x, slope)
            below = self._put(Clip(self._name(op), below.name, -math.inf, 0.0), x.shape, last=x.last)
        else:
            below = self._put(Clip(self._name(op), x.name, -math.inf, 0.0), x.shape, last=x.last)
            below = self._depthwise(op, below, slope)
        return self._put(Add(self._name(op), above.name, below.name), x.shape, last=x.last)

    def _of_both_signs(self, op: Op, x: Map, slope: np.ndarray) -> Map:
        """max(x, 0) - slope * max(-x, 0) of what a convolution made."""
        ones = np.ones(len(slope))
        both = self._again(op, x, np.concatenate([ones, -ones]))
        both = self._put(Relu(self._name(op), both.name), both.shape, last=both.last)
        name = self._name(op)
        mixed = np.concatenate([np.diag(ones), np.diag(-slope)], axis=1)
        self.draft.weights[f"{name}.weight"] = mixed.astype(np.float32)[..., None, None]
        return self._put(Conv2d(name, both.name, len(slope), (1, 1), bias=False), x.shape, last=x.last)

    def _again(self, op: Op, x: Map, gain: np.ndarray) -> Map:
        """The convolution that made a map once more, times a factor for each channel, or with as many factors more."""
        conv, name, draft = self.draft.nodes[x.name], self._name(op), self.draft
        times = len(gain) // x.chw[0]
        weight, bias = draft.weights[f"{x.name}.weight"], draft.weights.get(f"{x.name}.bias", np.zeros(x.chw[0]))
        weight, bias = np.tile(weight, (times, 1, 1, 1)), np.tile(bias, times)
        draft.weights[f"{name}.weight"] = (weight * gain.reshape(-1, 1, 1, 1)).astype(np.float32)
        draft.weights[f"{name}.bias"] = (bias * gain).astype(np.float32)
        before = draft.folded.get(x.name)
        draft.folded[name] = (np.abs(bias) if before is None else np.tile(before, times)) * np.abs(gain)
        if x.name in self.dynamic:
            self.dynamic.add(name)
        shape = x.shape if times == 1 else None
        made = replace(conv, name=name, out_channels=len(gain), bias=True)
        return self._put(made, shape, last=x.last)

    def _softmax(self, op: Op) -> Map:
        """Of two channels: the sigmoid of each less the other, a difference that the layer before may make."""
        x = self._map(op, 0)
        axis = int(op.attributes.get("axis", -1)) % len(x.shape)
        if channel_dimension(x) != axis or x.shape[axis] != 2:
            op.cannot(f"it is over {x.shape[axis]} values", "two channels can run, as a sigmoid of their difference")
        x = self._mixed(op, x, np.array([[1.0, -1.0], [-1.0, 1.0]]))
        return self._put(Sigmoid(self._name(op), x.name), x.shape, last=x.last)

    def _mixed(self, op: Op, x: Map, matrix: np.ndarray) -> Map:
        """Weighted sums float[O, C] of the channels: in the layer before, or a 1x1 convolution."""
        draft, node = self.draft, self.draft.nodes.get(x.name)
        plain = isinstance(node, Linear) or (isinstance(node, Conv2d) and node.groups == 1)
        if not plain or x.name in self.dynamic or not self._alone(op.inputs[0], x):
            name = self._name(op)
            draft.weights[f"{name}.weight"] = matrix.astype(np.float32)[..., None, None]
            node = Conv2d(name, x.name, len(matrix), (1, 1), bias=False)
            return self._put(node, x.shape, last=x.last)
        weight, bias = draft.weights[f"{x.name}.weight"], draft.weights.get(f"{x.name}.bias")
        draft.weights[f"{x.name}.weight"] = np.tensordot(matrix, weight, 1).astype(np.float32)
        if bias is not None:
            before = draft.folded.get(x.name, np.abs(bias).astype(np.float64))
            draft.folded[x.name] = np.abs(matrix) @ before
            draft.weights[f"{x.name}.bias"] = (matrix @ bias).astype(np.float32)
        draft.values[op.inputs[0]] = OnHost()  # the map is no longer that value, and nothing else reads it
        return x

    # Windows

    def _transposed_conv(self, op: Op) -> Map:
        """A convolution of the map with zeros between its elements."""
        x = self._map(op, 0)
        require_stored(op, x.name, x)
        weight, groups = self._floats(op, 1), int(op.attributes.get("group", 1))
        weight = weight[..., None] if weight.ndim == len(x.shape) == 3 else weight
        if weight.ndim != 4 or weight.shape[0] != x.chw[0] or groups < 1 or x.chw[0] % groups:
            op.cannot(f"weight {weight.shape} for {x.chw[0]} channels", "two-dimensional ones can run")
        win, padding = transposed_window(op, x, weight.shape)
        filters = weight.shape[1] * groups
        x = self._moves(op, x, stuffed(x.chw, win.stride))
        cut = tuple(min(0, amount) for amount in padding)
        if any(cut):
            x = self._moves(op, x, [padded_map(x.chw, (cut[0], cut[1], cut[2], cut[3]))])
        top, left, bottom, right = (max(0, amount) for amount in padding)
        name = self._name(op)
        flipped = weight.reshape(groups, -1, *weight.shape[1:])[..., ::-1, ::-1].swapaxes(1, 2)
        self.draft.weights[f"{name}.weight"] = np.ascontiguousarray(flipped.reshape(filters, -1, *win.kernel))
        if op.has(2):
            self.draft.weights[f"{name}.bias"] = np.array(self._floats(op, 2, filters))
        node = Conv2d(
            name, x.name, filters, win.kernel, (1, 1), (top, left, bottom, right), win.dilation, groups, op.has(2)
        )  # fmt: skip
        made = self._put(node)
        return replace(made, shape=spatial(x, made.chw))

    def _average(self, op: Op, x: Map, win: Window) -> Map:
        """An average pool whose windows have fewer elements at the border: in parts."""
        size = (x.chw[1], x.chw[2])
        out = out_hw(size, win.kernel, win.stride, win.padding)
        plain = window(replace(op, attributes={**op.attributes, "ceil_mode": 0}), size, win.kernel)
        include = bool(op.attributes.get("count_include_pad", 0))
        parts = regions(size, win, out, include_pad=include, padding=plain.padding)
        made = [self._put(AvgPool(self._name(op), x.name, p.kernel, win.stride, p.padding)) for p in parts]
        if len(made) == 1:
            return made[0]
        pieces = [piece_at(n, y.chw, p.first) for n, (y, p) in enumerate(zip(made, parts, strict=True))]
        chw = (x.chw[0], *out)
        return self._move(op, made, Moved(tuple(pieces), out, chw), spatial(x, chw))

    def _whole_max(self, op: Op) -> Map:
        x = self._map(op, 0)
        require_stored(op, x.name, x)
        node = MaxPool(self._name(op), x.name, (x.chw[1], x.chw[2]), (1, 1))
        return self._put(node, spatial(x, (x.chw[0], 1, 1)))

    def _summed(self, op: Op) -> Map:
        total = self._map(op, 0)
        for index in range(1, len(op.inputs)):
            x = self._map(op, index)
            if (x.shape, x.chw, x.last) != (total.shape, total.chw, total.last):
                op.cannot(f"it adds {total.shape} and {x.shape}", "all need one shape")
            total = self._put(Add(self._name(op), total.name, x.name), x.shape, last=x.last)
        return total

    TAKEN: ClassVar[dict[str, Callable[["FloatMaps", Op], Map | list[Map]]]] = {
        "ConvTranspose": _transposed_conv,
        "GlobalMaxPool": _whole_max,
        "PRelu": _prelu,
        "Resize": _resized,
        "Slice": _sliced,
        "Softmax": _softmax,
        "Split": _parts,
        "Sum": _summed,
        "Transpose": _transposed,
    }
    """Operators that these methods take altogether."""
