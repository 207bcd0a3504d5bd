"""Rules that quantised nodes and graphs enforce."""

from dataclasses import replace

import numpy as np
import pytest

from golden.errors import QuantError
from golden.int8.qgraph import QGraph, QTensor
from golden.int8.qnodes import QAdd, QConcat, QConv, QPool
from golden.int8.requant import Requant


def unit(channels):
    return Requant.from_scale(np.ones(channels), 0)


def conv(**changes):
    node = QConv(
        name="layer",
        op="conv",
        input="x",
        output="y",
        weight=np.ones((4, 3, 3, 3), np.int8),
        bias=np.zeros(4, np.int32),
        stride=(1, 1),
        padding=(1, 1, 1, 1),
        dilation=(1, 1),
        groups=1,
        pad_value=0,
        requant=unit(4),
    )
    return replace(node, **changes)


def graph(*nodes, y_shape=(4, 5, 6), outputs=("y",)):
    tensors = {"x": QTensor("x", (3, 5, 6), 0.5, 3), "y": QTensor("y", y_shape, 0.5, 0)}
    return QGraph("net", "x", outputs, tensors, nodes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op": "linear"}, "op is 'linear'"),
        ({"weight": np.ones((4, 3, 3, 3), np.int32)}, "weight is int32"),
        ({"bias": np.zeros(3, np.int32)}, r"bias is int32\(3,\)"),
        ({"groups": 3}, "groups is 3"),
        ({"requant": unit(5)}, "requantisation has 5 channels"),
        ({"bias": np.full(4, 2**31 - 1, np.int32)}, "accumulator of output channel 0 can reach 2147487076"),
    ],
)
def test_a_contradictory_convolution_is_refused(changes, message):
    with pytest.raises(QuantError, match=f"node 'layer': {message}"):
        conv(**changes)


def test_the_accumulator_proof_uses_the_actual_weights():
    bias = np.full(4, 2**31 - 1 - 27 * 127, np.int32)  # 27 taps of 1 times at most 127
    conv(bias=bias)
    with pytest.raises(QuantError, match="can reach 2147483648"):
        conv(bias=bias + np.int32(1))


def test_the_accumulator_proof_takes_minus_128_for_what_it_is():
    weight = np.full((4, 3, 3, 3), -128, np.int8)
    bias = np.full(4, 2**31 - 1 - 27 * 128 * 128, np.int32)
    conv(weight=weight, bias=bias)
    with pytest.raises(QuantError, match="can reach 2147483648"):
        conv(weight=weight, bias=bias + np.int32(1))


def test_pools_and_adds_prove_their_accumulators():
    with pytest.raises(QuantError, match="weights are"):
        QAdd("add", ("x", "x"), "y", (2**21 + 1, 0), 0, unit(3))
    with pytest.raises(QuantError, match="its accumulator can reach"):
        QAdd("add", ("x", "x"), "y", (2**21, 2**21), 2**31 - 2**29, unit(3))
    with pytest.raises(QuantError, match="its accumulator can reach"):
        QPool("pool", "avgpool", "x", "y", (5000, 5000), (1, 1), (0, 0, 0, 0), unit(3), 0)


def test_only_averages_are_requantised():
    geometry = ((2, 2), (2, 2), (0, 0, 0, 0))
    with pytest.raises(QuantError, match="avgpool lacks"):
        QPool("pool", "avgpool", "x", "y", *geometry, None, 0)
    with pytest.raises(QuantError, match="maxpool has"):
        QPool("pool", "maxpool", "x", "y", *geometry, unit(3), 0)


def test_macs_are_known_once_the_node_is_in_a_graph():
    assert graph(conv()).nodes[0].macs == graph(conv()).macs == 4 * 3 * 9 * 30
    with pytest.raises(QuantError, match="take the node from a QGraph"):
        conv().macs  # noqa: B018  the property itself raises


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: graph(conv(), conv()), "output 'y' exists already"),
        (lambda: graph(conv(input="z")), "input 'z' is not computed yet"),
        (lambda: graph(conv(output="z")), "output 'z' is no tensor"),
        (lambda: graph(conv(stride=(2, 2))), r"it produces \(4, 3, 3\); but 'y' has shape \(4, 5, 6\)"),
        (lambda: graph(conv(groups=2)), "its weight takes 3 x 2 channels"),
        (lambda: graph(conv(), outputs=("z",)), "output 'z' of 'net' is not computed"),
        (lambda: graph(QAdd("layer", ("x", "x"), "y", (1, 1), 0, unit(4))), "requantisation has 4 channels"),
        (lambda: graph(QConcat("layer", ("x", "x"), "y")), r"it produces \(6, 5, 6\)"),
    ],
)
def test_a_contradictory_graph_is_refused(build, message):
    with pytest.raises(QuantError, match=message):
        build()


def test_tensors_quantise_half_to_even_and_saturate():
    tensor = QTensor("x", (1, 1, 6), 0.5, 10)
    real = np.array([[[0.25, 0.75, -0.25, 1e9, -1e9, 0.0]]], np.float32)
    assert tensor.quantize(real).ravel().tolist() == [10, 12, 10, 127, -128, 10]
    assert tensor.dequantize(np.array([[[12]]], np.int8)).item() == 1.0


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0, 0), (np.nan, 0), (-1.0, 0), (1.0, 128)])
def test_a_senseless_tensor_is_refused(scale, zero_point):
    with pytest.raises(QuantError, match="tensor 'x'"):
        QTensor("x", (1, 1, 1), scale, zero_point)
