"""Operators of the float layer graph.

Every operator is a frozen dataclass that names its inputs and, through :meth:`Node.infer`, knows its
output shape. Shapes are (C, H, W) with a batch of one; padding is (top, left, bottom, right).
"""

import math
from dataclasses import dataclass, field
from typing import NoReturn

from golden.errors import GraphError
from golden.int8.fallback import Feeds, HostPart
from golden.net.pieces import Piece, fault_of
from golden.net.window import Padding, Pair, out_hw

__all__ = [
    "Add", "AvgPool", "BatchNorm", "Clip", "Concat", "Conv2d", "Flatten", "Gate", "GlobalAvgPool", "Host", "Linear",
    "MaxPool", "Move", "Node", "Relu", "Shape",
]  # fmt: skip

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Node:
    """One operator; the value it produces carries its name."""

    name: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        raise NotImplementedError

    def infer(self, *shapes: Shape) -> Shape:
        """Output shape for the given input shapes; raises GraphError where they do not fit."""
        raise NotImplementedError

    def parameters(self, *shapes: Shape) -> dict[str, tuple[int, ...]]:
        """Name and shape of every learned tensor, in the order of PyTorch."""
        return {}

    def statistics(self, *shapes: Shape) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that training measures and does not learn; weights files hold these too."""
        return {}

    def macs(self, *shapes: Shape) -> int:
        """Multiply-accumulates per image; padding counts, as in the published figures."""
        return 0

    def fail(self, what: str, remedy: str) -> NoReturn:
        """Raise a GraphError that names this node."""
        raise GraphError(f"node {self.name!r}: {what}; {remedy}")

    def require_positive(self, **fields: tuple[int, ...] | int) -> None:
        """Refuse values below one."""
        for name, value in fields.items():
            if min(value if isinstance(value, tuple) else (value,)) < 1:
                self.fail(f"{name} is {value}", "every entry must be at least 1")

    def require_padding(self, padding: Padding) -> None:
        """Refuse a malformed padding."""
        if len(padding) != 4 or min(padding) < 0:
            self.fail(f"padding is {padding}", "give (top, left, bottom, right), none negative")


@dataclass(frozen=True)
class _Unary(Node):
    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True)
class Conv2d(_Unary):
    """2-D convolution (cross-correlation), zero-padded.

    Parameters are ``<param>.weight[O, I/groups, Kh, Kw]`` and, with `bias`, ``<param>.bias[O]``;
    `param` defaults to the node's name.
    """

    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = True
    param: str = ""

    def infer(self, *shapes: Shape) -> Shape:
        (channels, height, width), *_ = shapes
        self.require_positive(
            out_channels=self.out_channels, kernel=self.kernel, stride=self.stride, dilation=self.dilation,
            groups=self.groups,
        )  # fmt: skip
        self.require_padding(self.padding)
        if channels % self.groups or self.out_channels % self.groups:
            self.fail(
                f"groups is {self.groups} with {channels} input and {self.out_channels} output channels",
                "it must divide both",
            )
        size = out_hw((height, width), self.kernel, self.stride, self.padding, self.dilation)
        if min(size) < 1:
            self.fail(
                f"kernel {self.kernel} with dilation {self.dilation} exceeds the padded input {shapes[0]}",
                "pad more or use a smaller kernel",
            )
        return (self.out_channels, *size)

    def parameters(self, *shapes: Shape) -> dict[str, tuple[int, ...]]:
        prefix = self.param or self.name
        weight = (self.out_channels, shapes[0][0] // self.groups, *self.kernel)
        return {f"{prefix}.weight": weight} | ({f"{prefix}.bias": (self.out_channels,)} if self.bias else {})

    def macs(self, *shapes: Shape) -> int:
        return math.prod(self.infer(*shapes)) * shapes[0][0] // self.groups * math.prod(self.kernel)


@dataclass(frozen=True)
class Linear(_Unary):
    """Fully connected layer on a flat input (F, 1, 1); parameters ``weight[O, F]`` and ``bias[O]``."""

    out_features: int
    bias: bool = True
    param: str = ""

    def infer(self, *shapes: Shape) -> Shape:
        self.require_positive(out_features=self.out_features)
        if shapes[0][1:] != (1, 1):
            self.fail(f"input {self.input!r} has shape {shapes[0]}", "put a Flatten before it")
        return (self.out_features, 1, 1)

    def parameters(self, *shapes: Shape) -> dict[str, tuple[int, ...]]:
        prefix = self.param or self.name
        weight = (self.out_features, shapes[0][0])
        return {f"{prefix}.weight": weight} | ({f"{prefix}.bias": (self.out_features,)} if self.bias else {})

    def macs(self, *shapes: Shape) -> int:
        return self.out_features * shapes[0][0]


@dataclass(frozen=True)
class BatchNorm(_Unary):
    """Batch normalisation at inference: ``(x - running_mean) / sqrt(running_var + eps) * weight + bias`` per channel.

    Parameters are ``<param>.weight[C]`` and ``<param>.bias[C]``, statistics ``<param>.running_mean[C]`` and
    ``<param>.running_var[C]``. Quantisation folds it into the convolution or fully connected layer before it.
    """

    eps: float = 1e-5
    param: str = ""

    def infer(self, *shapes: Shape) -> Shape:
        if not 0 < self.eps < math.inf:
            self.fail(f"eps is {self.eps}", "it must be positive and finite")
        return shapes[0]

    def parameters(self, *shapes: Shape) -> dict[str, tuple[int, ...]]:
        return {f"{self.param or self.name}.{kind}": (shapes[0][0],) for kind in ("weight", "bias")}

    def statistics(self, *shapes: Shape) -> dict[str, tuple[int, ...]]:
        return {f"{self.param or self.name}.{kind}": (shapes[0][0],) for kind in ("running_mean", "running_var")}


@dataclass(frozen=True)
class _Pool(_Unary):
    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)

    def infer(self, *shapes: Shape) -> Shape:
        channels, height, width = shapes[0]
        self.require_positive(kernel=self.kernel, stride=self.stride)
        top, left, bottom, right = self.padding
        if max(top, bottom) >= self.kernel[0] or max(left, right) >= self.kernel[1]:
            self.fail(
                f"padding {self.padding} with kernel {self.kernel} leaves windows of padding alone",
                "pad less than the kernel's size",
            )
        size = out_hw((height, width), self.kernel, self.stride, self.padding)
        if min(size) < 1:
            self.fail(f"kernel {self.kernel} exceeds the padded input {shapes[0]}", "use a smaller kernel")
        return (channels, *size)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Maximum over a window; padding never wins."""

    def infer(self, *shapes: Shape) -> Shape:
        self.require_padding(self.padding)
        return super().infer(*shapes)


