"""Element-wise functions: what they compute, and how the quantiser makes tables of them."""

import math

import numpy as np
import pytest

from golden.int8 import ops
from golden.int8.qgraph import QGraph
from golden.int8.quant import quantize
from golden.net.activations import Activation, Elu, Gelu, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Silu, Tanh
from golden.net.graph import (
    Add,
    AvgPool,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Graph,
    Linear,
    MaxPool,
    Node,
    Relu,
)
from golden.net.weights import seeded

SAME = (1, 1, 1, 1)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def ramp(x: float) -> float:
    return min(max(x / 6 + 0.5, 0), 1)


FUNCTIONS = {
    Sigmoid("f", "x"): logistic,
    Silu("f", "x"): lambda x: x * logistic(x),
    Tanh("f", "x"): math.tanh,
    HardSigmoid("f", "x"): ramp,
    HardSigmoid("f", "x", 0.2, 0.4): lambda x: min(max(0.2 * x + 0.4, 0), 1),
    HardSwish("f", "x"): lambda x: x * ramp(x),
    Gelu("f", "x"): lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    Gelu("f", "x", tanh=True): lambda x: x * logistic(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    LeakyRelu("f", "x", 0.1): lambda x: x if x > 0 else 0.1 * x,
    Elu("f", "x", 1.5): lambda x: x if x > 0 else 1.5 * (math.exp(x) - 1),
}


def network(*nodes: Node, outputs: tuple[str, ...] = ()) -> Graph:
    return Graph("net", "x", (4, 9, 9), nodes, outputs)


def quantised(graph: Graph) -> tuple[QGraph, dict[str, np.ndarray], np.ndarray]:
    image = 3 * np.random.default_rng(1).normal(size=graph.input_shape).astype(np.float32)
    weights = seeded(graph, 1)
    return quantize(graph, weights, image), weights, image


def tabled(qgraph: QGraph) -> list[str]:
    """Names of the nodes that have a table."""
    requants = {node.name: getattr(node, "requant", None) for node in qgraph.nodes}
    return [name for name, requant in requants.items() if requant is not None and requant.table is not None]


@pytest.mark.parametrize("node", FUNCTIONS, ids=lambda node: type(node).__name__)
def test_functions_are_what_they_are_called(node: Activation) -> None:
    values = np.linspace(-30, 30, 601)
    expected = [FUNCTIONS[node](x) for x in values.tolist()]
    np.testing.assert_allclose(node.apply(values), expected, rtol=1e-9, atol=1e-9)
    single = node.apply(values.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("node", FUNCTIONS, ids=lambda node: type(node).__name__)
def test_a_table_is_the_function_of_every_level(node: Activation) -> None:
    """Alone behind the input, its requantisation is the identity: every pixel is exactly the rounded function."""
    graph = network(node)
    qgraph, _, image = quantised(graph)
    raw = qgraph.tensors["x"].quantize(image)
    before, after = qgraph.tensors["x"], qgraph.tensors["f"]
    real = [FUNCTIONS[node](before.scale * (int(value) - before.zero_point)) for value in raw.reshape(-1)]
    expected = after.quantize(np.array(real).reshape(raw.shape))
    np.testing.assert_array_equal(ops.run(qgraph, raw)["f"], expected)
    assert len(np.unique(expected)) > 40


def test_tables_fuse_into_the_node_before_wherever_that_has_a_requantisation() -> None:
    qgraph, weights, image = quantised(
        graph := network(
            Conv2d("c1", "x", 8, (3, 3), padding=SAME),
            HardSwish("h1", "c1"),
            Conv2d("c2", "h1", 8, (3, 3), padding=SAME, groups=8),
            Silu("s1", "c2"),
            Add("a", "s1", "h1"),
            Clip("k", "a", -2.0, 2.0),
            Tanh("t", "k"),
            Relu("r", "t"),
            AvgPool("p", "r", (2, 2), (1, 1)),
            Gelu("g", "p"),
            GlobalAvgPool("ga", "g"),
            Flatten("f", "ga"),
            Linear("fc", "f", 10),
            Sigmoid("out", "fc"),
        )
    )
    assert [node.name for node in qgraph.nodes] == ["c1", "c2", "a", "p", "ga", "fc"]
    assert tabled(qgraph) == ["c1", "c2", "a", "p", "fc"]
    real = ops.run_float(graph, weights, image)
    tensors = ops.run(qgraph, qgraph.tensors["x"].quantize(image))
    for name, tensor in qgraph.tensors.items():
        error = tensor.dequantize(tensors[name]) - real[name].reshape(tensor.shape)
        assert np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(real[name] ** 2)), name


def test_tables_stand_alone_where_nothing_before_can_take_them() -> None:
    """Behind copies, and of values that others read too."""
    qgraph, weights, image = quantised(
        graph := network(
            Conv2d("c1", "x", 6, (3, 3), padding=SAME),
            Sigmoid("s", "c1"),
            Concat("cat", ("c1", "s")),
            Tanh("t", "cat"),
            MaxPool("m", "t", (2, 2), (2, 2)),
            Relu("r", "m"),
            HardSwish("h", "r"),
            outputs=("h", "t"),
        )
    )
    assert tabled(qgraph) == ["s", "t", "r"]
    assert {node.output for node in qgraph.nodes} == {"c1", "s", "cat", "t", "m", "h"}
    real = ops.run_float(graph, weights, image)
    tensors = ops.run(qgraph, qgraph.tensors["x"].quantize(image))
    for name, tensor in qgraph.tensors.items():
        error = tensor.dequantize(tensors[name]) - real[name]
        # What is concatenated shares a scale that may be coarse for it.
        assert np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(real[name] ** 2)) + tensor.scale / 2, name
