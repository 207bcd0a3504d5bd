"""Layers as other people's models see them: a loop nest with sizes, and nothing of its data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv, QNode, QPool

__all__ = ["KINDS", "LayerShape", "Missing", "shapes_of"]

KINDS = ("conv", "1x1", "depthwise", "fc", "pool")
"""Classes of layers, each corrected on its own."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class Missing:
    """What a tool's inputs cannot say.

    Attributes
    ----------
    what : str
        A layer, or a part of the chip.
    why : str
    """

    what: str
    why: str


@dataclass(frozen=True)
class LayerShape:
    """One layer that the chip computes in a launch of its own; sizes are (height, width).

    Attributes
    ----------
    name : str
        Of the quantised graph's node, as in the summary of a run.
    kind : str
        One of KINDS.
    operator : str
        "conv", "fc", "maxpool" or "avgpool".
    channels, filters : int
        Of input and output.
    size, out : (int, int)
        Of input and output maps; the input without padding.
    padding : (int, int, int, int)
        Top, left, bottom, right.
    residual : bool
        Whether it adds another tensor to its sums.
    first : bool
        Whether it reads the network's own input, whose few channels the chip packs with the kernel's columns.
    reads : str
        Name of the layer that makes its input; empty where that is no such layer.
    """

    name: str
    kind: str
    operator: str
    channels: int
    filters: int
    size: Pair
    out: Pair
    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    groups: int
    residual: bool
    first: bool = False
    reads: str = ""

    @property
    def pixels(self) -> int:
        """Of the output."""
        return math.prod(self.out)

    @property
    def depth(self) -> int:
        """Products of a sum."""
        return self.channels // self.groups * math.prod(self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates; of a pool, taps."""
        return self.pixels * self.filters * self.depth

    @property
    def reach(self) -> Pair:
        """Rows and columns of the input, with padding, that the outputs need; what they leave over is not counted."""
        out, stride, kernel, dilation = self.out, self.stride, self.kernel, self.dilation
        rows, columns = (stride[axis] * (out[axis] - 1) + dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1))
        return rows, columns

    def least_bytes(self, block: int) -> int:
        """Bytes that cross the memory port if all do so once: input, weights, output, and a residual.

        Maps are stored in blocks of so many channels.
        """

        def stored(channels: int) -> int:
            return channels if channels < block else -(-channels // block) * block

        weights = 0 if self.kind == "pool" else self.filters * self.depth
        outputs = self.pixels * -(-self.filters // block) * block
        return stored(self.channels) * math.prod(self.size) + weights + outputs * (2 if self.residual else 1)

    def array_cycles(self, rows: int, cols: int) -> int:
        """Pixels that stream through an array of the chip's: a pass a tap, block of channels and block of filters.

        0 for what the tap unit computes. Grouped convolutions go group by group.
        """
        if self.kind in ("depthwise", "pool"):
            return 0
        taps, depth = math.prod(self.kernel), self.channels // self.groups
        passes = -(-taps * depth // rows) if self.first else taps * -(-depth // rows)
        return self.pixels * self.groups * passes * -(-(self.filters // self.groups) // cols)

    def sum_cycles(self, cols: int) -> int:
        """Pixels of the residual that it adds, if any: a pass a block of filters."""
        return self.pixels * -(-self.filters // cols) if self.residual else 0

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @classmethod
    def of(cls, facts: dict[str, Any]) -> LayerShape:
        """Of a file."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
        return cls(**values)


def shapes_of(graph: QGraph) -> tuple[list[LayerShape], list[Missing]]:
    """Layers of a network, in its order, and nodes that are no such layers."""
    shapes: list[LayerShape] = []
    missing: list[Missing] = []
    maker = {node.output: node.name for node in graph.nodes}
    for node in graph.nodes:
        if isinstance(node, QConv | QPool):
            shapes.append(_shape(node, graph, maker))
            if shapes[-1].residual:
                missing.append(Missing(node.name, "the sum in its accumulators: another tensor is read and added"))
        else:
            missing.append(Missing(node.name, f"{node.op}: {_WHY.get(node.op, 'no loop nest')}"))
    known = {shape.name for shape in shapes}
    return [shape if shape.reads in known else replace(shape, reads="") for shape in shapes], missing


_WHY = {
    "add": "a sum of its own", "concat": "takes no time on the chip", "move": "copies", "gate": "a product of maps",
    "host": "the host's",
}  # fmt: skip


def _shape(node: QConv | QPool, graph: QGraph, maker: dict[str, str]) -> LayerShape:
    channels, *size = graph.tensors[node.input].shape
    filters, *out = graph.tensors[node.output].shape
    common = {
        "name": node.name, "channels": channels, "filters": filters, "size": (size[0], size[1]),
        "out": (out[0], out[1]), "stride": node.stride, "padding": node.padding, "reads": maker.get(node.input, ""),
        "first": node.input == graph.input,
    }  # fmt: skip
    if isinstance(node, QPool):
        return LayerShape(
            kind="pool", operator=node.op, kernel=node.kernel, dilation=(1, 1), groups=channels, residual=False,
            **common,
        )  # fmt: skip
    kernel = (node.weight.shape[2], node.weight.shape[3])
    return LayerShape(
        kind=_kind(node, kernel), operator="fc" if node.op == "fc" else "conv", kernel=kernel, dilation=node.dilation,
        groups=node.groups, residual=node.residual is not None, **common,
    )  # fmt: skip


def _kind(node: QNode, kernel: Pair) -> str:
    if node.op in ("depthwise", "fc"):
        return node.op
    return "1x1" if kernel == (1, 1) else "conv"
