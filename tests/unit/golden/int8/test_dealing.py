"""Filters that change places: the same values, and no block with a list much longer than the others."""

import numpy as np

from golden.int8 import ops
from golden.int8.dealing import dealt_filters
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv
from tests.cases import Case, GraphBuilder, pruned, random_image
from tests.chips import TWO_CORES

LANES = 8


def network() -> Case:
    """Layers of 40, 36 and 10 filters behind a convolution; the second is read twice."""
    rng = np.random.default_rng(5)
    builder = GraphBuilder(rng, (6, 4, 4), 10**6)
    first = builder.conv(builder.conv("in", 12, (3, 3), padding=(1, 1, 1, 1)), 40, (4, 4))
    second = builder.conv(first, 36, (1, 1))
    third = builder.conv(second, 10, (1, 1))
    graph = builder.graph("net", builder.add(third, builder.conv(second, 10, (1, 1))))
    return pruned(Case(0, "fc", TWO_CORES, graph, random_image(rng, graph)), 0.4)


def weights_of(graph: QGraph, name: str) -> np.ndarray:
    node = next(node for node in graph.nodes if node.output == name)
    assert isinstance(node, QConv)
    return np.count_nonzero(node.weight.reshape(len(node.bias), -1), axis=1)


def test_values_are_the_same_in_another_order() -> None:
    case = network()
    dealt = dealt_filters(case.graph, LANES)
    before, after = (ops.run(graph, case.image) for graph in (case.graph, dealt))
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    between = [node.output for node in case.graph.nodes if node.inputs != ("in",)][:2]
    assert moved == between
    for name in between:
        order = np.argsort(weights_of(case.graph, name), kind="stable")
        again = np.argsort(weights_of(dealt, name), kind="stable")
        assert (np.sort(before[name], axis=0) == np.sort(after[name], axis=0)).all()
        assert (weights_of(case.graph, name)[order] == weights_of(dealt, name)[again]).all()


def test_heavy_filters_go_with_light_ones() -> None:
    case = network()
    name = [node.output for node in case.graph.nodes][1]
    weights = weights_of(dealt_filters(case.graph, LANES), name).reshape(-1, LANES // 2, 2)
    falling = np.sort(weights_of(case.graph, name))[::-1]
    assert sorted(map(tuple, weights.reshape(-1, 2))) == sorted(zip(falling[:20], falling[::-1][:20], strict=True))
    # Blocks 0, 4, 2, 1, 3 of the order in which pairs become lighter: all of a block are about as heavy.
    heaviest = weights[:, :, 0].max(axis=1)
    assert list(np.argsort(-heaviest, kind="stable")) == [0, 3, 2, 4, 1]
