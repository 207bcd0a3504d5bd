"""Plan of a quantisation: which float values become tensors, and which node computes each."""

import math
from collections.abc import Set
from dataclasses import dataclass

from golden.errors import QuantError
from golden.net.activations import Activation
from golden.net.graph import (
    Add,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Host,
    Linear,
    MaxPool,
    Move,
    Node,
    Relu,
)

__all__ = ["Elementwise", "FusedGraph", "FusedLayer", "fuse"]

Elementwise = Relu | Clip | Activation


@dataclass(frozen=True)
class FusedLayer:
    """One quantised node to be: a float node, the tensors it reads and writes, and its clamp in real numbers.

    `norms` are batch normalisations that fold into the node's weights, in order. `functions` are what the activation
    table computes behind the clamp, in order: of the float value `before`, which has levels of its own.
    """

    node: Node
    inputs: tuple[str, ...]
    output: str
    lo: float
    hi: float
    norms: tuple[BatchNorm, ...] = ()
    functions: tuple["Elementwise", ...] = ()
    before: str = ""
    add: Add | None = None
    """The addition fused into a convolution; its other operand is ``inputs[1]``."""


@dataclass(frozen=True)
class FusedGraph:
    """Quantised nodes to be, in topological order, and the tensors between them."""

    steps: list[FusedLayer]
    shapes: dict[str, tuple[int, int, int]]  # of every tensor that survives
    view_of: dict[str, str]  # float value -> the tensor that holds it
    hidden: dict[str, tuple[int, int, int]]  # values between a clamp and the table behind it


def fuse(graph: Graph, apart: Set[str] = frozenset()) -> FusedGraph:
    """Decide which values become tensors and which node produces each.

    Additions whose names are in `apart` stay nodes of their own.
    """
    plan = FusedGraph([], {graph.input: graph.input_shape}, {graph.input: graph.input}, {})
    adders = _adders(graph, apart)
    # A fused convolution stands where its addition does, so that the other operand is there.
    done = {item.name for conv in adders.values() for item in (conv, *_norms_after(graph, conv))}
    for node in graph.nodes:
        if node.name in done:
            continue
        add = node if isinstance(node, Add) and node.name in adders else None
        if add is not None:
            node = adders[add.name]
        norms = _norms_after(graph, node)
        value = norms[-1] if norms else node
        operands = node.inputs
        if add is not None:
            operands += tuple(name for name in add.inputs if name != value.name)
        inputs = tuple(plan.view_of[name] for name in operands)
        if isinstance(node, BatchNorm):
            raise QuantError(
                f"batch normalisation {node.name!r} cannot be folded: {node.input!r} must be a Conv2d or Linear that "
                "nothing else reads"
            )
        if isinstance(node, Flatten):
            plan.view_of[node.name] = inputs[0]
            continue
        shape = graph.shapes[node.name]
        if isinstance(node, Elementwise):
            shape = plan.shapes[inputs[0]]  # element-wise, so it may work on the map before flattening
        elif not isinstance(node, Linear | Host):
            for name, tensor in zip(operands, inputs, strict=True):
                if graph.shapes[name] != plan.shapes[tensor]:
                    raise QuantError(
                        f"node {node.name!r} reads the flattened map {name!r}; only Linear and element-wise ones can"
                    )
        last = add or value
        chain = _elementwise_after(graph, last)
        output = (last, *chain)[-1].name
        clamps, functions = _split(([node] if isinstance(node, Elementwise) else []) + chain)
        before = output
        if functions and isinstance(node, Elementwise):  # the table takes it all, from the levels that are there
            clamps, functions, before = [], [*clamps, *functions], inputs[0]
        elif functions:
            before = (last, *clamps)[-1].name
            plan.hidden[before] = shape
        lo, hi = _clamp(clamps)
        plan.steps.append(FusedLayer(node, inputs, output, lo, hi, norms, tuple(functions), before, add))
        plan.shapes[output] = shape
        plan.view_of[output] = output
        done.update(fused.name for fused in (*norms, *chain))
    return plan


def _adders(graph: Graph, apart: Set[str]) -> dict[str, Conv2d]:
    """Convolutions whose only reader is an addition, by its name; of two, the one that comes later."""
    adders: dict[str, Conv2d] = {}
    for conv in graph.nodes:
        if not isinstance(conv, Conv2d) or conv.groups == graph.shapes[conv.input][0] > 1:  # depthwise: no array
            continue
        value = (conv, *_norms_after(graph, conv))[-1].name
        readers = graph.consumers(value)
        if value in graph.outputs or len(readers) != 1 or not isinstance(add := readers[0], Add):
            continue
        if add.name not in apart and add.inputs[0] != add.inputs[1]:
            adders[add.name] = conv
    return adders


def _norms_after(graph: Graph, node: Node) -> tuple[BatchNorm, ...]:
    """Chain of batch normalisations that fold into the node's weights."""
    norms: list[BatchNorm] = []
    while isinstance(node, Conv2d | Linear | BatchNorm) and node.name not in graph.outputs:
        readers = graph.consumers(node.name)
        if len(readers) != 1 or not isinstance(node := readers[0], BatchNorm):
            break
        norms.append(node)
    return tuple(norms)


def _elementwise_after(graph: Graph, node: Node) -> list[Elementwise]:
    """Chain of element-wise nodes that can be computed by the node itself."""
    chain: list[Elementwise] = []
    if isinstance(node, MaxPool | Concat | Move | Host):  # these have no requantisation
        return chain
    value = node.name
    while value not in graph.outputs:
        readers = graph.consumers(value)
        if len(readers) != 1 or not isinstance(readers[0], Elementwise):
            break
        chain.append(readers[0])
        value = readers[0].name
    return chain


def _split(chain: list[Elementwise]) -> tuple[list[Relu | Clip], list[Elementwise]]:
    """The clamps at the start, and what comes from the first other function on."""
    clamps: list[Relu | Clip] = []
    for index, node in enumerate(chain):
        if isinstance(node, Activation):
            return clamps, chain[index:]
        clamps.append(node)
    return clamps, []


def _clamp(chain: list[Relu | Clip]) -> tuple[float, float]:
    """The one clamp that a chain of them amounts to."""
    lo, hi = -math.inf, math.inf
    for node in chain:
        floor, ceiling = (0.0, math.inf) if isinstance(node, Relu) else (node.lo, node.hi)
        lo, hi = min(max(lo, floor), ceiling), min(max(hi, floor), ceiling)
    return lo, hi
