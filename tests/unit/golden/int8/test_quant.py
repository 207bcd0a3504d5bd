"""The quantiser: fusion, shared scales, accuracy and its refusals."""

import math

import numpy as np
import pytest

from golden import zoo
from golden.errors import ImageError, QuantError, WeightError
from golden.int8 import ops
from golden.int8.qnodes import QAdd, QConcat, QConv, QPool
from golden.int8.quant import quantize
from golden.net.evaluate import norm_affine
from golden.net.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Graph,
    Linear,
    MaxPool,
    Relu,
)
from golden.net.inputs import load_image
from golden.net.weights import seeded
from golden.net.window import correlate

SAME = (1, 1, 1, 1)


def network(*nodes, shape=(3, 12, 10), outputs=()):
    return Graph("net", "x", shape, nodes, outputs)


def picture(graph, seed=0):
    return np.random.default_rng(seed).normal(size=graph.input_shape).astype(np.float32)


def quantised(graph, seed=1):
    weights, image = seeded(graph, seed), picture(graph, seed)
    return quantize(graph, weights, image), weights, image


def errors(graph, weights, image, qgraph):
    """Relative error of every tensor against the float value of its name."""
    real = ops.run_float(graph, weights, image)
    raw = ops.run(qgraph, qgraph.tensors[qgraph.input].quantize(image))
    return {
        name: float(np.linalg.norm(tensor.dequantize(raw[name]).ravel() - real[name].ravel()))
        / max(float(np.linalg.norm(real[name])), 1e-30)
        for name, tensor in qgraph.tensors.items()
    }


def branches():
    """Every operator once, with a residual, a concat and a pool between them."""
    return network(
        Conv2d("c1", "x", 8, (3, 3), padding=SAME),
        Relu("r1", "c1"),
        MaxPool("m1", "r1", (3, 3), (2, 2), SAME),
        Conv2d("c2", "m1", 8, (3, 3), padding=SAME, groups=8),
        Clip("r2", "c2", 0.0, 6.0),
        Conv2d("c3", "r2", 8, (1, 1), bias=False),
        Add("a", "c3", "m1"),
        Relu("r3", "a"),
        AvgPool("p", "r3", (3, 3), (1, 1), SAME),
        Concat("cat", ("r3", "p")),
        GlobalAvgPool("g", "cat"),
        Linear("fc", "g", 10),
    )


def test_lenet5_keeps_its_accuracy():
    graph = zoo.load("lenet5")
    weights, image = seeded(graph, 1), load_image(None, graph.input_shape)
    found = errors(graph, weights, image, quantize(graph, weights, image))
    assert max(found.values()) < 0.05, found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_operator_keeps_its_accuracy(seed):
    graph = branches()
    qgraph, weights, image = quantised(graph, seed)
    found = errors(graph, weights, image, qgraph)
    assert max(found.values()) < 0.06, found


def test_a_deep_network_neither_dies_nor_saturates():
    nodes: list = []
    value = "x"
    for block, channels in enumerate((16, 32, 64, 64, 64)):
        for index in range(3):
            nodes.append(Conv2d(f"c{block}{index}", value, channels, (3, 3), padding=SAME))
            nodes.append(Relu(value := f"r{block}{index}", f"c{block}{index}"))
        nodes.append(MaxPool(f"p{block}", value, (2, 2), (2, 2)))
        value = f"p{block}"
    graph = network(*nodes, Flatten("f", value), Linear("fc", "f", 10), shape=(3, 64, 64))
    weights, image = seeded(graph, 1), load_image(None, graph.input_shape)
    qgraph = quantize(graph, weights, image)
    tensors = ops.run(qgraph, qgraph.tensors["x"].quantize(image))
    for name, raw in tensors.items():
        assert len(np.unique(raw)) > 60 or raw.size < 1000, name
        assert np.mean(raw == 127) < 0.02 or raw.size < 1000, name
    assert errors(graph, weights, image, qgraph)["fc"] < 0.15


