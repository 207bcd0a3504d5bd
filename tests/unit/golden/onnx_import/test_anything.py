"""Models as people have them: any inputs, types, shapes and operator sets; and what is said of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.errors import DisagreementError, OnnxError
from golden.int8.fallback import run_model
from golden.int8.ops import run_float
from golden.int8.qnodes import QHost
from golden.net.graph import Conv2d, Host
from golden.onnx_import import (
    FloatModel,
    QuantisedModel,
    Reference,
    judge_float,
    judge_quantised,
    load_feeds,
    load_onnx,
    sample_feeds,
)
from tests.onnx_judge import require_equal_outputs

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Value = tuple[str, int, Sequence[int | str | None] | None]
"""Name, data type, shape."""


def _node(kind: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), f"{kind}_{outputs.split()[0]}", **attributes)


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _model(
    nodes: list[onnx.NodeProto], inputs: list[Value], outputs: list[Value], opset: int = 17, **constants: object
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _runs(
    model: onnx.ModelProto, folder: Path, shapes: dict[str, tuple[int, ...]] | None = None, seed: int = 0
) -> FloatModel:
    """The float model; what its graph computes is ONNX Runtime's in every output."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path, shapes)
    assert isinstance(loaded, FloatModel)
    feeds = sample_feeds(loaded.inputs, seed)
    values = run_float(loaded.bound(feeds), loaded.weights, loaded.image(feeds))
    got = loaded.results(feeds, loaded.onnx_values(values))
    for name, expected in zip(got, run_model(str(path), feeds, list(got)), strict=True):
        np.testing.assert_allclose(got[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)
    assert judge_float(Reference(path, loaded, feeds), loaded, feeds, got).values > 0
    return loaded


def _kinds(loaded: FloatModel | QuantisedModel) -> list[str]:
    return [node.kind for node in loaded.share.host]


PICTURE: Value = ("x", FLOAT, ("N", 3, 8, 8))


def test_concatenation_keeps_the_rank_of_what_it_joins(tmp_path: Path) -> None:
    nodes = [
        _node("Conv", "x w", "c"), _node("GlobalAveragePool", "c", "g"), _node("Reshape", "g s", "r"),
        _node("Relu", "r", "p"), _node("Concat", "r p", "cat", axis=1), _node("Softmax", "cat", "o", axis=-1),
    ]  # fmt: skip
    model = _model(nodes, [PICTURE], [("o", FLOAT, (1, 12, 1))], w=_normal(6, 3, 1, 1), s=np.array([1, 6, 1]))
    assert _kinds(_runs(model, tmp_path)) == ["Softmax"]


def test_two_outputs_may_be_one_tensor_in_two_shapes(tmp_path: Path) -> None:
    nodes = [_node("Conv", "x w", "c"), _node("GlobalAveragePool", "c", "map"), _node("Flatten", "map", "flat")]
    outputs: list[Value] = [("map", FLOAT, None), ("flat", FLOAT, None)]
    loaded = _runs(_model(nodes, [PICTURE], outputs, w=_normal(6, 3, 3, 3)), tmp_path)
    assert [output.shape for output in loaded.outputs] == [(1, 6, 1, 1), (1, 6)]
    assert loaded.outputs[0].value == loaded.outputs[1].value


def test_values_from_host_to_host_never_touch_the_chip(tmp_path: Path) -> None:
    """Bits, integers, five dimensions and another leading one, between two layers."""
    nodes = [
        _node("Conv", "x w", "c", pads=[1] * 4), _node("Reshape", "c s5", "r"),
        _node("Transpose", "r", "t", perm=[1, 0, 2, 3, 4]), _node("Less", "t zero", "bits"),
        _node("Cast", "bits", "ints", to=INT64), _node("Cast", "ints", "f", to=FLOAT), _node("Mul", "t f", "m"),
        _node("Reshape", "m s4", "u"), _node("Conv", "u w2", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [PICTURE], [("y", FLOAT, None)], w=_normal(8, 3, 3, 3), s5=np.array([1, 2, 4, 8, 8]),
        s4=np.array([1, 8, 8, 8]), w2=_normal(4, 8, 1, 1), zero=np.float32(0),
    )  # fmt: skip
    loaded = _runs(model, tmp_path)
    assert [type(node).__name__ for node in loaded.graph.nodes] == ["Conv2d", "Host", "Conv2d"]
    assert _kinds(loaded) == ["Less", "Cast", "Cast", "Mul"]


def test_shape_arithmetic_of_a_dynamic_batch_folds(tmp_path: Path) -> None:
    nodes = [
        _node("Conv", "x w", "c"), _node("GlobalAveragePool", "c", "p"), _node("Shape", "p", "sh"),
        _node("Gather", "sh zero", "b", axis=0), _node("Unsqueeze", "b axis", "b1"),
        _node("Concat", "b1 minus", "to", axis=0), _node("Reshape", "p to", "f"), _node("Gemm", "f v", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [PICTURE], [("y", FLOAT, ("N", 5))], w=_normal(8, 3, 3, 3), zero=np.array(0), axis=np.array([0]),
        minus=np.array([-1]), v=_normal(8, 5),
    )  # fmt: skip
    loaded = _runs(model, tmp_path)
    assert not loaded.share.host
    assert not any(isinstance(node, Host) for node in loaded.graph.nodes)


@pytest.mark.parametrize("scale", [2.0**-5, 0.03])
def test_a_quantised_scalar_is_a_constant(scale: float, tmp_path: Path) -> None:
    nodes = [
        _node("QuantizeLinear", "x s z", "q"), _node("DequantizeLinear", "q s z", "d"),
        helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.float32(3))),
        _node("QuantizeLinear", "three s z", "tq"), _node("DequantizeLinear", "tq s z", "td"),
        _node("Add", "d td", "a"), _node("QuantizeLinear", "a s z", "aq"), _node("DequantizeLinear", "aq s z", "y"),
    ]  # fmt: skip
    model = _model(nodes, [PICTURE], [("y", FLOAT, None)], s=np.float32(scale), z=np.int8(-20))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path)
    assert isinstance(loaded, QuantisedModel)
    feeds = sample_feeds(loaded.inputs)
    tensors = require_equal_outputs(path, loaded, feeds)
    assert judge_quantised(Reference(path, loaded, feeds), loaded, feeds, tensors).output_difference == 0
    assert not loaded.share.host
    assert not any(isinstance(node, QHost) for node in loaded.graph.nodes)


