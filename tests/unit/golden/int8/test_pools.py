"""Maximum pools in front of concatenations: the same bits, and only where nothing else reads the concatenation."""

import numpy as np
import pytest

from golden.int8 import ops
from golden.int8.pools import pools_before_concats
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConcat, QPool
from tests.cases import POOLS, GraphBuilder, random_image


def three_branches(seed: int) -> GraphBuilder:
    """conv0, conv1 and conv2 beside each other, conv2 with another reader."""
    builder = GraphBuilder(np.random.default_rng(seed), (3, 9, 8), 10_000)
    for filters in (5, 8, 3):
        builder.conv("in", filters, (3, 3), padding=(1, 1, 1, 1))
    builder.conv("conv2", 2, (1, 1))
    return builder


def pools(graph: QGraph) -> list[QPool]:
    return [node for node in graph.nodes if isinstance(node, QPool)]


def check_same_bits(before: QGraph, after: QGraph) -> None:
    image = random_image(np.random.default_rng(1), before)
    expected, got = ops.run(before, image), ops.run(after, image)
    assert after.outputs == before.outputs
    common = expected.keys() & got.keys()
    assert common >= set(before.outputs)
    for name in common:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS, ids=str)
def test_a_pool_moves_to_every_part_of_its_concatenation(kernel, stride, padding) -> None:
    builder = three_branches(3)
    joined = builder.concat("conv0", "conv1", "conv2", "conv0")
    target = builder.pool("maxpool", joined, kernel, stride, padding)
    before = builder.graph("branches", builder.conv(target, 4, (1, 1)), "conv3")
    after = pools_before_concats(before)
    check_same_bits(before, after)
    assert joined not in after.tensors
    assert {pool.input for pool in pools(after)} == {"conv0", "conv1", "conv2"}
    (concat,) = (node for node in after.nodes if isinstance(node, QConcat))
    assert concat.output == target
    assert [pool.name for pool in pools(after)] == [f"{target}.{i}" for i in range(3)]


def test_a_concatenation_of_concatenations_is_gone_through() -> None:
    builder = three_branches(4)
    joined = builder.concat(builder.concat("conv0", "conv1"), "conv2")
    before = builder.graph("nested", builder.pool("maxpool", joined, (3, 3), (2, 2)))
    after = pools_before_concats(before)
    check_same_bits(before, after)
    assert {pool.input for pool in pools(after)} == {"conv0", "conv1", "conv2"}


def test_other_pools_stay() -> None:
    """Another reader, an output, an average, no concatenation."""
    builder = three_branches(5)
    parts = [builder.concat("conv0", "conv1") for _ in range(3)]
    read_twice = [builder.pool("maxpool", parts[0], (2, 2), (2, 2)), builder.conv(parts[0], 2, (1, 1))]
    others = [
        builder.pool("maxpool", parts[1], (2, 2), (2, 2)),
        builder.pool("avgpool", parts[2], (2, 2), (2, 2)),
        builder.pool("maxpool", "conv2", (2, 2), (2, 2)),
    ]
    graph = builder.graph("others", *read_twice, *others, parts[1], "conv3")
    assert pools_before_concats(graph) is graph
