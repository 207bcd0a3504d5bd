"""Imported models against ONNX Runtime: the same bits for power-of-two scales, all but ties for others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from golden import ops
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx
from tests.onnx_judge import explain, judge, session
from tests.onnx_models import FORMS, IDS, float_model, quantised_model

def differences(seed: int, tmp_path: Path, *, power_of_two: bool, qdq: bool, unsigned: bool) -> np.ndarray:
    """Difference of every output element between golden.ops and ONNX Runtime."""
    model, (name, shape, _, _) = quantised_model(seed, power_of_two=power_of_two, qdq=qdq, unsigned=unsigned)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = load_onnx(path)
    assert isinstance(loaded, QuantisedModel)
    raw = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    shift = 128 if unsigned else 0
    image = (raw.astype(np.int16) + shift).astype(np.uint8 if unsigned else np.int8)
    judged = session(model).run(None, {name: image[None]})
    tensors = ops.run(loaded.graph, raw)
    found = []
    for output, expected in zip(loaded.graph.outputs, judged, strict=True):
        got = tensors[output].astype(np.int16) + shift
        found.append(got.reshape(-1) - np.asarray(expected).reshape(-1).astype(np.int16))
    return np.concatenate(found)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_power_of_two_scales_give_the_same_bits(seed: int, qdq: bool, unsigned: bool, tmp_path: Path) -> None:
    wrong = differences(seed, tmp_path, power_of_two=True, qdq=qdq, unsigned=unsigned)
    assert not wrong.any()


@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_arbitrary_scales_differ_by_rounding_ties_alone(qdq: bool, unsigned: bool, tmp_path: Path) -> None:
    wrong = [
        differences(seed, tmp_path, power_of_two=False, qdq=qdq, unsigned=unsigned) for seed in range(100, 124)
    ]
    every = np.concatenate(wrong)
    assert np.abs(every).max() <= 1
    assert np.count_nonzero(every) <= every.size // 1000


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