def test_clamps_fuse_and_flatten_disappears():
    qgraph, _, _ = quantised(
        network(
            Conv2d("c", "x", 4, (3, 3)),
            Relu("r", "c"),
            Clip("k", "r", -1.0, 0.5),
            Flatten("f", "k"),
            Linear("l", "f", 5),
            Relu("out", "l"),
        )
    )
    conv, fc = qgraph.nodes
    assert isinstance(conv, QConv)
    assert isinstance(fc, QConv)
    assert (conv.name, conv.op, conv.output) == ("c", "conv", "k")
    assert (fc.name, fc.op, fc.output) == ("l", "fc", "out")
    assert fc.weight.shape == (5, 4, 10, 8)
    assert fc.macs == 5 * 4 * 10 * 8
    assert qgraph.tensors["out"].shape == (5, 1, 1)
    tensor = qgraph.tensors["k"]
    assert conv.requant.lo == tensor.zero_point == -128  # max(x, 0)
    assert conv.requant.hi == min(127, round(0.5 / tensor.scale) - 128)


def test_successive_clips_amount_to_one():
    graph = network(Conv2d("c", "x", 4, (3, 3)), Clip("a", "c", 0.0, 1.0), Clip("out", "a", 2.0, 3.0))
    qgraph, _, image = quantised(graph)
    tensor = qgraph.tensors["out"]
    raw = ops.run(qgraph, qgraph.tensors["x"].quantize(image))["out"]
    np.testing.assert_allclose(tensor.dequantize(raw), 2.0, atol=tensor.scale)


def test_a_relu_that_cannot_fuse_becomes_a_1x1_average():
    graph = network(Conv2d("c", "x", 4, (3, 3), padding=SAME), Relu("r", "c"), Concat("out", ("r", "c")))
    qgraph, weights, image = quantised(graph)
    assert [type(node) for node in qgraph.nodes] == [QConv, QPool, QConcat]
    relu = qgraph.nodes[1]
    assert isinstance(relu, QPool)
    assert (relu.op, relu.kernel, relu.output) == ("avgpool", (1, 1), "r")
    assert max(errors(graph, weights, image, qgraph).values()) < 0.03


def test_an_output_before_its_relu_stays_unclamped():
    graph = network(Conv2d("c", "x", 4, (3, 3)), Relu("r", "c"), outputs=("c", "r"))
    qgraph, _, image = quantised(graph)
    tensors = ops.run(qgraph, qgraph.tensors["x"].quantize(image))
    assert qgraph.tensors["c"].dequantize(tensors["c"]).min() < 0
    assert qgraph.tensors["r"].dequantize(tensors["r"]).min() == 0


def test_copies_share_scale_and_zero_point():
    qgraph, _, _ = quantised(branches())
    for node in qgraph.nodes:
        if isinstance(node, QConcat) or node.op == "maxpool":
            affine = {(qgraph.tensors[n].scale, qgraph.tensors[n].zero_point) for n in (*node.inputs, node.output)}
            assert len(affine) == 1, node.name


def test_depthwise_is_named_as_such():
    qgraph, _, _ = quantised(branches())
    assert [node.op for node in qgraph.nodes] == [
        "conv", "maxpool", "depthwise", "conv", "avgpool", "concat", "avgpool", "fc",
    ]  # fmt: skip


def test_an_addition_that_no_convolution_takes_stays_one():
    graph = network(
        MaxPool("m", "x", (3, 3), (1, 1), SAME), AvgPool("p", "x", (3, 3), (1, 1), SAME), Add("a", "m", "p")
    )
    qgraph, weights, image = quantised(graph)
    add = qgraph.nodes[-1]
    assert isinstance(add, QAdd)
    assert max(add.weights) == 1 << 21
    assert add.inputs == ("m", "p")
    assert errors(graph, weights, image, qgraph)["a"] < 0.03


def residual_block(*after, swap=False, outputs=(), **options):
    """A normalised convolution, its input added, and what follows."""
    return network(
        Conv2d("c1", "x", 16, (3, 3), padding=SAME),
        Relu("r1", "c1"),
        Conv2d("c2", "r1", 16, (3, 3), padding=SAME, bias=False, **options),
        BatchNorm("n2", "c2"),
        Add("a", *(("r1", "n2") if swap else ("n2", "r1"))),
        *after,
        outputs=outputs,
    )


