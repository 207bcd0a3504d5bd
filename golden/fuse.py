"""Plan of a quantisation: which float values become tensors, and which node computes each."""

import math
from dataclasses import dataclass

from golden.activations import Activation
from golden.errors import QuantError
from golden.graph import BatchNorm, Clip, Concat, Conv2d, Flatten, Graph, Host, Linear, MaxPool, Node, Relu

__all__ = ["Elementwise", "Plan", "Step", "fuse"]

Elementwise = Relu | Clip | Activation


@dataclass(frozen=True)
class Step:
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


@dataclass(frozen=True)
class Plan:
    """Quantised nodes to be, in topological order, and the tensors between them."""

    steps: list[Step]
    shapes: dict[str, tuple[int, int, int]]  # of every tensor that survives
    view_of: dict[str, str]  # float value -> the tensor that holds it
    hidden: dict[str, tuple[int, int, int]]  # values between a clamp and the table behind it


def fuse(graph: Graph) -> Plan:
    """Decide which values become tensors and which node produces each."""
    plan = Plan([], {graph.input: graph.input_shape}, {graph.input: graph.input}, {})
    done: set[str] = set()
    for node in graph.nodes:
        if node.name in done:
            continue
        inputs = tuple(plan.view_of[name] for name in node.inputs)
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
            for name, tensor in zip(node.inputs, inputs, strict=True):
                if graph.shapes[name] != plan.shapes[tensor]:
                    raise QuantError(
                        f"node {node.name!r} reads the flattened map {name!r}; only Linear and element-wise ones can"
                    )
        norms = _norms_after(graph, node)
        chain = _elementwise_after(graph, norms[-1] if norms else node)
        output = (node, *norms, *chain)[-1].name
        clamps, functions = _split(([node] if isinstance(node, Elementwise) else []) + chain)
        before = output
        if functions and isinstance(node, Elementwise):  # the table takes it all, from the levels that are there
            clamps, functions, before = [], [*clamps, *functions], inputs[0]
        elif functions:
            before = (node, *norms, *clamps)[-1].name
            plan.hidden[before] = shape
        lo, hi = _clamp(clamps)
        plan.steps.append(Step(node, inputs, output, lo, hi, norms, tuple(functions), before))
        plan.shapes[output] = shape
        plan.view_of[output] = output
        done.update(fused.name for fused in (*norms, *chain))
    return plan


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
    if isinstance(node, MaxPool | Concat | Host):  # these have no requantisation
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
