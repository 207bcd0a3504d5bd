"""Workloads of ZigZag and Stream: layers that chain, what padding they mean, and what does not map."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from golden.errors import LayerListError
from golden.layer_lists.zigzag import read_workload
from golden.net.graph import Add, AvgPool, Conv2d, Flatten, Linear, MaxPool

BITS = {"W": 8, "I": 8, "O": 16, "O_final": 8}
CONV = "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]"
POOL = "O[b][g][oy][ox]+=W[fx][fy]*I[b][g][iy][ix]"


def layer(
    number: int, kind: str, equation: str, reads: dict[str, int], stride: int = 1, **loops: int
) -> dict[str, Any]:
    """A layer as files have it."""
    made = {
        "id": number, "operator_type": kind, "equation": equation, "loop_dims": list(loops),
        "loop_sizes": list(loops.values()), "operand_precision": dict(BITS), "operand_source": reads,
    }  # fmt: skip
    if kind not in ("Add", "Gemm"):
        made["dimension_relations"] = [f"ix={stride}*ox+1*fx", f"iy={stride} * oy + 1*fy"]
    return made


def network() -> list[dict[str, Any]]:
    """A network with every operator; only the depthwise layer says its padding."""
    deep = "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]"
    return [
        layer(0, "Conv", CONV, {"I": 0, "W": 0}, 2, B=1, K=16, C=3, OY=16, OX=16, FY=3, FX=3),
        layer(1, "Pooling", POOL, {"I": 0, "W": 1}, 2, B=1, G=16, OY=8, OX=8, FX=3, FY=3),
        layer(2, "Conv", deep, {"I": 1, "W": 2}, B=1, G=16, K=1, C=1, OX=8, OY=8, FX=3, FY=3)
        | {"name": "dw", "pr_loop_dims": ["IX", "IY"], "pr_loop_sizes": [8, 8], "padding": [[1, 1], [1, 1]]},
        layer(3, "Add", "O[b][g][oy][ox]=W[b][g][oy][ox]+I[b][g][oy][ox]", {"I": 2, "W": 1}, B=1, G=16, OY=8, OX=8),
        layer(4, "AveragePool", POOL, {"I": 3, "W": 4}, 4, B=1, G=16, OY=2, OX=2, FX=4, FY=4),
        layer(5, "Gemm", "O[b][k]+=I[b][c]*W[c][k]", {"I": 4, "W": 5}, B=1, C=64, K=10),
    ]  # fmt: skip


def test_layers_chain_and_their_padding_is_what_they_need() -> None:
    graph = read_workload(yaml.safe_dump(network()), "net.yaml").graph
    kinds = [Conv2d, MaxPool, Conv2d, Add, AvgPool, Flatten, Linear]
    assert [type(node) for node in graph.nodes] == kinds
    assert graph.input_shape == (3, 33, 33)  # nothing makes it, so that it needs no padding
    pool, deep = graph.nodes[1], graph.nodes[2]
    assert isinstance(pool, MaxPool)
    assert pool.padding == (1, 1, 0, 0)
    assert isinstance(deep, Conv2d)
    assert (deep.groups, deep.padding) == (16, (1, 1, 1, 1))
    assert graph.outputs == ("Layer5",)
    assert graph.shapes["Layer5"] == (10, 1, 1)


def test_product_of_many_rows_is_a_1x1_convolution() -> None:
    one = layer(0, "Gemm", "O[b][k]+=I[b][c]*W[c][k]", {"I": 0, "W": 0}, B=12, C=64, K=10)
    graph = read_workload(yaml.safe_dump([one]), "net.yaml").graph
    assert graph.shapes["Layer0"] == (10, 1, 12)


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"core_allocation": [0]}, "layer 0: unknown key 'core_allocation'"),
        (2, {"operator_type": "Silu"}, "layer 'dw': operator 'Silu' does not map; the chip has Conv"),
        (0, {"operand_precision": BITS | {"W": 4}}, "W of 4 bits does not map; the chip has 8"),
        (5, {"operand_precision": BITS | {"O_final": 32}}, "O_final of 32 bits does not map"),
        (0, {"operand_precision": BITS | {"X": 8}}, "precision of unknown operand 'X'"),
        (0, {"loop_sizes": [2, 16, 3, 16, 16, 3, 3]}, "a batch of 2; give B: 1, and BATCH= to the command"),
        (0, {"loop_sizes": [1, 16, 3, 16, 16, 3]}, "loop_sizes is [1, 16, 3, 16, 16, 3] for"),
        (5, {"loop_dims": ["B", "C", "D"]}, "loop 'D' of Gemm does not map; it may have B, C, K"),
        (0, {"dimension_relations": ["ix=ox-fx"]}, "dimension relation 'ix=ox-fx' does not map"),
        (0, {"equation": "O[b]=I[b]"}, "equation 'O[b]=I[b]' does not map"),
        (3, {"equation": CONV}, "does not map to Add; its operands are O, W and I"),
        (0, {"equation": CONV.replace("[c]", "[z]")}, "index 'z' of W does not map"),
        (1, {"operand_source": {"I": 3, "W": 1}}, "I comes of layer 3, which is not there yet"),
        (1, {"loop_sizes": [1, 32, 8, 8, 3, 3]}, "it reads 16 channels, but its loops say 32"),
        (2, {"padding": [[2, 1], [1, 1]]}, "it puts out (16, 8, 9), but its loops say (16, 8, 8)"),
        (2, {"padding": [[1, 1]]}, "padding [[1, 1]] for pr_loop_dims ['IX', 'IY']"),
        (3, {"operand_source": {"I": 2, "W": 0}}, "layer 3: node 'Layer3'"),
        (5, {"loop_sizes": [1, 32, 10]}, "it reads (16, 2, 2), but its loops say B=1, C=32"),
        (1, {"id": 0}, "id 0 is taken"),
    ],
)
def test_what_does_not_map_is_refused_by_name(number: int, change: dict[str, Any], message: str) -> None:
    layers = copy.deepcopy(network())
    layers[number] |= change
    with pytest.raises(LayerListError) as error:
        read_workload(yaml.safe_dump(layers), "net.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(("text", "message"), [("a: [", "is no YAML"), ("a: 1", "is no workload of ZigZag or Stream")])
def test_what_is_no_workload_is_refused(text: str, message: str) -> None:
    with pytest.raises(LayerListError, match=message):
        read_workload(text, "net.yaml")
