"""Imported models against ONNX Runtime: the same bits for power-of-two scales, all but ties for others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from golden.int8 import ops
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx
from tests.onnx_judge import explain, judge, outputs, session
from tests.onnx_models import FORMS, IDS, QuantBuilder, float_model, quantised_model


def _imported(model: onnx.ModelProto, folder: Path) -> QGraph:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path)
    assert isinstance(loaded, QuantisedModel)
    return loaded.graph


def _image(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_power_of_two_scales_give_the_same_bits(seed: int, qdq: bool, unsigned: bool, tmp_path: Path) -> None:
    model, (_, shape, _, _) = quantised_model(seed, power_of_two=True, qdq=qdq, unsigned=unsigned)
    graph, image = _imported(model, tmp_path), _image(shape, seed)
    tensors = ops.run(graph, image)
    for name, expected in outputs(model, graph, image).items():
        np.testing.assert_array_equal(tensors[name], expected)


@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_arbitrary_scales_differ_by_explained_ties_alone(qdq: bool, unsigned: bool, tmp_path: Path) -> None:
    verdicts = []
    for seed in range(100, 124):
        model, (_, shape, _, _) = quantised_model(seed, power_of_two=False, qdq=qdq, unsigned=unsigned)
        verdicts.append(judge(model, _imported(model, tmp_path), _image(shape, seed)))
    assert sum(verdict.ties for verdict in verdicts) <= sum(verdict.elements for verdict in verdicts) / 1000


@pytest.mark.parametrize("size", [6, 7, 10, 14])
@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_global_average_of_any_area_differs_by_explained_ties_alone(
    size: int, qdq: bool, unsigned: bool, tmp_path: Path
) -> None:
    """Between power-of-two scales too: 1/36 is no float32, so sums on ties fall to either side."""
    b = QuantBuilder(size, power_of_two=True, qdq=qdq, unsigned=unsigned)
    shape, scale = (512, size, size), np.float32(0.25)
    x = ("image", shape, scale, 3)
    if qdq:
        y = b.write(b.node("GlobalAveragePool", [b.real(x)]), (512, 1, 1), scale / 2, 3)
    else:
        inputs = [x[0], *b.params(scale, 3), *b.params(np.float32(scale / 2), 3)]
        y = (b.node("QLinearGlobalAveragePool", inputs, "com.microsoft", channels_last=0),)
    model = b.model(("image", b.kind, [1, *shape]), [(y[0], b.kind, 4)])
    assert judge(model, _imported(model, tmp_path), _image(shape, size)).elements == 512


def test_difference_that_is_no_tie_is_not_explained(tmp_path: Path) -> None:
    model, (_, shape, _, _) = quantised_model(3, power_of_two=False, qdq=False, unsigned=False)
    graph, image = _imported(model, tmp_path), _image(shape, 3)
    tensors = ops.run(graph, image)
    node = next(node for node in graph.nodes if isinstance(node, QConv))
    got = int(tensors[node.output][0, 0, 0])
    other = got + 1 if got < 127 else got - 1
    with pytest.raises(AssertionError, match="float32 explains"):
        explain(node, tensors, (0, 0, 0), got, other)


@pytest.mark.parametrize("seed", range(4))
def test_float_model_computes_what_onnx_runtime_does(seed: int, tmp_path: Path) -> None:
    model = float_model(seed)
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    loaded = load_onnx(path)
    assert isinstance(loaded, FloatModel)
    image = np.random.default_rng(seed).normal(size=(3, 8, 8)).astype(np.float32)
    values = ops.run_float(loaded.graph, loaded.weights, image)
    (expected,) = session(model).run(None, {"image": image[None]})
    got = values[loaded.graph.outputs[0]].reshape(-1)
    np.testing.assert_allclose(got, np.asarray(expected).reshape(-1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("zero", [3, 4])
@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_average_pool_rounds_as_onnx_runtime_does(qdq: bool, unsigned: bool, zero: int, tmp_path: Path) -> None:
    dtype = np.dtype(np.uint8 if unsigned else np.int8)
    kind, quarter, attributes = helper.np_dtype_to_tensor_dtype(dtype), np.float32(0.25), {"kernel_shape": [2, 2]}
    constants = {"s": quarter, "z": dtype.type(5), "s2": quarter, "z2": dtype.type(zero)}
    nodes = [helper.make_node("QLinearAveragePool", ["x", "s", "z", "s2", "z2"], ["y"], domain="com.microsoft",
                              **attributes)]  # fmt: skip
    if qdq:
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
            helper.make_node("AveragePool", ["d"], ["e"], **attributes),
            helper.make_node("QuantizeLinear", ["e", "s2", "z2"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", kind, [1, 3, 9, 9])],
        [helper.make_tensor_value_info("y", kind, [1, 3, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = load_onnx(tmp_path / "model.onnx")
    assert isinstance(loaded, QuantisedModel)
    raw = np.random.default_rng(0).integers(-128, 128, (3, 9, 9)).astype(np.int8)
    shift = 128 * unsigned
    (expected,) = session(model).run(None, {"x": (raw.astype(np.int16) + shift).astype(dtype)[None]})
    got = ops.run(loaded.graph, raw)[loaded.graph.outputs[0]].astype(np.int16) + shift
    np.testing.assert_array_equal(got, np.asarray(expected)[0])