def _several(outputs: list[Value]) -> onnx.ModelProto:
    """Two pictures, indices of any number, and bits; outputs of the chip and of the host, one of any size."""
    nodes = [
        _node("Conv", "a w", "ca", pads=[1] * 4), _node("Conv", "b w", "cb", pads=[1] * 4),
        _node("Concat", "ca cb", "cat", axis=1), _node("Conv", "cat w2", "y"),
        _node("Gather", "table ids", "e", axis=0), _node("ReduceMean", "e", "m", axes=[1], keepdims=0),
        _node("Gemm", "m wd", "z"), _node("Cast", "mask", "mf", to=FLOAT), _node("Mul", "z mf", "masked"),
        _node("ArgMax", "y", "best", axis=1),
        _node("NonZero", "best", "where"),
    ]  # fmt: skip
    inputs: list[Value] = [
        ("a", FLOAT, ("N", 3, 8, 8)), ("b", FLOAT, (-1, 3, 8, 8)), ("ids", INT64, ("N", "S")), ("mask", BOOL, (1, 7)),
    ]  # fmt: skip
    return _model(
        nodes, inputs, outputs, w=_normal(4, 3, 3, 3), w2=_normal(5, 8, 1, 1), table=_normal(50, 8), wd=_normal(8, 7)
    )


def test_several_inputs_and_outputs_of_any_type(tmp_path: Path) -> None:
    names = [("y", FLOAT), ("masked", FLOAT), ("best", INT64), ("where", INT64)]
    loaded = _runs(_several([(name, kind, None) for name, kind in names]), tmp_path, {"ids": (1, 5)}, seed=1)
    assert [port.shape for port in loaded.inputs] == [(1, 3, 8, 8), (1, 3, 8, 8), (1, 5), (1, 7)]
    assert [output.shape for output in loaded.outputs] == [(1, 5, 8, 8), (1, 7), (1, 1, 8, 8), None]
    assert _kinds(loaded) == ["Gather", "ReduceMean", "Cast", "Mul", "ArgMax", "NonZero"]
    feeds, note = load_feeds(loaded.inputs, [], 2, {})
    assert "input a: the picture; b, ids, mask: seeded values; IMAGE=file.npz sets all" in note
    assert not np.array_equal(feeds[0]["b"], feeds[1]["b"])
    np.savez(tmp_path / "inputs.npz", ids=np.full((1, 5), 7), mask=np.ones(7, bool))
    ((given,), _) = load_feeds(loaded.inputs, [tmp_path / "inputs.npz"], 1, {})
    assert (given["ids"] == 7).all()


