"""The float graph: shapes, counts and the errors of contradictory graphs."""

import math

import pytest

from golden.errors import GoldenError
from golden.net.graph import (
    Add,
    AvgPool,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Graph,
    GraphError,
    Linear,
    MaxPool,
    Relu,
)


def net(*nodes, shape=(8, 10, 12), outputs=()):
    return Graph("net", "x", shape, nodes, outputs)


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        (Conv2d("n", "x", 16, (3, 3)), (16, 8, 10)),
        (Conv2d("n", "x", 16, (3, 3), (2, 2), (1, 1, 1, 1)), (16, 5, 6)),
        (Conv2d("n", "x", 4, (3, 3), (1, 2), (2, 0, 1, 1), (2, 3), 4), (4, 9, 4)),
        (MaxPool("n", "x", (3, 3), (2, 2), (1, 1, 1, 1)), (8, 5, 6)),
        (AvgPool("n", "x", (2, 3), (2, 3)), (8, 5, 4)),
        (GlobalAvgPool("n", "x"), (8, 1, 1)),
        (Add("n", "x", "x"), (8, 10, 12)),
        (Concat("n", ("x", "x", "x")), (24, 10, 12)),
        (Relu("n", "x"), (8, 10, 12)),
        (Clip("n", "x", 0.0, 6.0), (8, 10, 12)),
        (Flatten("n", "x"), (960, 1, 1)),
    ],
)
def test_shapes_are_inferred(node, shape):
    assert net(node).shapes["n"] == shape


def test_macs_and_parameters_are_counted():
    graph = net(Conv2d("c", "x", 4, (3, 5), groups=2), Flatten("f", "c"), Linear("l", "f", 10, bias=False))
    assert graph.node_macs(graph.nodes[0]) == 4 * 8 * 8 * (4 * 15)
    assert graph.node_params(graph.nodes[0]) == 4 * 4 * 15 + 4
    assert graph.node_macs(graph.nodes[2]) == graph.node_params(graph.nodes[2]) == 256 * 10
    assert graph.params == 244 + 2560
    assert graph.macs == 15360 + 2560
    assert graph.parameters == {"c.weight": (4, 4, 3, 5), "c.bias": (4,), "l.weight": (10, 256)}


def test_the_last_node_is_the_default_output():
    assert net(Relu("a", "x"), Relu("b", "a")).outputs == ("b",)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Relu("a", "y")], "node 'a': input 'y' is unknown; known so far: x"),
        ([Relu("a", "b"), Relu("b", "x")], "node 'a': input 'b' is produced later; list nodes in topological"),
        ([Relu("a", "x"), Relu("a", "x")], "node 'a': its name is already taken"),
        ([Relu("x", "x")], "node 'x': its name is already taken"),
        ([Relu("a", "x"), Relu("b", "x")], "value 'a' of graph 'net' is never read"),
        ([Linear("a", "x", 3)], r"node 'a': input 'x' has shape \(8, 10, 12\); put a Flatten"),
        ([Linear("a", "x", 0)], "node 'a': out_features is 0"),
        ([Conv2d("a", "x", 4, (3, 3), groups=3)], "groups is 3 with 8 input and 4 output"),
        ([Conv2d("a", "x", 4, (11, 3))], r"kernel \(11, 3\) .* exceeds the padded input"),
        ([Conv2d("a", "x", 4, (3, 3), stride=(0, 1))], r"stride is \(0, 1\)"),
        ([Conv2d("a", "x", 4, (3, 3), padding=(0, -1, 0, 0))], "padding is"),
        ([MaxPool("a", "x", (2, 2), (2, 2), (2, 0, 0, 0))], "leaves windows of padding alone"),
        ([MaxPool("a", "x", (11, 2), (2, 2))], r"kernel \(11, 2\) exceeds"),
        ([GlobalAvgPool("a", "x"), Add("b", "x", "a")], r"'x' has shape \(8, 10, 12\) but 'a' has \(8, 1, 1\)"),
        ([GlobalAvgPool("a", "x"), Concat("b", ("x", "a"))], "height and width must agree"),
        ([Concat("a", ())], "it has no inputs"),
        ([Clip("a", "x", 1.0, 0.0)], r"bounds are \(1.0, 0.0\)"),
        ([Clip("a", "x", math.nan, 0.0)], "bounds are"),
        ([Conv2d("a", "x", 8, (1, 1), param="p"), Conv2d("b", "a", 8, (1, 1), param="p")], "'p.weight' already"),
        ([], "has no nodes"),
    ],
)
def test_a_contradictory_graph_is_refused_by_name(nodes, message):
    with pytest.raises(GraphError, match=message):
        net(*nodes)


def test_an_unknown_output_is_refused():
    with pytest.raises(GoldenError, match="output 'z' of graph 'net' is unknown; known: x, a"):
        net(Relu("a", "x"), outputs=("z",))


def test_a_senseless_input_shape_is_refused():
    with pytest.raises(GraphError, match=r"input shape of 'net' is \(8, 0, 12\)"):
        net(Relu("a", "x"), shape=(8, 0, 12))
