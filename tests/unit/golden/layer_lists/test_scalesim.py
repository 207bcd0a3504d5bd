"""SCALE-Sim topologies: both forms, the traps of the format, and what is refused."""

from __future__ import annotations

import math

import pytest

from golden.errors import LayerListError
from golden.layer_lists.scalesim import read_topology
from golden.net.graph import Conv2d, Linear

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"


@pytest.mark.parametrize("end", ["", ",", ",#remark", ", 1:1", ", 1:1,"])
def test_line_is_read_whole_whatever_its_end(end: str) -> None:
    network = read_topology(HEADER + f"Conv1, 230, 230, 7, 7, 3, 64, 2{end}\n\n", "dir/net.csv")
    assert network.graph.name == "net"
    assert network.graph.input_shape == (3, 230, 230)
    assert network.graph.macs == 113 * 113 * 64 * 147  # rounded up, as SCALE-Sim does


@pytest.mark.parametrize("size", range(5, 14))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (3, 1), (3, 2), (5, 3)])
def test_outputs_are_as_many_as_scalesim_computes(size: int, kernel: int, stride: int) -> None:
    network = read_topology(HEADER + f"c, {size}, 9, {kernel}, 3, 4, 8, {stride},", "net.csv")
    rows, columns = (math.ceil((have - taps + stride) / stride) for have, taps in ((size, kernel), (9, 3)))
    assert network.graph.shapes["c"] == (8, rows, columns)


def test_dp_in_a_name_stands_for_a_filter_for_each_channel() -> None:
    network = read_topology(HEADER + "ConvDP2, 18, 18, 3, 3, 32, 1, 1,\nConv2_dw, 18, 18, 3, 3, 1, 1, 1,", "net.csv")
    deep, plain = (network.graph.nodes[0], network.graph.nodes[2])
    assert isinstance(deep, Conv2d)
    assert (deep.groups, deep.out_channels) == (32, 32)
    assert isinstance(plain, Conv2d)
    assert (plain.groups, network.graph.shapes["Conv2_dw"]) == (1, (1, 16, 16))


def test_products_are_1x1_convolutions_and_full_connections() -> None:
    network = read_topology("Layer, M, N, K,\nqkv, 48, 96, 64,\nqkv, 13, 40, 100,\nhead, 1, 10, 64,\n", "net.csv")
    assert network.layers == ["qkv", "qkv_2", "head"]
    assert [network.graph.shapes[name] for name in network.layers] == [(96, 6, 8), (40, 1, 13), (10, 1, 1)]
    assert isinstance(network.graph.nodes[-1], Linear)
    assert network.graph.macs == 48 * 96 * 64 + 13 * 40 * 100 + 640


def test_layers_do_not_chain_and_their_inputs_are_seeded() -> None:
    network = read_topology("Layer, M, N, K,\na, 4, 8, 16,\nb, 4, 8, 16,\n", "net.csv")
    assert network.feeds(0)["b.input"].shape == (1, 16, 2, 2)
    assert (network.feeds(0)["b.input"] == network.feeds(0)["b.input"]).all()
    assert (network.feeds(0)["b.input"] != network.feeds(1)["b.input"]).any()
    assert (network.feeds(0)["b.input"][0] != network.image(0)).any()
    alone = network.only(["b"])
    assert alone.layers == ["b"]
    assert (alone.image(0) == network.feeds(0)["b.input"][0]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "net.csv has no layers"),
        ("Layer name, IFMAP Height, Depth,\na, 1, 1,", "unknown column 'depth', wanted 'ifmap width'"),
        ("Layer, M, N,\na, 1, 1,", "column 'k' is missing"),
        (HEADER[:-2] + ", Energy,\na, 4, 4, 1, 1, 1, 1, 1,", "unknown column 'energy', wanted 'sparsity'"),
        (HEADER + "a, 4, 4, 1, 1, 8, 8,", "line 2: 7 values; give 8: layer name, ifmap height"),
        (HEADER + "a, 4, 4, 1, 1, 8, 8, 1, 2:4,", "line 2: sparsity 2:4 does not run on dense arrays"),
        (HEADER + "a, 4, 4, 1, 1, 8, 8, 1, 7,", "'7' belongs to no column"),
        (HEADER + "a, 4, 4, 1, 1, 8, 8.5, 1,", "num filter is '8.5'; give a whole number"),
        (HEADER + "a, 4, 4, 1, 1, 0, 8, 1,", "channels is '0'"),
        (HEADER + "a, 4, 4, 5, 1, 8, 8, 1,", "a filter of 5x1 on a map of 4x4; IFMAP includes padding"),
    ],
)
def test_what_is_no_topology_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(LayerListError) as error:
        read_topology(text, "net.csv")
    assert message in str(error.value)
