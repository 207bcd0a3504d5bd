"""Integer layers against direct loops, and against scipy where it has the operation."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import correlate as scipy_correlate

from golden.errors import ImageError, QuantError
from golden.int8 import ops
from golden.int8.qgraph import QGraph, QTensor
from golden.int8.qnodes import QAdd, QConcat, QConv, QPool, Residual
from golden.int8.requant import Requant
from golden.net.window import out_hw

CONVS = {
    # name: (channels, height, width, filters, kernel, stride, padding (t, l, b, r), dilation, groups)
    "1x1": (7, 5, 6, 9, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "1x1_stride_2": (5, 7, 6, 4, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    "3x3_same": (5, 6, 7, 8, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "3x3_stride_2": (3, 9, 8, 4, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    "3x3_asymmetric_padding": (3, 6, 5, 4, (3, 3), (2, 1), (0, 2, 1, 3), (1, 1), 1),
    "5x5": (6, 9, 9, 3, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 1),
    "7x7_stride_2": (3, 15, 17, 5, (7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 1),
    "oblong_kernel": (2, 8, 9, 3, (1, 5), (1, 2), (0, 2, 0, 1), (1, 1), 1),
    "dilated": (3, 11, 12, 4, (3, 3), (1, 2), (2, 1, 2, 3), (2, 3), 1),
    "groups": (6, 7, 7, 9, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    "groups_dilated_strided": (8, 10, 9, 4, (3, 2), (2, 1), (1, 0, 2, 1), (2, 1), 2),
    "depthwise": (6, 8, 7, 6, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 6),
    "depthwise_stride_2": (5, 9, 9, 5, (5, 5), (2, 2), (2, 1, 2, 1), (1, 1), 5),
    "depthwise_multiplier": (4, 7, 7, 12, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "one_channel_dense": (1, 8, 8, 6, (5, 5), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    "whole_map": (4, 5, 3, 7, (5, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1),
}


def int8(rng, *shape):
    return rng.integers(-128, 128, shape, dtype=np.int8)


def random_requant(rng, channels):
    lo, hi = sorted(rng.integers(-128, 128, 2).tolist())
    return Requant.from_scale(2.0 ** rng.uniform(-12, -4, channels), int(rng.integers(-128, 128)), lo, hi)


def random_conv(rng, case):
    channels, height, width, filters, kernel, stride, padding, dilation, groups = case
    node = QConv(
        name="layer",
        op="conv",
        input="x",
        output="y",
        weight=int8(rng, filters, channels // groups, *kernel),
        bias=rng.integers(-(2**20), 2**20, filters).astype(np.int32),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        pad_value=int(rng.integers(-128, 128)),
        requant=random_requant(rng, filters),
    )
    return node, int8(rng, channels, height, width)


def pixel(x, channel, row, col, pad_value):
    inside = 0 <= row < x.shape[1] and 0 <= col < x.shape[2]
    return int(x[channel, row, col]) if inside else pad_value


def conv_by_loops(node, x):
    """Accumulators by the definition, in Python integers."""
    filters, depth, kernel_h, kernel_w = node.weight.shape
    height, width = out_hw(x.shape[1:], (kernel_h, kernel_w), node.stride, node.padding, node.dilation)
    acc = np.zeros((filters, height, width), dtype=object)
    for o, row, col in itertools.product(range(filters), range(height), range(width)):
        total = int(node.bias[o])
        first_channel = o // (filters // node.groups) * depth
        for c, kh, kw in itertools.product(range(depth), range(kernel_h), range(kernel_w)):
            in_row = row * node.stride[0] + kh * node.dilation[0] - node.padding[0]
            in_col = col * node.stride[1] + kw * node.dilation[1] - node.padding[1]
            total += int(node.weight[o, c, kh, kw]) * pixel(x, first_channel + c, in_row, in_col, node.pad_value)
        acc[o, row, col] = total
    return acc


def requant_by_loops(acc, requant):
    out = np.zeros(acc.shape, dtype=np.int8)
    for o, row, col in np.ndindex(acc.shape):
        product, shift = int(acc[o, row, col]) * int(requant.multiplier[o]), int(requant.shift[o])
        quotient, remainder = divmod(product, 1 << shift)
        quotient += 2 * remainder > 1 << shift or (2 * remainder == 1 << shift and quotient % 2)
        out[o, row, col] = min(max(quotient + requant.zero_point, requant.lo), requant.hi)
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("case", CONVS.values(), ids=CONVS)
def test_convolution_equals_direct_loops(case, seed):
    node, x = random_conv(np.random.default_rng(seed), case)
    acc = conv_by_loops(node, x)
    np.testing.assert_array_equal(ops.accumulate(node, {"x": x}), acc.astype(np.int64))
    np.testing.assert_array_equal(ops.run_node(node, {"x": x}), requant_by_loops(acc, node.requant))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_residual_joins_the_sums_before_the_one_requantisation(seed):
    rng = np.random.default_rng(seed)
    node, x = random_conv(rng, CONVS["3x3_asymmetric_padding"])
    plain = conv_by_loops(node, x)
    other, weight, shift = int8(rng, *plain.shape), rng.integers(1, 128, len(plain), np.int8), int(rng.integers(0, 12))
    node = replace(node, residual=Residual("z", weight, shift))
    assert node.inputs == ("x", "z")
    acc = plain.copy()
    for o, row, col in np.ndindex(acc.shape):
        acc[o, row, col] += int(other[o, row, col]) * int(weight[o]) << shift
    np.testing.assert_array_equal(ops.accumulate(node, {"x": x, "z": other}), acc.astype(np.int64))
    np.testing.assert_array_equal(ops.run_node(node, {"x": x, "z": other}), requant_by_loops(acc, node.requant))


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        (Residual("z", np.array([0, 1, 1, 1], np.int8), 3), "at least 0"),
        (Residual("z", np.ones(3, np.int8), 3), "give int8"),
        (Residual("z", np.ones(4, np.int8), 18), "residual shift is 18"),
        (Residual("z", np.full(4, 127, np.int8), 17), "accumulator of output channel . can reach"),
    ],
    ids=["weight", "channels", "shift", "accumulator"],
)
def test_a_residual_that_cannot_be_added_is_refused(residual, message):
    node, _ = random_conv(np.random.default_rng(1), CONVS["3x3_asymmetric_padding"])
    node = replace(node, bias=np.full(4, 1 << 27, np.int32))
    with pytest.raises(QuantError, match=message):
        replace(node, residual=residual)
    with pytest.raises(QuantError, match="depthwise has a residual"):
        replace(node, op="depthwise", residual=Residual("z", np.ones(4, np.int8), 3))


@pytest.mark.parametrize("seed", range(4))
def test_a_large_convolution_equals_scipy(seed):
    rng = np.random.default_rng(seed)
    stride = (1 + seed % 2, 1 + seed // 2)
    node, x = random_conv(rng, (40, 30, 28, 12, (3, 3), stride, (1, 1, 1, 1), (1, 1), 1))
    padded = np.pad(x.astype(np.int64), ((0, 0), (1, 1), (1, 1)), constant_values=node.pad_value)
    expected = np.stack(
        [scipy_correlate(padded, w.astype(np.int64), mode="valid", method="direct")[0] for w in node.weight]
    )[:, :: stride[0], :: stride[1]]
    acc = ops.accumulate(node, {"x": x})
    np.testing.assert_array_equal(acc, expected + node.bias[:, None, None])


@pytest.mark.parametrize("depth", [1024, 1025, 25088])
@pytest.mark.parametrize(("weight", "value"), [(-128, -128), (-128, 127), (127, -128), (127, 127)])
def test_the_deepest_sums_stay_exact_at_their_extremes(depth, weight, value):
    """Odd totals beyond 2**24 do not exist in float32; a wrong choice of type shows here."""
    taps = np.full((1, depth, 1, 1), weight, np.int8)
    x = np.full((depth, 1, 1), value, np.int8)
    x[-1], taps[0, -1] = 1, 1
    requant = Requant.from_scale(np.array([1.0]), 0)
    node = QConv(
        "fc", "fc", "x", "y", taps, np.zeros(1, np.int32), (1, 1), (0, 0, 0, 0), (1, 1), 1, 0, requant
    )  # fmt: skip
    assert ops.accumulate(node, {"x": x}).item() == (depth - 1) * weight * value + 1


def test_blocks_join_seamlessly(monkeypatch):
    rng = np.random.default_rng(0)
    node, x = random_conv(rng, CONVS["3x3_asymmetric_padding"])
    whole = ops.run_node(node, {"x": x})
    for elements in (1, 60, 200):
        monkeypatch.setattr("golden.net.window.BLOCK_ELEMENTS", elements)
        np.testing.assert_array_equal(ops.run_node(node, {"x": x}), whole)


POOLS = {
    "2x2": ((2, 2), (2, 2), (0, 0, 0, 0)),
    "3x3_stride_2": ((3, 3), (2, 2), (1, 1, 1, 1)),
    "3x3_stride_1": ((3, 3), (1, 1), (1, 1, 1, 1)),
    "asymmetric": ((3, 2), (2, 1), (0, 1, 2, 0)),
    "global": ((7, 9), (1, 1), (0, 0, 0, 0)),
}


def pool_windows(x, kernel, stride, padding, pad_value):
    height, width = out_hw(x.shape[1:], kernel, stride, padding)
    for c, row, col in itertools.product(range(x.shape[0]), range(height), range(width)):
        yield (
            (c, row, col),
            [
                pixel(x, c, row * stride[0] + kh - padding[0], col * stride[1] + kw - padding[1], pad_value)
                for kh, kw in itertools.product(range(kernel[0]), range(kernel[1]))
            ],
        )


@pytest.mark.parametrize("geometry", POOLS.values(), ids=POOLS)
def test_maximum_pooling_equals_direct_loops(geometry):
    kernel, stride, padding = geometry
    x = int8(np.random.default_rng(5), 3, 7, 9)
    out = ops.run_node(
        QPool("pool", "maxpool", "x", "y", kernel, stride, padding, requant=None, pad_value=-128), {"x": x}
    )
    assert out.dtype == np.int8
    for index, taps in pool_windows(x, kernel, stride, padding, -128):
        assert out[index] == max(taps)


@pytest.mark.parametrize("geometry", POOLS.values(), ids=POOLS)
def test_average_pooling_equals_direct_loops(geometry):
    kernel, stride, padding = geometry
    rng = np.random.default_rng(6)
    x = int8(rng, 3, 7, 9)
    node = QPool(
        "pool", "avgpool", "x", "y", kernel, stride, padding, requant=random_requant(rng, 3), pad_value=11, bias=-77
    )
    out = ops.accumulate(node, {"x": x})
    for index, taps in pool_windows(x, kernel, stride, padding, 11):
        assert out[index] == sum(taps) - 77
    np.testing.assert_array_equal(ops.run_node(node, {"x": x}), requant_by_loops(out, node.requant))


@pytest.mark.parametrize("weights", [(1 << 21, 12345), (-(1 << 21), 1 << 21), (0, 7)])
def test_add_weighs_both_inputs(weights):
    rng = np.random.default_rng(7)
    a, b = int8(rng, 4, 3, 5), int8(rng, 4, 3, 5)
    requant = Requant.from_scale(np.full(4, 2.0**-21), -3)
    node = QAdd("add", ("a", "b"), "y", weights, 999, requant)
    acc = weights[0] * a.astype(object) + weights[1] * b.astype(object) + 999
    np.testing.assert_array_equal(ops.run_node(node, {"a": a, "b": b}), requant_by_loops(acc, requant))


def test_concat_copies_in_order():
    rng = np.random.default_rng(8)
    a, b = int8(rng, 2, 3, 3), int8(rng, 5, 3, 3)
    out = ops.run_node(QConcat("cat", ("a", "b", "a"), "y"), {"a": a, "b": b})
    np.testing.assert_array_equal(out, np.concatenate([a, b, a]))


def test_one_large_filter_among_small_ones_is_summed_exactly():
    """Its sum is odd and beyond 2**24: float32, which the small filter alone would allow, cannot hold it."""
    depth = 1101
    weight = np.zeros((2, depth, 1, 1), np.int8)
    weight[0] = -128
    weight[0, 0] = 1
    x = np.full((depth, 1, 1), -128, np.int8)
    x[0] = 1
    node = QConv(
        "fc", "conv", "x", "y", weight, np.zeros(2, np.int32), (1, 1), (0, 0, 0, 0), (1, 1), 1, 0,
        Requant.from_scale(np.full(2, 2.0**-20), 0),
    )  # fmt: skip
    assert ops.accumulate(node, {"x": x}).ravel().tolist() == [(depth - 1) * 2**14 + 1, 0]


def small_graph():
    tensors = {name: QTensor(name, shape, 0.1, 0) for name, shape in {"x": (2, 4, 4), "p": (2, 2, 2)}.items()}
    tensors["c"] = QTensor("c", (4, 2, 2), 0.1, 0)
    pool = QPool("pool", "maxpool", "x", "p", (2, 2), (2, 2), (0, 0, 0, 0), None, -128)
    return QGraph("small", "x", ("c",), tensors, (pool, QConcat("cat", ("p", "p"), "c")))


def test_run_returns_every_tensor_and_reports_each_layer():
    seen = []
    x = int8(np.random.default_rng(9), 2, 4, 4)
    tensors = ops.run(small_graph(), x, on_layer=lambda node, out: seen.append((node.name, out.shape)))
    assert list(tensors) == ["x", "p", "c"]
    assert seen == [("pool", (2, 2, 2)), ("cat", (4, 2, 2))]


@pytest.mark.parametrize("image", [np.zeros((2, 4, 5), np.int8), np.zeros((2, 4, 4), np.float32)])
def test_an_image_of_another_shape_or_type_is_refused(image):
    with pytest.raises(ImageError, match="the network takes int8"):
        ops.run(small_graph(), image)
