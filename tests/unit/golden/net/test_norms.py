"""Batch normalisation: its mathematics, its way into the weights, its seeded statistics."""

import re

import numpy as np
import pytest

from golden.errors import GoldenError, QuantError, WeightError
from golden.int8 import ops
from golden.int8.quant import quantize
from golden.net.float_ops import run_float
from golden.net.graph import Add, BatchNorm, Conv2d, Flatten, Graph, Linear, Relu
from golden.net.inputs import load_image
from golden.net.weights import from_npz, seeded
from golden.net.window import ceil_padding, out_hw

CONV = Conv2d("conv", "x", 8, (3, 3), padding=(1, 1, 1, 1), bias=False)


def normed(*nodes, eps=1e-3):
    return Graph("normed", "x", (3, 12, 12), (CONV, BatchNorm("bn", "conv", eps), *nodes))


def image():
    return np.random.default_rng(0).standard_normal((3, 12, 12)).astype(np.float32)


def test_it_computes_what_its_definition_says():
    graph = normed()
    weights = seeded(graph, 3)
    values = run_float(graph, weights, image())
    part = {key: weights[f"bn.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var")}
    expected = (values["conv"] - part["running_mean"]) / np.sqrt(part["running_var"] + 1e-3)
    np.testing.assert_allclose(values["bn"], expected * part["weight"] + part["bias"], rtol=1e-4, atol=1e-5)


def test_folding_gives_the_quantised_graph_of_weights_folded_by_hand():
    graph = normed(Relu("relu", "bn"))
    weights = seeded(graph, 3)
    gain = weights["bn.weight"].astype(float) / np.sqrt(weights["bn.running_var"].astype(float) + 1e-3)
    plain = Graph("plain", "x", (3, 12, 12), (Conv2d("conv", "x", 8, (3, 3), padding=(1, 1, 1, 1)), Relu("r", "conv")))
    by_hand = {
        "conv.weight": weights["conv.weight"] * gain.astype(np.float32)[:, None, None, None],
        "conv.bias": (weights["bn.bias"] - weights["bn.running_mean"] * gain).astype(np.float32),
    }
    folded, expected = quantize(graph, weights, image()), quantize(plain, by_hand, image())
    assert [node.name for node in folded.nodes] == ["conv"]
    assert list(folded.tensors) == ["x", "relu"]
    np.testing.assert_array_equal(folded.nodes[0].weight, expected.nodes[0].weight)
    assert np.abs(folded.nodes[0].bias.astype(int) - expected.nodes[0].bias).max() <= 1


def test_a_tensor_compares_with_the_value_it_is_named_after():
    graph = Graph(
        "branch", "x", (3, 12, 12),
        (CONV, BatchNorm("bn", "conv"), Conv2d("other", "x", 8, (1, 1)), Add("add", "bn", "other"), Flatten("f", "add"),
         Linear("fc", "f", 5), BatchNorm("bn2", "fc")),
    )  # fmt: skip
    weights = seeded(graph, 1)
    qgraph = quantize(graph, weights, image())
    raw = ops.run(qgraph, qgraph.tensors["x"].quantize(image()))
    values = run_float(graph, weights, image())
    assert list(raw) == ["x", "bn", "add", "bn2"]  # the later convolution adds the other's output
    for name, value in raw.items():
        real = qgraph.tensors[name].dequantize(value)
        assert np.linalg.norm(real - values[name]) < 0.05 * np.linalg.norm(values[name])


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        ((BatchNorm("bn", "x"),), "bn"),
        ((Relu("relu", "x"), BatchNorm("late", "relu")), "late"),
        ((CONV, BatchNorm("bn", "conv"), Add("add", "bn", "conv")), "bn"),
    ],
)
def test_one_that_follows_no_layer_of_its_own_is_refused(nodes, name):
    graph = Graph("bad", "x", (3, 12, 12), nodes)
    with pytest.raises(QuantError, match=f"'{name}' cannot be folded: '[a-z]+' must be a Conv2d or Linear"):
        quantize(graph, seeded(graph, 1), image())


def test_an_eps_of_zero_is_refused():
    with pytest.raises(GoldenError, match="node 'bn': eps is 0; it must be positive"):
        normed(eps=0)


def test_statistics_are_no_parameters_but_belong_to_the_weights():
    graph = normed()
    assert list(graph.parameters) == ["conv.weight", "bn.weight", "bn.bias"]
    assert graph.params == 8 * 27 + 16
    assert list(graph.tensors) == [*graph.parameters, "bn.running_mean", "bn.running_var"]


def test_seeded_statistics_normalise_the_default_picture():
    """Up to the five bits at which they are measured."""
    graph = Graph("normed", "x", (3, 32, 32), (CONV, BatchNorm("bn", "conv"), Relu("relu", "bn")))
    weights = seeded(graph, 5)
    out = run_float(graph, weights, load_image(None, (3, 32, 32)))["bn"].reshape(8, -1)
    np.testing.assert_allclose(out.mean(axis=1), weights["bn.bias"], atol=0.2)
    np.testing.assert_allclose(out.std(axis=1), weights["bn.weight"], rtol=0.2)
    again = seeded(graph, 5)
    for key, value in weights.items():
        np.testing.assert_array_equal(value, again[key])


def test_a_state_dict_with_step_counters_and_auxiliary_heads_loads(tmp_path):
    graph = normed()
    weights = seeded(graph, 1)
    np.savez(tmp_path / "w.npz", **weights, **{"bn.num_batches_tracked": np.array(7), "aux1.fc.bias": np.zeros(3)})
    loaded = from_npz(tmp_path / "w.npz", graph)
    assert set(loaded) == set(weights)


def test_a_negative_variance_is_refused(tmp_path):
    graph = normed()
    weights = seeded(graph, 1)
    weights["bn.running_var"][2] = -0.5
    np.savez(tmp_path / "w.npz", **weights)
    with pytest.raises(WeightError, match=re.escape("weight 'bn.running_var' holds a variance of -0.5")):
        from_npz(tmp_path / "w.npz", graph)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "around", "rows"),
    [(112, 3, 2, 0, 56), (111, 3, 2, 0, 55), (14, 2, 2, 0, 7), (28, 3, 1, 1, 28), (5, 2, 2, 1, 3), (4, 1, 2, 1, 3)],
)
def test_ceil_padding_gives_the_size_of_ceil_mode(size, kernel, stride, around, rows):
    """PyTorch: round up, and drop a last window that would start beyond the input and the padding before it."""
    window, step = (kernel, kernel), (stride, stride)
    padding = ceil_padding((size, size), window, step, (around,) * 4)
    assert padding[:2] == (around, around)
    assert out_hw((size, size), window, step, padding) == (rows, rows)


def test_ceil_padding_of_an_oblong_map_treats_rows_and_columns_apart():
    assert ceil_padding((112, 9), (3, 2), (2, 1), (0, 1, 0, 1)) == (0, 1, 1, 1)
    assert ceil_padding((9, 112), (2, 3), (1, 2), (1, 0, 1, 0)) == (1, 0, 1, 1)
    assert ceil_padding((8, 9), (3, 3), (2, 2), (0, 0, 0, 0)) == (0, 0, 1, 0)
    assert ceil_padding((9, 8), (3, 3), (2, 2), (0, 0, 0, 0)) == (0, 0, 0, 1)