@pytest.mark.parametrize(
    ("shapes", "line"),
    [
        (None, r"input 'ids' has dynamic shape \(N, S\); say SHAPE=ids=1,N, a number for N"),
        ({"idx": (1, 5)}, "SHAPE names 'idx', but the inputs are a, b, ids, mask"),
        ({"ids": (1, 5), "mask": (1, 8)}, r"input 'mask' has shape \(1, 7\), which SHAPE=\(1, 8\) does not fit"),
    ],
)
def test_shapes_that_are_missing_or_do_not_fit_are_named(
    shapes: dict[str, tuple[int, ...]] | None, line: str, tmp_path: Path
) -> None:
    with pytest.raises(OnnxError, match=line):
        _runs(_several([("y", FLOAT, None)]), tmp_path, shapes)


def test_an_older_operator_set_is_converted(tmp_path: Path) -> None:
    """Attributes that became inputs: of Pad, Clip and Squeeze; an input of which the file says -1."""
    nodes = [
        _node("Pad", "x", "p", pads=[0, 0, 1, 1, 0, 0, 1, 1]), _node("Conv", "p w", "c"),
        _node("Clip", "c", "k", min=0.0, max=2.0), _node("GlobalAveragePool", "k", "g"),
        _node("Squeeze", "g", "s", axes=[2, 3]), _node("Softmax", "s", "y"),
    ]  # fmt: skip
    model = _model(nodes, [("x", FLOAT, (-1, 3, 8, 8))], [("y", FLOAT, None)], opset=9, w=_normal(6, 3, 3, 3))
    model.ir_version = 4
    loaded = _runs(model, tmp_path)
    assert _kinds(loaded) == ["Softmax"]
    assert len(loaded.graph.nodes) == 3


