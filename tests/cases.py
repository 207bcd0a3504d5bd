"""Random networks of one or a few layers, and random chips: what a schedule must get right, at small sizes.

A case is given by its seed alone. Graphs are built from integers directly, so that weights, zero points, clamps
and requantisation reach values that a trained network never shows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from golden.int8.qgraph import QGraph, QTensor
from golden.int8.qnodes import ADD_WEIGHT_LIMIT, QAdd, QConcat, QConv, QGate, QMove, QNode, QPool, Residual
from golden.int8.requant import Requant
from golden.net.pieces import Piece, joined, padded, repeated, sliced
from golden.net.window import out_hw
from rtl.contract.codec import table_blocks
from rtl.contract.params import ChipParams
from tests.chips import CHIPS, random_chip

__all__ = [
    "CHIPS", "KINDS", "MORE_KINDS", "Case", "GraphBuilder", "pruned", "random_case", "random_chip", "random_graph",
    "random_image",
]  # fmt: skip

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]

CHANNELS = (1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 31, 32, 33, 48, 64, 70)


@dataclass(frozen=True, eq=False)
class Case:
    """One random network on one random chip, with its input.

    Attributes
    ----------
    image : int8[C, H, W]
    """

    seed: int
    kind: str
    chip: ChipParams
    graph: QGraph
    image: np.ndarray

    def __str__(self) -> str:
        """What to print beside a failure."""
        shape = {name: tensor.shape for name, tensor in self.graph.tensors.items()}
        layers = "; ".join(_describe(node, shape) for node in self.graph.nodes)
        cores = ", ".join(dict.fromkeys(f"{c.rows}x{c.cols}" for c in self.chip.cores))
        mesh = f"{self.chip.mesh_width}x{self.chip.mesh_height}"
        return f"seed {self.seed} {self.kind}: {layers} on {mesh} of {cores}, links of {self.chip.link_bytes}"


def _describe(node: QNode, shape: dict[str, tuple[int, int, int]]) -> str:
    inputs = "+".join("x".join(map(str, shape[name])) for name in node.inputs)
    text = f"{node.op} {inputs} -> {'x'.join(map(str, shape[node.output]))}"
    if isinstance(node, QConv):
        kernel = "x".join(map(str, node.weight.shape[2:]))
        text += f" k{kernel} s{node.stride} p{node.padding} d{node.dilation} g{node.groups}"
    elif isinstance(node, QPool):
        text += f" k{node.kernel} s{node.stride} p{node.padding}"
    if not isinstance(node, QConcat | QMove) and node.requant is not None and node.requant.table is not None:
        text += " with a table"
    return text


class GraphBuilder:
    """Builds a QGraph layer by layer out of random integers.

    Methods take and return tensor names. `budget_macs` bounds the work of one layer.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int, int], budget_macs: int) -> None:
        self.rng = rng
        self.budget_macs = budget_macs
        self.tensors: dict[str, QTensor] = {}
        self.nodes: list[QNode] = []
        self.input = self._tensor("in", shape)

    def graph(self, name: str, *outputs: str) -> QGraph:
        return QGraph(name, self.input, outputs, self.tensors, tuple(self.nodes))

    def shape(self, name: str) -> tuple[int, int, int]:
        return self.tensors[name].shape

    def conv(
        self,
        source: str,
        filters: int,
        kernel: Pair,
        *,
        stride: Pair = (1, 1),
        padding: Padding = (0, 0, 0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
        op: str = "conv",
        residual: str | None = None,
        wide: bool = False,
    ) -> str:
        channels, height, width = self.shape(source)
        size = out_hw((height, width), kernel, stride, padding, dilation)
        depth = channels // groups
        target = self._tensor(op, (filters, *size))
        weight = self._noise((filters, depth, *kernel))
        if wide:
            weight = weight + self.rng.integers(-127, 128, (filters, 1, 1, 1), np.int16)
        spread = 40.0 * 74.0 * (depth * prod(kernel)) ** 0.5
        bias = self.rng.normal(0, spread / 3, filters).astype(np.int32)
        added = None
        if residual is not None:
            shift = int(self.rng.choice([0, 3, 7, 13]))
            added = Residual(residual, self.rng.integers(1, 128, filters, np.int8), shift)
            spread += 64.0 * 74.0 * 2.0**shift
        self.nodes.append(
            QConv(
                target, op, source, target, weight, bias, stride, padding, dilation, groups,
                self.tensors[source].zero_point, self._requant(filters, spread, target),
                residual=added,
            )
        )  # fmt: skip
        return target

    def pool(self, op: str, source: str, kernel: Pair, stride: Pair, padding: Padding = (0, 0, 0, 0)) -> str:
        channels, height, width = self.shape(source)
        zero = self.tensors[source].zero_point
        shape = (channels, *out_hw((height, width), kernel, stride, padding))
        target = self._tensor(op, shape, zero if op == "maxpool" else None)
        if op == "maxpool":
            self.nodes.append(QPool(target, op, source, target, kernel, stride, padding, None, -128))
        else:
            spread = 74.0 * prod(kernel) ** 0.5
            requant = self._requant(channels, spread, target)
            bias = int(self.rng.normal(0, spread))
            self.nodes.append(QPool(target, op, source, target, kernel, stride, padding, requant, zero, bias))
        return target

    def add(self, a: str, b: str) -> str:
        target = self._tensor("add", self.shape(a))
        limit = int(self.rng.choice([1, 127, 128, 40_000, ADD_WEIGHT_LIMIT]))
        weights = [int(self.rng.integers(-limit, limit + 1)), limit]
        if self.rng.random() < 0.5:
            weights.reverse()
        bias = int(self.rng.integers(-32 * limit, 32 * limit + 1))
        requant = self._requant(self.shape(a)[0], 90.0 * limit, target)
        self.nodes.append(QAdd(target, (a, b), target, (weights[0], weights[1]), bias, requant))
        return target

    def concat(self, *parts: str) -> str:
        channels = sum(self.shape(part)[0] for part in parts)
        target = self._tensor("concat", (channels, *self.shape(parts[0])[1:]))
        self.nodes.append(QConcat(target, parts, target))
        return target

    def move(self, sources: tuple[str, ...], pieces: tuple[Piece, ...], shape: tuple[int, int, int],
             view: Pair | None = None, fill: int = 0) -> str:  # fmt: skip
        target = self._tensor("copy", shape)
        self.nodes.append(QMove(target, sources, target, shape, view or shape[1:], pieces, fill))
        return target

    def gate(self, source: str, gate: str) -> str:
        target = self._tensor("gate", self.shape(source))
        zeros = self.tensors[source].zero_point, self.tensors[gate].zero_point
        self.nodes.append(
            QGate(target, (source, gate), target, zeros, self._requant(self.shape(source)[0], 5000.0, target))
        )
        return target

    def _tensor(self, stem: str, shape: tuple[int, int, int], zero_point: int | None = None) -> str:
        name = stem if stem == "in" else f"{stem}{len(self.nodes)}"
        zero = (
            int(self.rng.choice([0, -37, 5, -128, 127], p=[0.3, 0.3, 0.2, 0.1, 0.1]))
            if zero_point is None
            else zero_point
        )
        self.tensors[name] = QTensor(name, shape, 1.0, zero)
        return name

    def _noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """Mostly moderate values, and the extremes."""
        noise = self.rng.normal(0, 40, shape).clip(-128, 127)
        noise[self.rng.random(shape) < 0.02] = -128
        return noise.astype(np.int8)

    def _requant(self, channels: int, spread: float, target: str) -> Requant:
        """Scales that bring sums of this spread to int8, channel by channel different; sometimes a fused clamp."""
        scale = 40.0 / spread * self.rng.uniform(0.3, 1.5, channels)
        if self.rng.random() < 0.2:
            scale = 2.0 ** np.round(np.log2(scale))  # powers of two: ties happen
        zero = self.tensors[target].zero_point
        lo, hi = (zero, 127) if zero < 50 and self.rng.random() < 0.3 else (-128, 127)
        if self.rng.random() < 0.2:
            hi = max(lo, 100)
        return Requant.from_scale(scale, zero, lo, hi)


def _sizes(rng: np.random.Generator, span: Pair, budget: float) -> Pair:
    """Height and width of about `budget` pixels at most, each holding at least the window's span."""
    height, width = (int(rng.integers(low, low + 18)) for low in span)
    while height * width > budget and (height > span[0] or width > span[1]):
        height, width = max(span[0], height * 3 // 4), max(span[1], width * 3 // 4)
    return height, width


def _one_conv(
    rng: np.random.Generator,
    budget: int,
    kernels: tuple[Pair, ...],
    strides: tuple[Pair, ...] = ((1, 1),),
    dilations: tuple[Pair, ...] = ((1, 1),),
    pads: bool = True,
    groups: str = "one",
) -> tuple[GraphBuilder, str]:
    """A graph of one convolution."""
    kernel, stride, dilation = (options[rng.integers(len(options))] for options in (kernels, strides, dilations))
    depth, filters = int(rng.choice(CHANNELS)), int(rng.choice(CHANNELS))
    n_groups = 1
    if groups == "depthwise":
        n_groups, depth = filters, 1
        filters *= int(rng.choice([1, 1, 1, 2]))
    elif groups == "some":
        n_groups = int(rng.choice([2, 3, 4]))
        depth, filters = min(depth, 24), n_groups * max(1, min(filters, 64) // n_groups)
    while filters // n_groups * n_groups * depth * prod(kernel) * 30 > budget and max(depth, filters) > 4:
        if depth > 1:
            depth = -(-depth // 2)
        elif n_groups > 1:
            filters, n_groups = filters // n_groups * (-(-n_groups // 2)), -(-n_groups // 2)
        filters = max(n_groups, filters // 2 // n_groups * n_groups)
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    padding = (0, 0, 0, 0)
    if pads and rng.random() < 0.8:
        padding = tuple(int(rng.integers(0, min(s, 4))) for s in (*span, *span)) if min(span) > 1 else (1, 0, 0, 1)
    pixels = budget * prod(stride) / (filters * depth * prod(kernel))
    height, width = _sizes(rng, (span[0], span[1]), pixels)
    builder = GraphBuilder(rng, (depth * n_groups, height, width), budget)
    op = "depthwise" if groups == "depthwise" and n_groups > 1 else "conv"
    target = builder.conv(
        "in", filters, kernel, stride=stride, padding=padding, dilation=dilation, groups=n_groups, op=op
    )
    return builder, target


def _conv3x3(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((3, 3),))


def _conv1x1(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((1, 1),), ((1, 1), (2, 2), (1, 3)), pads=False)


def _conv_odd(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((5, 5), (2, 3), (1, 5), (4, 1)), ((1, 1), (2, 1), (3, 2)))


def _conv7x7(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((7, 7),), ((2, 2),))


def _strided(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((3, 3), (2, 2)), ((2, 2), (2, 3)))


def _dilated(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((3, 3), (3, 2)), ((1, 1), (2, 2)), ((2, 2), (1, 3)))


def _grouped(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((3, 3), (1, 1)), ((1, 1), (2, 2)), groups="some")


def _depthwise(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    return _one_conv(rng, budget, ((3, 3), (5, 5)), ((1, 1), (2, 2)), groups="depthwise")


def _shallow(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """A first layer: few channels, so that taps are packed into the rows."""
    kernel = ((3, 3), (5, 5), (7, 7))[rng.integers(3)]
    channels, filters = int(rng.choice([1, 2, 3, 4])), int(rng.choice([6, 16, 20, 64]))
    pixels = budget / (filters * channels * prod(kernel))
    builder = GraphBuilder(rng, (channels, *_sizes(rng, kernel, pixels)), budget)
    pad = kernel[0] // 2
    stride = int(rng.choice([1, 2]))
    return builder, builder.conv("in", filters, kernel, stride=(stride, stride), padding=(pad, pad, pad, pad))


def _deep(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Many channels on a small map: inputs and weights that no memory holds at once."""
    kernel = int(rng.choice([1, 1, 3]))
    depth, filters = int(rng.choice([130, 200, 256, 321])), int(rng.choice([40, 64, 100]))
    pixels = budget / (filters * depth * kernel * kernel)
    builder = GraphBuilder(rng, (depth, *_sizes(rng, (kernel, kernel), max(4, pixels))), budget)
    pad = int(rng.integers(0, kernel))
    return builder, builder.conv("in", filters, (kernel, kernel), padding=(pad, 0, pad, pad))


def _fc(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    shape = (int(rng.choice([5, 16, 33, 64, 128])), *(((1, 1), (1, 1), (2, 3), (5, 5), (7, 7))[rng.integers(5)]))
    filters = min(int(rng.choice([1, 10, 16, 63, 130, 300])), max(1, budget // prod(shape)))
    builder = GraphBuilder(rng, shape, budget)
    return builder, builder.conv("in", filters, (shape[1], shape[2]), op="fc")


def _pool(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    op = ("maxpool", "avgpool")[rng.integers(2)]
    kernel, stride, padding = (
        ((2, 2), (2, 2), (0, 0, 0, 0)),
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((3, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 2), (2, 1), (0, 1, 1, 0)),
        ((1, 1), (1, 1), (0, 0, 0, 0)),
    )[rng.integers(5)]
    channels = int(rng.choice(CHANNELS))
    height, width = _sizes(rng, kernel, budget / 20 / channels)
    if rng.random() < 0.3 and op == "avgpool" and height * width <= 100:
        kernel, stride, padding = (height, width), (1, 1), (0, 0, 0, 0)
    builder = GraphBuilder(rng, (channels, height, width), budget)
    return builder, builder.pool(op, "in", kernel, stride, padding)


def _add(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """A residual block: the input and a pointwise convolution of it."""
    channels = int(rng.choice(CHANNELS))
    builder = GraphBuilder(rng, (channels, *_sizes(rng, (1, 1), budget / channels**2)), budget)
    branch = builder.conv("in", channels, (1, 1))
    if rng.random() < 0.3:
        return builder, builder.add(branch, branch)
    return builder, builder.add(*(("in", branch) if rng.random() < 0.5 else (branch, "in")))


def _residual(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Convolutions that add a tensor: the network's input, a branch, or their own input."""
    channels, kernel = int(rng.choice(CHANNELS)), int(rng.choice([1, 1, 3]))
    size = _sizes(rng, (2, 2), budget / channels**2 / kernel**2)
    builder = GraphBuilder(rng, (channels, *size), budget)
    narrow = builder.conv("in", int(rng.choice([3, 8, 16, 40])), (1, 1))
    pad = (kernel // 2,) * 4
    at = builder.conv(narrow, channels, (kernel, kernel), padding=pad, residual="in")
    if rng.random() < 0.5:
        filters = int(rng.choice(CHANNELS))
        branch = builder.conv("in", filters, (1, 1), stride=(2, 2))
        groups = 2 if channels % 2 == filters % 2 == 0 and rng.random() < 0.4 else 1
        return builder, builder.conv(at, filters, (2, 2), stride=(2, 2), padding=(0, 0, size[0] % 2, size[1] % 2),
                                     groups=groups, residual=branch)  # fmt: skip
    return builder, builder.conv(at, channels, (1, 1), residual=at) if rng.random() < 0.5 else at


def _concat(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Two or three branches side by side, and a layer that reads them together."""
    channels = int(rng.choice(CHANNELS[2:]))
    builder = GraphBuilder(rng, (channels, *_sizes(rng, (2, 2), budget / channels / 40)), budget)
    parts = [builder.conv("in", int(rng.choice([3, 8, 16, 20])), (1, 1)) for _ in range(int(rng.integers(1, 3)))]
    target = builder.concat(*parts, "in")
    return builder, builder.pool("maxpool", target, (2, 2), (1, 1)) if rng.random() < 0.5 else target


def _chain(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """A small network: convolution, pool, depthwise, pointwise, add, fully connected."""
    builder = GraphBuilder(rng, (3, *_sizes(rng, (9, 9), budget / 600)), budget)
    filters = int(rng.choice([8, 16, 20]))
    at = builder.conv("in", filters, (3, 3), stride=(2, 2), padding=(0, 1, 1, 0))
    at = builder.pool("maxpool", at, (2, 2), (1, 1))
    deep = builder.conv(at, filters, (3, 3), padding=(1, 1, 1, 1), groups=filters, op="depthwise")
    wide = builder.conv(deep, filters, (1, 1))
    at = builder.add(at, wide)
    at = builder.pool("avgpool", at, (2, 2), (2, 2))
    _, height, width = builder.shape(at)
    return builder, builder.conv(at, 10, (height, width), op="fc")


POOLS: tuple[tuple[Pair, Pair, Padding], ...] = (
    ((2, 2), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (0, 0, 1, 1)),
    ((3, 3), (2, 2), (1, 1, 1, 1)),
    ((3, 3), (1, 1), (1, 1, 1, 1)),
    ((2, 3), (1, 3), (1, 0, 0, 2)),
    ((1, 2), (3, 1), (0, 1, 0, 0)),
)
"""Kernel, stride and padding."""


def _pooled(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """A convolution, or two that are concatenated, with a maximum pool behind."""
    kernel, stride, padding = POOLS[rng.integers(len(POOLS))]
    window = int(rng.choice([1, 3]))
    pad = int(rng.integers(0, window))
    depth, filters = (int(rng.choice([3, 8, 16, 24])) for _ in range(2))
    pixels = budget / (filters * depth * window**2)
    builder = GraphBuilder(rng, (depth, *_sizes(rng, (window + 3, window + 3), pixels)), budget)
    step = int(rng.choice([1, 1, 2]))

    def conv() -> str:
        return builder.conv("in", filters, (window, window), stride=(step, step), padding=(pad, pad, pad, pad))

    target = builder.concat(conv(), conv()) if rng.random() < 0.3 else conv()
    return builder, builder.pool("maxpool", target, kernel, stride, padding)


def _move(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Slices, joins, padding, repetition and stuffing, between two convolutions."""
    builder = GraphBuilder(rng, (int(rng.choice(CHANNELS[2:])), *_sizes(rng, (4, 4), budget / 2000)), budget)
    at = builder.conv("in", int(rng.choice(CHANNELS[3:])), (1, 1))
    channels, height, width = shape = builder.shape(at)
    fill = int(rng.integers(-128, 128))
    match int(rng.integers(6)):
        case 0:
            first = int(rng.integers(0, channels))
            end = int(rng.integers(first + 1, channels + 1))
            step = (int(rng.choice([1, 1, 3])), int(rng.choice([1, 2])), int(rng.choice([1, 3])))
            at = builder.move((at,), *sliced(shape, (first, 1, 2), (end, height, width), step))
        case 1:
            other = builder.move((at,), *padded(shape, (2, 1, -1, 3)), fill=fill)
            at = builder.move((other,), *padded(builder.shape(other), (-2, -1, 1, -3)), fill=fill)
        case 2:
            other = builder.pool("maxpool", at, (2, 2), (1, 2))
            back = builder.move((other,), *padded(builder.shape(other), (0, 0, 0, 0)))
            joint = (builder.shape(back), builder.shape(back), builder.shape(other))
            at = builder.move((back, back, other), *joined(joint, int(rng.integers(3))))
        case 3:
            times = int(rng.integers(2, 4))
            pieces, view, out = repeated(shape, times)
            at = builder.move((at,), pieces, out, view)
            rows = tuple(
                Piece(0, out[1:], (0, channels), (0, 0), (1, 1), out[1:], (0, 0, number * out[2]))
                for number in range(2)
            )
            at = builder.move((at,), rows, (channels, 2 * height, out[2]), (height, 2 * out[2]))
        case 4:
            piece = Piece(0, (height * width, 1), (0, channels), (0, 0), (1, 1), (height * width, 3), (0, 0, 0))
            at = builder.move((at,), (piece,), (channels, height, 3 * width), (height * width, 3), fill)
        case _:
            piece = Piece(0, shape[1:], (0, channels), (1, 0), (17, 1), (1, width), (0, 0, 0))
            at = builder.move((at,), (piece,), (channels, 1, width), fill=fill)
    return builder, builder.conv(at, 8, (1, 1))


def _gate(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Squeeze and excitation."""
    channels = int(rng.choice(CHANNELS))
    builder = GraphBuilder(rng, (3, *_sizes(rng, (2, 2), budget / channels / 40)), budget)
    at = builder.conv("in", channels, (1, 1))
    mean = builder.pool("avgpool", at, builder.shape(at)[1:], (1, 1))
    gate = builder.conv(builder.conv(mean, 5, (1, 1)), channels, (1, 1))
    return builder, builder.conv(builder.gate(at, gate), 4, (1, 1))


def _wide(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Strides and dilations beyond the fields of a SETUP, with and without padding."""
    channels, pads = int(rng.choice([2, 8, 17])), tuple(int(pad) for pad in rng.choice([0, 0, 1, 5, 16], 4))
    padding = (pads[0], pads[1], pads[2], pads[3])
    builder = GraphBuilder(rng, (channels, int(rng.integers(35, 50)), int(rng.integers(35, 50))), budget)
    stride = (int(rng.choice([1, 16, 19])), int(rng.choice([2, 17])))
    match int(rng.integers(5)):
        case 0:
            return builder, builder.conv("in", 4, (2, 3), stride=stride, padding=padding)
        case 1:
            dilation = (int(rng.choice([1, 16, 18])), int(rng.choice([2, 17])))
            return builder, builder.conv("in", 5, (3, 3), padding=padding, dilation=dilation)
        case 2:
            return builder, builder.conv("in", channels, (2, 2), stride=stride, padding=padding, dilation=(3, 18),
                                         groups=channels, op="depthwise")  # fmt: skip
        case 3:
            return builder, builder.pool("maxpool", "in", (16, 17), stride, padding)
        case _:
            return builder, builder.pool("avgpool", "in", (20, 3), stride)


def _asymmetric(rng: np.random.Generator, budget: int) -> tuple[GraphBuilder, str]:
    """Weights with zero points, on every way into the array and on the tap unit."""
    channels = int(rng.choice([1, 3, 20, 40]))
    builder = GraphBuilder(rng, (channels, *_sizes(rng, (4, 4), budget / channels / 400)), budget)
    same = (1, 1, 1, 1)
    at = builder.conv("in", 24, (3, 3), padding=same, wide=True)
    at = builder.conv(at, 24, (3, 3), padding=same, groups=24, op="depthwise", wide=True)
    at = builder.conv(at, int(rng.choice([8, 36])), (3, 1), groups=int(rng.choice([1, 2])), wide=True)
    return builder, builder.conv(at, 9, builder.shape(at)[1:], op="fc", wide=True)


KINDS: dict[str, Callable[[np.random.Generator, int], tuple[GraphBuilder, str]]] = {
    "conv3x3": _conv3x3,
    "conv1x1": _conv1x1,
    "conv_odd": _conv_odd,
    "conv7x7": _conv7x7,
    "strided": _strided,
    "dilated": _dilated,
    "grouped": _grouped,
    "depthwise": _depthwise,
    "shallow": _shallow,
    "deep": _deep,
    "fc": _fc,
    "pool": _pool,
    "pooled": _pooled,
    "add": _add,
    "concat": _concat,
    "chain": _chain,
    "residual": _residual,
}


MORE_KINDS: dict[str, Callable[[np.random.Generator, int], tuple[GraphBuilder, str]]] = {
    "move": _move,
    "gate": _gate,
    "wide": _wide,
    "asymmetric": _asymmetric,
}
"""Kinds that do not come in turn: of networks from other tools."""


def pruned(case: Case, kept: float) -> Case:
    """The case with so many of its convolutions' weights, at random places; in some filters none."""
    rng = np.random.default_rng(case.seed)

    def few(node: QNode) -> QNode:
        if not isinstance(node, QConv):
            return node
        stays = (rng.random(node.weight.shape) < kept) & (rng.random((len(node.bias), 1, 1, 1)) < 0.9)
        return replace(node, weight=np.where(stays, node.weight, np.zeros_like(node.weight)))

    return replace(case, graph=replace(case.graph, nodes=tuple(map(few, case.graph.nodes))))


def random_graph(rng: np.random.Generator, kind: str, budget_macs: int = 300_000) -> QGraph:
    """A network of a kind, its layers of about `budget_macs` each at most."""
    builder, output = (KINDS | MORE_KINDS)[kind](rng, budget_macs)
    return builder.graph(kind, output)


def random_image(rng: np.random.Generator, graph: QGraph) -> np.ndarray:
    """int8[C, H, W] over the whole range."""
    return rng.integers(-128, 128, graph.tensors[graph.input].shape, np.int8)


def _with_tables(rng: np.random.Generator, graph: QGraph) -> QGraph:
    """The network with random activation tables behind some of its requantisations."""
    nodes = []
    for node in graph.nodes:
        if not isinstance(node, QConcat | QMove) and node.requant is not None and rng.random() < 0.3:
            table = rng.integers(-128, 128, 256, np.int8)
            node = replace(node, requant=replace(node.requant, table=table))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _room_for_tables(chip: ChipParams) -> bool:
    """Whether parameters of two blocks of channels fit beside a table, on every core."""
    size = chip.link_bytes
    return all(core.param_blocks >= table_blocks(size) + 2 * -(-core.cols // size) for core in chip.cores)


def random_case(
    seed: int, *, kind: str | None = None, chip: ChipParams | None = None, budget_macs: int = 300_000
) -> Case:
    """The case of a seed; kinds come in turn unless one is named."""
    rng = np.random.default_rng(seed)
    kind = kind or list(KINDS)[seed % len(KINDS)]
    chip = chip or random_chip(rng)
    graph = random_graph(rng, kind, budget_macs)
    if kind != "pooled" and _room_for_tables(chip):  # a table keeps a convolution and its pool apart
        graph = _with_tables(rng.spawn(1)[0], graph)
    return Case(seed, kind, chip, graph, random_image(rng, graph))