@dataclass(frozen=True)
class AvgPool(_Pool):
    """Mean over a window; padding counts as real zeros (PyTorch's ``count_include_pad=True``), negative cuts off."""


@dataclass(frozen=True)
class GlobalAvgPool(_Unary):
    """Mean over the whole map: (C, H, W) -> (C, 1, 1)."""

    def infer(self, *shapes: Shape) -> Shape:
        return (shapes[0][0], 1, 1)


@dataclass(frozen=True)
class Add(Node):
    """Element-wise sum of two values of one shape."""

    a: str
    b: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.a, self.b)

    def infer(self, *shapes: Shape) -> Shape:
        if shapes[0] != shapes[1]:
            self.fail(
                f"{self.a!r} has shape {shapes[0]} but {self.b!r} has {shapes[1]}",
                "both inputs of an Add need one shape",
            )
        return shapes[0]


@dataclass(frozen=True)
class Concat(Node):
    """Join values along the channels."""

    parts: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.parts

    def infer(self, *shapes: Shape) -> Shape:
        if not shapes:
            self.fail("it has no inputs", "give at least one")
        for name, shape in zip(self.parts, shapes, strict=True):
            if shape[1:] != shapes[0][1:]:
                self.fail(
                    f"{name!r} has shape {shape} but {self.parts[0]!r} has {shapes[0]}",
                    "height and width must agree",
                )
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@dataclass(frozen=True)
class Move(Node):
    """Copies of rectangles of its inputs; `fill` where a piece reads outside of its source."""

    values: tuple[str, ...]
    pieces: tuple[Piece, ...]
    view: Pair
    shape: Shape
    fill: float = 0.0

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.values

    def infer(self, *shapes: Shape) -> Shape:
        fault = fault_of(self.pieces, self.view, self.shape, shapes)
        if fault is not None:
            self.fail(fault, "give pieces that cover the output once")
        return self.shape


@dataclass(frozen=True)
class Gate(Node):
    """Product of a map (C, H, W) and a value a channel (C, 1, 1)."""

    map: str
    gate: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.map, self.gate)

    def infer(self, *shapes: Shape) -> Shape:
        if shapes[1] != (shapes[0][0], 1, 1):
            what = f"{self.map!r} has shape {shapes[0]} but {self.gate!r} has {shapes[1]}"
            self.fail(what, "give one value a channel")
        return shapes[0]


@dataclass(frozen=True)
class Relu(_Unary):
    """max(x, 0)."""

    def infer(self, *shapes: Shape) -> Shape:
        return shapes[0]


@dataclass(frozen=True)
class Clip(_Unary):
    """min(max(x, lo), hi); either bound may be infinite. ReLU6 is ``Clip(name, input, 0.0, 6.0)``."""

    lo: float = -math.inf
    hi: float = math.inf

    def infer(self, *shapes: Shape) -> Shape:
        if not self.lo <= self.hi:  # also refuses NaN
            self.fail(f"bounds are ({self.lo}, {self.hi})", "the lower bound must not exceed the upper one")
        return shapes[0]


@dataclass(frozen=True)
class Host(Node):
    """Part of an ONNX model that the host computes, between two runs of the chip."""

    values: tuple[str, ...]
    part: HostPart
    feeds: Feeds = field(default_factory=dict, compare=False)
    """The model's own inputs that the part reads."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.values

    def infer(self, *shapes: Shape) -> Shape:
        for name, shape, port in zip(self.values, shapes, self.part.inputs, strict=True):
            if math.prod(shape) != math.prod(port.shape):
                self.fail(f"{name!r} has shape {shape}", f"the host takes {port.shape}")
        return self.part.output.chw


@dataclass(frozen=True)
class Flatten(_Unary):
    """(C, H, W) -> (C*H*W, 1, 1), channel-major: a view, no data moves."""

    def infer(self, *shapes: Shape) -> Shape:
        return (math.prod(shapes[0]), 1, 1)