def test_layout_before_the_first_layer_and_weights_of_half_precision(tmp_path: Path) -> None:
    """What depends on the inputs alone is done before the first launch."""
    nodes = [
        _node("Transpose", "x", "t", perm=[0, 3, 1, 2]), _node("Cast", "w16", "w", to=FLOAT), _node("Conv", "t w", "c"),
        _node("Relu", "c", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [("x", FLOAT, (1, 8, 8, 3))], [("y", FLOAT, None)], w16=_normal(4, 3, 3, 3).astype(np.float16)
    )
    loaded = _runs(model, tmp_path)
    assert (loaded.head.kinds, _kinds(loaded)) == ((), []), "the channels that the layer wants are those of the picture"
    ((feed,), note) = load_feeds(loaded.inputs, [], 1, {})
    assert feed["x"].shape == (1, 8, 8, 3)
    assert note == "", "a picture, its channels last"


def test_maps_of_several_sizes_are_joined_pixel_by_pixel(tmp_path: Path) -> None:
    """As detectors do; the last Concat, of what only the host has, is the host's, or one scale would hold both."""
    nodes = [_node("MaxPool", "x", "small", kernel_shape=[2, 2], strides=[2, 2])]
    for name in ("x", "small"):
        nodes += [_node("Conv", f"{name} w", f"c{name}"), _node("Reshape", f"c{name} flat", f"f{name}")]
        nodes.append(_node("Transpose", f"f{name}", f"t{name}", perm=[0, 2, 1]))
    nodes += [
        _node("Concat", "fx fsmall", "all", axis=2), _node("Split", "all sizes", "a b", axis=1),
        _node("Sigmoid", "b", "score"), _node("Softmax", "a", "soft", axis=1), _node("Mul", "soft hundred", "box"),
        _node("Concat", "box score", "y", axis=1), _node("Concat", "tx tsmall", "z", axis=1),
    ]  # fmt: skip
    model = _model(
        nodes, [PICTURE], [("y", FLOAT, None), ("z", FLOAT, None)], w=_normal(20, 3, 1, 1),
        flat=np.asarray([1, 20, -1]), sizes=np.asarray([4, 16]), hundred=_normal(1, 4, 80),
    )  # fmt: skip
    loaded = _runs(model, tmp_path)
    assert _kinds(loaded) == ["Sigmoid", "Softmax", "Mul", "Concat"]


def test_control_flow_and_what_depends_on_its_shapes_stay_on_the_host(tmp_path: Path) -> None:
    branches = [
        helper.make_graph([_node(kind, "c", out)], kind, [], [helper.make_tensor_value_info(out, FLOAT, None)])
        for kind, out in (("Relu", "then"), ("Neg", "else"))
    ]
    nodes = [
        _node("Conv", "x w", "c"), _node("ReduceMean", "c", "m", keepdims=0), _node("Greater", "m zero", "positive"),
        _node("If", "positive", "chosen", then_branch=branches[0], else_branch=branches[1]),
        _node("Conv", "chosen w2", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [PICTURE], [("y", FLOAT, None)], w=_normal(4, 3, 3, 3), w2=_normal(2, 4, 1, 1), zero=np.float32(0)
    )
    loaded = _runs(model, tmp_path)
    assert _kinds(loaded) == ["ReduceMean", "Greater", "If", "Conv"]
    assert "a shape that it reads depends on the data" in loaded.refusals["Conv_y"]


def test_weights_that_are_inputs_too_may_be_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("golden.onnx_import.model.ELEMENT_LIMIT", 64)
    model = _model(
        [_node("Gemm", "x w", "y")], [("x", FLOAT, (1, 32)), ("w", FLOAT, (32, 16))], [("y", FLOAT, None)],
        w=_normal(32, 16),
    )  # fmt: skip
    assert not _runs(model, tmp_path).share.host


def test_map_and_vector_reach_a_fully_connected_layer_alike(tmp_path: Path) -> None:
    """The host sees the input flat at once, which costs nothing."""
    nodes = [_node("Flatten", "x", "f"), _node("Gemm", "f w", "y")]
    loaded = _runs(_model(nodes, [("x", FLOAT, (1, 1, 8, 8))], [("y", FLOAT, None)], w=_normal(64, 5)), tmp_path)
    assert loaded.graph.input_shape == (64, 1, 1)
    assert not loaded.share.host
    assert len(loaded.graph.nodes) == 1


@pytest.mark.parametrize("sizes", [(1,), (4,)], ids=["per tensor", "per channel"])
def test_layers_that_quantise_their_input_as_it_comes_are_layers_of_the_chip(sizes: tuple[int], tmp_path: Path) -> None:
    """As quantize_dynamic makes them; what the chip does instead lies within a step of the file's own quantisation."""
    weight = np.random.default_rng(3).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    nodes = [
        _node("DynamicQuantizeLinear", "x", "q s z"), _node("ConvInteger", "q w z wz", "i", pads=[1] * 4),
        _node("Cast", "i", "f", to=FLOAT), _node("Mul", "s ws", "both"), _node("Mul", "f both", "m"),
        _node("Add", "m b", "a"), _node("Relu", "a", "r") if sizes == (1,) else _node("PRelu", "a slope", "r"),
        _node("Flatten", "r", "v"), _node("DynamicQuantizeLinear", "v", "q2 s2 z2"),
        _node("MatMulInteger", "q2 w2 z2 wz2", "i2"), _node("Cast", "i2", "f2", to=FLOAT),
        _node("Mul", "s2 ws2", "both2"), _node("Mul", "f2 both2", "y"),
    ]  # fmt: skip
    model = _model(
        nodes, [PICTURE], [("y", FLOAT, None)], w=weight, wz=np.zeros(sizes, np.int8)[0],
        ws=np.full((1,) if sizes == (1,) else (1, 4, 1, 1), 0.01, np.float32), b=_normal(1, 4, 1, 1),
        w2=np.random.default_rng(4).integers(0, 256, (256, 5)).astype(np.uint8), wz2=np.uint8(120),
        ws2=np.float32(0.02), slope=np.abs(_normal(4, 1, 1)) / 4,
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path)
    assert isinstance(loaded, FloatModel)
    assert not loaded.share.host
    assert len(loaded.dynamic) >= 2, "a PRelu has the first one twice"
    feeds = sample_feeds(loaded.inputs)
    values = run_float(loaded.bound(feeds), loaded.weights, loaded.image(feeds))
    got = loaded.results(feeds, loaded.onnx_values(values))
    found = Reference(path, loaded, feeds)
    assert 0 < np.abs(got["y"] - found.outputs["y"]).max() < 0.05 * np.abs(got["y"]).max()
    judge_float(found, loaded, feeds, got)
    with pytest.raises(DisagreementError, match="differs from ONNX Runtime's"):
        judge_float(found, replace(loaded, dynamic=frozenset()), feeds, got)


def test_a_fixed_batch_is_the_model_of_one_picture_where_pictures_do_not_meet(tmp_path: Path) -> None:
    nodes = [_node("Conv", "x w", "c"), _node("GlobalAveragePool", "c", "y")]
    model = _model(nodes, [("x", FLOAT, (3, 3, 8, 8))], [("y", FLOAT, (3, 4, 1, 1))], w=_normal(4, 3, 3, 3))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path)
    assert isinstance(loaded, FloatModel)
    assert (loaded.pictures, loaded.graph.input_shape) == (3, (3, 8, 8))
    feeds, _ = load_feeds(loaded.inputs, [], 3, {})
    values = run_float(loaded.graph, loaded.weights, loaded.image(feeds[0]))
    found = Reference(path, loaded, *feeds)
    assert judge_float(found, loaded, feeds[0], loaded.results(feeds[0], loaded.onnx_values(values))).values > 0
    nodes.insert(1, _node("ReduceMean", "c", "m", axes=[0], keepdims=1))
    nodes[2].input[0] = "m"
    model = _model(nodes, [("x", FLOAT, (3, 3, 8, 8))], [("y", FLOAT, None)], w=_normal(4, 3, 3, 3))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(OnnxError, match="nothing of model 'net' runs on the chip"):
        load_onnx(path)


def test_model_that_onnx_runtime_does_not_survive_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first contact is in a process of its own; here it ends at once."""
    monkeypatch.setattr("golden.onnx_import.trial.sys.executable", "false")
    monkeypatch.setattr("golden.onnx_import.trial._process", None)
    nodes = [_node("Conv", "x w", "c"), helper.make_node("QuickGelu", ["c"], ["y"], "gelu", domain="com.microsoft")]
    model = _model(nodes, [PICTURE], [("y", FLOAT, None)], w=_normal(4, 3, 3, 3))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(OnnxError, match=r"ONNX Runtime does not run model 'net' .* \(it brings ONNX Runtime down\)"):
        _runs(model, tmp_path)


def _branch(name: str, nodes: list[onnx.NodeProto], result: str, **constants: object) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(result, FLOAT, None)], tensors)


def _branches(condition: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A condition "c", and two Ifs of it whose branches use the same names, with layers and another If in them."""
    inner = [
        _branch(
            f"inner {channels}", [_node("Conv", "clamped filter", "made")], "made", filter=_normal(channels, 4, 1, 1)
        )
        for channels in (5, 6)
    ]
    branches = [
        _branch("then", [_node("Relu", "x", "made")], "made"),
        _branch(
            "else",
            [
                _node("Conv", "x kernel", "mapped"), _node("Relu", "mapped", "clamped"),
                _node("Shape", "clamped", "size"), _node("Gather", "size one", "channels"),
                _node("Equal", "channels four", "is_four"),
                _node("If", "is_four", "last", then_branch=inner[0], else_branch=inner[1]),
            ],
            "last", kernel=_normal(4, 3, 3, 3), one=1, four=4,
        ),
    ]  # fmt: skip
    ifs = [_node("If", "c", name, then_branch=branches[0], else_branch=branches[1]) for name in ("y", "z")]
    results: list[Value] = [("y", FLOAT, None), ("z", FLOAT, None)]
    return _model([*condition, *ifs], [PICTURE, ("mode", INT64, ())], results, three=3)


def test_branches_that_shapes_decide_are_taken_and_run_on_the_chip(tmp_path: Path) -> None:
    shape = [_node("Shape", "x", "shape"), _node("ReduceMax", "shape", "most", keepdims=0)]
    loaded = _runs(_branches([*shape, _node("Equal", "most three", "c")]), tmp_path, {"x": (1, 3, 8, 8)})
    assert _kinds(loaded) == []
    assert [node.out_channels for node in loaded.graph.nodes if isinstance(node, Conv2d)] == [4, 5, 4, 5]


def test_branches_that_an_input_decides_run_on_the_host_until_it_is_a_constant(tmp_path: Path) -> None:
    model = _branches([_node("Equal", "mode three", "c")])
    with pytest.raises(OnnxError, match="condition 'c' depends on the inputs; make what decides it a constant"):
        _runs(model, tmp_path)
    del model.graph.input[1]
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(4), "mode"))
    assert _kinds(_runs(model, tmp_path)) == []
