"""Batches as graphs: a copy of the network for each picture, under names of its own."""

import numpy as np
import pytest

from golden.errors import QuantError
from golden.int8 import ops
from golden.int8.batch import batched, expected_of, for_people, plain, spoken
from golden.int8.qgraph import QGraph
from rtl.contract.params import default_chip
from tests.cases import random_image
from tests.networks import random_network

CHIP = default_chip(1)


@pytest.mark.parametrize("seed", range(6))
def test_every_node_computes_for_its_picture_what_the_network_does(seed: int) -> None:
    graph, rng = random_network(seed, CHIP).graph, np.random.default_rng(seed)
    pictures = [random_image(rng, graph) for _ in range(3)]
    expected = expected_of(ops.run(graph, picture) for picture in pictures)
    whole = batched(graph, 3)
    assert len(whole.nodes) == 3 * len(graph.nodes)
    assert whole.macs == 3 * graph.macs
    assert set(whole.tensors) == set(expected)
    assert [plain(name) for name in whole.outputs] == 3 * list(graph.outputs)
    for name, picture in zip(whole.inputs, pictures, strict=True):
        np.testing.assert_array_equal(expected[name], picture)
    for node in whole.nodes:
        np.testing.assert_array_equal(ops.run_node(node, expected), expected[node.output])


def test_a_single_picture_keeps_its_names() -> None:
    graph = random_network(0, CHIP).graph
    assert batched(graph, 1) is graph
    assert set(expected_of([{"a": np.zeros(1)}])) == {"a"}


def test_an_input_that_is_no_tensor_is_refused() -> None:
    graph = random_network(0, CHIP).graph
    with pytest.raises(QuantError, match=r"input 'in@2' of .* is not among its tensors; add it"):
        QGraph(graph.name, graph.input, graph.outputs, graph.tensors, graph.nodes, ("in@2",))


def test_names_are_short_for_people() -> None:
    nodes = [f"{name}@{picture}" for picture in (1, 2, 3, 5) for name in ("conv1", "pool1")]
    assert for_people(nodes) == "conv1@1..3,5+pool1@1..3,5"
    assert for_people(["conv1", "pool1"]) == "conv1+pool1"
    assert for_people(["fc@2"]) == "fc@2"
    assert (spoken("conv1@12"), spoken("conv1"), spoken("a@b")) == ("conv1 of picture 12", "conv1", "a@b")
    assert (plain("conv1@12"), plain("conv1"), plain("a@b")) == ("conv1", "conv1", "a@b")