@pytest.mark.parametrize("swap", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("after", [(), (Relu("r2", "a"),)], ids=["bare", "relu"])
@pytest.mark.parametrize("groups", [1, 2])
def test_an_addition_goes_into_the_convolution_before_it(swap, after, groups):
    graph = residual_block(*after, swap=swap, groups=groups)
    qgraph, weights, image = quantised(graph)
    conv = qgraph.nodes[-1]
    assert isinstance(conv, QConv)
    assert len(qgraph.nodes) == 2
    assert (conv.name, conv.inputs, conv.output) == ("c2+a", ("r1", "r1"), "r2" if after else "a")
    assert conv.residual is not None
    assert conv.residual.weight.max() >= 64
    assert max(errors(graph, weights, image, qgraph).values()) < 0.03
    output = qgraph.tensors[conv.output]
    assert (conv.requant.lo == output.zero_point) == bool(after)


def test_the_residual_has_an_exact_scale():
    """The output is that of real arithmetic on the very integers of both tensors and on the rounded filters."""
    graph = residual_block(Relu("r2", "a"))
    qgraph, weights, image = quantised(graph)
    conv, source = qgraph.nodes[-1], qgraph.tensors["r1"]
    assert isinstance(conv, QConv)
    assert conv.residual is not None
    assert source.zero_point != 0  # a relu's: -128
    unit = source.scale / conv.residual.factor
    raw = ops.run(qgraph, qgraph.tensors["x"].quantize(image))
    real = (raw["r1"].astype(np.float64) - source.zero_point) * source.scale
    sums = correlate(real, conv.weight, padding=SAME, dtype=np.float64)
    norm = next(node for node in graph.nodes if isinstance(node, BatchNorm))
    _, offset = norm_affine(norm, [weights[key] for key in graph.node_tensors(norm)])
    total = sums * (unit / source.scale)[:, None, None] + offset[:, None, None] + real
    output = qgraph.tensors["r2"]
    wanted = np.clip(np.rint(total / output.scale) + output.zero_point, output.zero_point, 127)
    assert np.abs(raw["r2"] - wanted).max() <= 1
    assert np.mean(raw["r2"] != wanted) < 0.01  # biases are rounded


def test_of_two_convolutions_the_later_one_adds():
    graph = network(
        Conv2d("c1", "x", 8, (3, 3), padding=SAME),
        Conv2d("c2", "x", 8, (1, 1)),
        Add("a", "c2", "c1"),
    )
    qgraph, weights, image = quantised(graph)
    assert [(node.name, node.inputs) for node in qgraph.nodes] == [("c1", ("x",)), ("c2+a", ("x", "c1"))]
    assert errors(graph, weights, image, qgraph)["a"] < 0.03


def test_an_operand_that_comes_after_the_convolution_is_waited_for():
    graph = network(
        Conv2d("c", "x", 3, (3, 3), padding=SAME), AvgPool("p", "x", (3, 3), (1, 1), SAME), Add("a", "c", "p")
    )
    qgraph, weights, image = quantised(graph)
    assert [node.name for node in qgraph.nodes] == ["p", "c+a"]
    assert errors(graph, weights, image, qgraph)["a"] < 0.03


@pytest.mark.parametrize(
    "graph",
    [
        network(Conv2d("c", "x", 3, (3, 3), padding=SAME), Relu("r", "c"), Add("a", "r", "x")),
        network(Conv2d("c", "x", 3, (3, 3), padding=SAME), Add("a", "c", "x"), Concat("o", ("a", "c"))),
        network(Conv2d("c", "x", 3, (3, 3), padding=SAME), Add("a", "c", "x"), outputs=("c", "a")),
        network(Conv2d("c", "x", 3, (3, 3), padding=SAME), Add("a", "c", "c")),
        network(Conv2d("c", "x", 3, (3, 3), padding=SAME, groups=3), Add("a", "c", "x")),
    ],
    ids=["clamp between", "another reader", "an output", "twice the same", "depthwise"],
)
def test_an_addition_stays_alone_where_it_must(graph):
    qgraph, weights, image = quantised(graph)
    assert sum(isinstance(node, QAdd) for node in qgraph.nodes) == 1
    assert max(errors(graph, weights, image, qgraph).values()) < 0.05


def test_an_addition_finer_than_the_sums_stays_alone():
    """A factor below one would be needed."""
    graph = network(Conv2d("c", "x", 3, (1, 1)), AvgPool("p", "x", (1, 1), (1, 1), (0, 0, 0, 0)), Add("a", "c", "p"))
    weights = {"c.weight": np.full((3, 3, 1, 1), 1000.0, np.float32), "c.bias": np.zeros(3, np.float32)}
    qgraph = quantize(graph, weights, picture(graph))
    assert [node.op for node in qgraph.nodes] == ["conv", "avgpool", "add"]
    weights["c.weight"][1:] = 0.0  # filters without any weight take any scale
    weights["c.weight"][0] = 0.1
    assert [node.op for node in quantize(graph, weights, picture(graph)).nodes] == ["avgpool", "conv"]


def test_zero_is_exact_and_scales_are_coarse():
    qgraph, _, _ = quantised(branches())
    for tensor in qgraph.tensors.values():
        assert tensor.dequantize(np.full((1, 1, 1), tensor.zero_point, np.int8)).item() == 0.0
        assert math.frexp(tensor.scale)[0] * 2**12 % 1 == 0


def test_ranges_are_covered():
    graph = branches()
    qgraph, weights, image = quantised(graph)
    real = ops.run_float(graph, weights, image)
    for name, tensor in qgraph.tensors.items():
        low, high = (tensor.scale * (edge - tensor.zero_point) for edge in (-128, 127))
        assert low <= real[name].min() + 0.51 * tensor.scale
        assert high >= real[name].max() - 0.51 * tensor.scale


def test_padding_contributes_real_zeros():
    graph = network(AvgPool("p", "x", (3, 3), (1, 1), SAME), shape=(1, 4, 4))
    image = np.full((1, 4, 4), 1.0, np.float32)
    image[0, 0, 0] = -0.7
    qgraph = quantize(graph, {}, image)
    pool = qgraph.nodes[0]
    assert isinstance(pool, QPool)
    assert pool.pad_value == qgraph.tensors["x"].zero_point != 0
    assert errors(graph, {}, image, qgraph)["p"] < 0.01


def test_dead_filters_and_huge_biases_are_representable():
    graph = network(Conv2d("c", "x", 4, (3, 3)))
    weights = seeded(graph, 1)
    weights["c.weight"][0] = 0  # nothing but a bias
    weights["c.bias"][1] = 0
    weights["c.weight"][1] = 0  # nothing at all
    weights["c.weight"][2] *= 1e-12  # tiny against its bias
    image = picture(graph)
    qgraph = quantize(graph, weights, image)
    raw = ops.run(qgraph, qgraph.tensors["x"].quantize(image))["c"]
    tensor = qgraph.tensors["c"]
    for channel in (0, 1, 2):
        np.testing.assert_allclose(
            tensor.dequantize(raw)[channel], weights["c.bias"][channel], atol=0.51 * tensor.scale
        )


def test_a_network_of_zeros_is_representable():
    graph = network(Conv2d("c", "x", 4, (3, 3)), Relu("r", "c"))
    weights = {key: np.zeros_like(value) for key, value in seeded(graph, 1).items()}
    qgraph = quantize(graph, weights, picture(graph))
    raw = ops.run(qgraph, np.ones((3, 12, 10), np.int8))["r"]
    assert not qgraph.tensors["r"].dequantize(raw).any()


def test_flattened_maps_are_for_linear_layers_alone():
    graph = network(Flatten("f", "x"), Conv2d("c", "f", 4, (1, 1)))
    with pytest.raises(QuantError, match="node 'c' reads the flattened map 'f'"):
        quantised(graph)


def test_a_relu_between_flatten_and_linear_works():
    graph = network(Flatten("f", "x"), Relu("r", "f"), Linear("l", "r", 3))
    qgraph, weights, image = quantised(graph)
    assert qgraph.tensors["r"].shape == (3, 12, 10)
    assert errors(graph, weights, image, qgraph)["l"] < 0.05


def test_accumulators_that_may_overflow_are_refused():
    graph = network(Flatten("f", "x"), Linear("l", "f", 1), shape=(3, 300, 300))
    weights = {"l.weight": np.ones((1, 270_000), np.float32), "l.bias": np.zeros(1, np.float32)}
    with pytest.raises(QuantError, match=r"node 'l': (accumulator|bias)"):
        quantize(graph, weights, picture(graph))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    graph = network(Conv2d("c", "x", 4, (3, 3)))
    image = picture(graph)
    image[0, 5, 5] = value
    with pytest.raises(QuantError, match="value 'x' is not finite"):
        quantize(graph, seeded(graph, 1), image)


def test_foreign_weights_and_images_are_refused():
    graph = network(Conv2d("c", "x", 4, (3, 3)))
    with pytest.raises(WeightError, match=r"'c\.weight' is missing"):
        quantize(graph, {}, picture(graph))
    with pytest.raises(ImageError, match=r"takes float32\(3, 12, 10\)"):
        quantize(graph, seeded(graph, 1), np.zeros((3, 12, 10)))
