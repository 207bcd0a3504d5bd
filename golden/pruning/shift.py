"""Densities of activations by shifts of biases: what comes out of a ReLU is zero as often as is asked for.

A picture goes through the float network. At each ReLU whose map a layer reads, all values before it move by the same
amount, which the biases of the layer before take up; the next layers see what comes out then. The amount is a quantile
of what the reading layer would get, behind the max pools between: these, too, take the largest value first.

In int8 a value of less than half a step is zero as well, and the step follows from the largest value, which moves with
the others. With a quantile q and a largest value m the shift t solves q - t = (m - t) / (2 * 255). It is rounded to
`SHIFT_BITS` bits of the range, so that it comes out the same on all machines, whose float sums differ in their last
bits.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from golden.errors import PruneError
from golden.net.evaluate import evaluate
from golden.net.float_ops import iterate_float
from golden.net.graph import Add, BatchNorm, Conv2d, Flatten, Graph, Linear, MaxPool, Node, Relu

__all__ = ["set_by_biases", "shift_biases"]

SHIFT_BITS = 12
HALF_STEPS = 2 * 255
"""Halves of an int8 step between zero and the largest value of a map that is never negative."""


def shift_biases(graph: Graph, weights: dict[str, np.ndarray], inputs: Mapping[str, float], image: np.ndarray) -> None:
    """Shift biases, in place, so that given parts of the inputs of layers are not zero.

    Parameters
    ----------
    inputs : dict of str to float
        By the name of the layer. Its input must come of a ReLU, through max pools and flattening alone; layers that
        read the same ReLU want the same.
    image : float32[C, H, W]

    Raises
    ------
    PruneError
        If no bias sets a layer's input.
    """
    producers = {node.name: node for node in graph.nodes}
    wanted: dict[str, tuple[str, list[Node], float]] = {}
    for layer, density in inputs.items():
        relu, views = _route(producers, layer)
        bias = None if relu is None else _bias(graph, producers, relu)
        if relu is None or bias is None:
            raise PruneError(f"layer {layer!r}: no bias before a ReLU sets its input; leave its density of inputs out")
        wanted[relu.input] = (bias, views, density)
    for name, value in iterate_float(graph, weights, image):
        if name in wanted:
            bias, views, density = wanted[name]
            shift = _shift(value, views, density)
            weights[bias] -= shift
            value -= shift  # the evaluation goes on with it


def set_by_biases(graph: Graph, layers: Iterable[str]) -> list[str]:
    """Those of some layers whose density of inputs a bias sets."""
    producers = {node.name: node for node in graph.nodes}
    relus = {layer: _route(producers, layer)[0] for layer in layers}
    return [layer for layer, relu in relus.items() if relu and _bias(graph, producers, relu) is not None]


def _route(producers: Mapping[str, Node], layer: str) -> tuple[Relu | None, list[Node]]:
    """The ReLU that a layer's input comes of, and what lies between, in order."""
    views: list[Node] = []
    node = producers.get(producers[layer].inputs[0])
    while isinstance(node, MaxPool | Flatten):
        views.insert(0, node)
        node = producers.get(node.input)
    return (node if isinstance(node, Relu) else None), views


def _bias(graph: Graph, producers: Mapping[str, Node], reader: Node) -> str | None:
    """Name of a bias that adds to all that a node reads, and to nothing else."""
    for name in reader.inputs:
        node = producers.get(name)
        if graph.consumers(name) != (reader,):
            continue
        match node:
            case Conv2d(bias=True) | Linear(bias=True) | BatchNorm():
                return list(graph.node_tensors(node))[1]
            case Add():
                return _bias(graph, producers, node)
    return None


def _shift(value: np.ndarray, views: list[Node], density: float) -> np.float32:
    """What to subtract before the ReLU."""
    seen = value
    for node in views:
        seen = evaluate(node, [seen], [])
    largest = float(value.max())
    quantile = float(np.quantile(seen, 1 - density))
    exact = (HALF_STEPS * quantile - largest) / (HALF_STEPS - 1)
    span = largest - float(value.min())
    if span == 0:
        return np.float32(exact)
    unit = math.ldexp(1.0, math.frexp(span)[1] - SHIFT_BITS)
    return np.float32(unit * round(exact / unit))
