"""The quantised graph: int8 tensors and integer nodes in topological order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from golden.errors import QuantError
from golden.int8.fallback import Feeds
from golden.int8.qnodes import (
    QAdd,
    QConcat,
    QConv,
    QGate,
    QHost,
    QMove,
    QNode,
    QPool,
    require,
    require_channels,
)
from golden.int8.requant import INT8, dequantize, quantize
from golden.net.pieces import fault_of
from golden.net.window import out_hw

__all__ = ["QGraph", "QTensor", "fed"]


@dataclass(frozen=True)
class QTensor:
    """An activation int8[C, H, W]; ``real = scale * (raw - zero_point)``."""

    name: str
    shape: tuple[int, int, int]
    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise QuantError(f"tensor {self.name!r}: scale is {self.scale}; it must be positive and finite")
        if not INT8[0] <= self.zero_point <= INT8[1]:
            raise QuantError(f"tensor {self.name!r}: zero point is {self.zero_point}; it must be an int8")

    def quantize(self, real: np.ndarray) -> np.ndarray:
        """Nearest int8 (half to even, saturating) of float[C, H, W]."""
        return quantize(real, self.scale, self.zero_point)

    def dequantize(self, raw: np.ndarray) -> np.ndarray:
        """float32 values that int8[C, H, W] stands for."""
        return dequantize(raw, self.scale, self.zero_point)


@dataclass(frozen=True, eq=False)
class QGraph:
    """A quantised network; `nodes` are in topological order and every tensor but the inputs has one producer.

    Of a batch (`golden.int8.batch`), `others` are the inputs of its further pictures.

    Raises
    ------
    QuantError
        If names, order or shapes contradict each other.
    """

    name: str
    input: str
    outputs: tuple[str, ...]
    tensors: dict[str, QTensor]
    nodes: tuple[QNode, ...]
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.inputs:
            if name not in self.tensors:
                raise QuantError(f"input {name!r} of {self.name!r} is not among its tensors; add it")
        ready = set(self.inputs)
        nodes: list[QNode] = []
        for node in self.nodes:
            for name in node.inputs:
                require(node, name in ready, f"input {name!r} is not computed yet", "order nodes topologically")
            require(node, node.output in self.tensors, f"output {node.output!r} is no tensor", "add it")
            require(node, node.output not in ready, f"output {node.output!r} exists already", "rename it")
            shape = self._infer(node)
            given = self.tensors[node.output].shape
            require(node, shape == given, f"it produces {shape}", f"but {node.output!r} has shape {given}")
            ready.add(node.output)
            nodes.append(replace(node, out_hw=shape[1:]) if isinstance(node, QConv) else node)
        for name in self.outputs:
            if name not in ready:
                raise QuantError(f"output {name!r} of {self.name!r} is not computed; name a tensor a node produces")
        object.__setattr__(self, "nodes", tuple(nodes))

    @property
    def inputs(self) -> tuple[str, ...]:
        """One for each picture."""
        return (self.input, *self.others)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per image."""
        return sum(node.macs for node in self.nodes)

    def _infer(self, node: QNode) -> tuple[int, int, int]:
        shapes = [self.tensors[name].shape for name in node.inputs]
        if isinstance(node, QConcat):
            require(node, len({shape[1:] for shape in shapes}) == 1, f"inputs have shapes {shapes}", "sizes must agree")
            return (sum(shape[0] for shape in shapes), *shapes[0][1:])
        if isinstance(node, QHost):
            for name, shape, port in zip(node.inputs, shapes, node.part.inputs, strict=True):
                fits = math.prod(shape) == math.prod(port.shape)
                require(node, fits, f"input {name!r} has shape {shape}", f"the host takes {port.shape}")
            return node.part.output.chw
        if isinstance(node, QMove):
            fault = fault_of(node.pieces, node.view, node.shape, shapes)
            require(node, fault is None, f"{fault}", "give pieces that do")
            return node.shape
        channels, *size = shapes[0]
        if isinstance(node, QGate):
            require(node, shapes[1] == (channels, 1, 1), f"its gate has shape {shapes[1]}", f"give ({channels}, 1, 1)")
            require_channels(node, node.requant, channels)
            return shapes[0]
        if isinstance(node, QAdd):
            require(node, len(set(shapes)) == 1, f"inputs have shapes {shapes}", "they must agree")
            fits = isinstance(node.bias, int) or node.bias.shape == (channels,)
            require(node, fits, f"bias is {np.shape(node.bias)}", f"give one for each of {channels} channels")
            require_channels(node, node.requant, channels)
            return shapes[0]
        if isinstance(node, QPool):
            if node.requant is not None:
                require_channels(node, node.requant, channels)
            return (channels, *out_hw((size[0], size[1]), node.kernel, node.stride, node.padding))
        filters, depth, *kernel = node.weight.shape
        require(
            node,
            channels == depth * node.groups,
            f"its weight takes {depth} x {node.groups} channels",
            f"but {node.input!r} has {channels}",
        )
        shape = (
            filters,
            *out_hw((size[0], size[1]), (kernel[0], kernel[1]), node.stride, node.padding, node.dilation),
        )
        require(
            node,
            node.residual is None or shapes[1] == shape,
            f"its residual has shape {shapes[-1]}",
            f"its output has {shape}",
        )
        return shape


def fed(graph: QGraph, feeds: Sequence[Feeds]) -> QGraph:
    """The network whose host has the inputs of the model for every picture."""
    nodes = tuple(
        replace(node, feeds=tuple({name: feed[name] for name in node.part.given} for feed in feeds))
        if isinstance(node, QHost)
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)
