"""Import of ONNX files: what is refused, in one line each, and what folds away."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.errors import OnnxError
from golden.int8.qnodes import QConv, QPool
from golden.int8.quant import quantisation_error, quantize
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx
from tests.onnx_faults import FAULTS, mutate, mutate_bytes
from tests.onnx_models import float_model, host_model, quantised_model, real_host_model

MOST_KILOBYTES = 600_000
"""That the process may grow by while damaged files are read: a few values of the largest permitted size."""


def _quantised(seed: int = 0, *, qdq: bool = False) -> onnx.ModelProto:
    return quantised_model(seed, power_of_two=False, qdq=qdq, unsigned=False)[0]


FORMS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "qlinear": _quantised,
    "qdq": lambda seed: _quantised(seed, qdq=True),
    "float": float_model,
    "host": host_model,
    "real_host": real_host_model,
}


def _load(
    model: onnx.ModelProto, folder: Path, shape: tuple[int, ...] | None = None, *, refuse: bool = False
) -> QuantisedModel | FloatModel:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_onnx(path, shape, refuse=refuse)


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_model_is_refused_in_one_line_that_names_the_culprit(fault: str, refuse: bool, tmp_path: Path) -> None:
    change, line = FAULTS[fault]
    model = _quantised()
    change(model)
    with pytest.raises(OnnxError, match=line) as raised:
        _load(model, tmp_path, refuse=refuse)
    assert "\n" not in str(raised.value)


def test_operator_of_a_foreign_domain_is_refused_by_its_name(tmp_path: Path) -> None:
    model = _quantised()
    model.graph.node[0].domain = "my.own"
    line = r"node '.*' \(my.own.QLinearConv\): domain 'my.own' is not ONNX Runtime's; replace the custom operator"
    with pytest.raises(OnnxError, match=line):
        _load(model, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x89PNG\r\n\x1a\n" * 9])
def test_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(OnnxError, match=r"model\.onnx"):
        load_onnx(tmp_path / "model.onnx")


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    content = _quantised().SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(OnnxError, match="truncated or no ONNX file"):
        load_onnx(tmp_path / "model.onnx")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match=r"nowhere\.onnx' does not exist; check NET"):
        load_onnx(tmp_path / "nowhere.onnx")


def test_shape_settles_an_open_input(tmp_path: Path) -> None:
    model = float_model(0)
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "open"
    loaded = _load(model, tmp_path, (3, 8, 8))
    assert isinstance(loaded, FloatModel)
    assert loaded.graph.input_shape == (3, 8, 8)
    with pytest.raises(OnnxError, match="input 'image' has dynamic shape"):
        _load(model, tmp_path)


def test_shape_against_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match=r"has shape \(1, 3, 8, 8\), which SHAPE=\(3, 9, 9\) does not fit"):
        _load(float_model(0), tmp_path, (3, 9, 9))


def test_float_model_folds_normalisation_and_padding_and_quantises(tmp_path: Path) -> None:
    loaded = _load(float_model(1, 32), tmp_path)
    assert isinstance(loaded, FloatModel)
    images = [np.random.default_rng(s).normal(size=(3, 32, 32)).astype(np.float32) for s in range(3)]
    graph = quantize(loaded.graph, loaded.weights, images, percentile=99.99)
    kinds = [node.op for node in graph.nodes]
    assert kinds.count("conv") == 3
    assert kinds.count("fc") == 2
    assert next(n for n in reversed(graph.nodes) if isinstance(n, QConv) and n.op == "conv").padding == (1, 1, 1, 1)
    error = quantisation_error(loaded.graph, loaded.weights, graph, images[0])
    assert 0 < error.relative < 0.1


def test_shape_that_inference_contradicts_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault of the import, which no input can cause: it must not pass for a wrong value further on."""
    monkeypatch.setattr("golden.onnx_import.floats.reshaped", lambda op, shape, _: shape[1:])
    with pytest.raises(OnnxError, match=r"node '.*' \(Dropout\): its output was taken for .*, but is .*report"):
        _load(float_model(0), tmp_path)


def test_dilated_pool_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[3, 3], pads=[2] * 4, dilations=[2, 2])
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph([node], "net", [source], [result])
    with pytest.raises(OnnxError, match=r"node 'pool' \(MaxPool\): dilations are \(2, 2\)"):
        _load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)


def test_picture_in_float_meets_its_quantizer_and_a_relu_becomes_a_clamp(tmp_path: Path) -> None:
    def constant(name: str, value: object) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value), name)

    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Relu", ["d"], ["r"], "relu"),
        helper.make_node("QuantizeLinear", ["r", "s2", "z2"], ["y"]),
    ]
    constants = [constant("s", np.float32(0.1)), constant("z", np.uint8(100)), constant("s2", np.float32(0.2)),
                 constant("z2", np.uint8(7))]  # fmt: skip
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "net", [source], [result], constants)
    loaded = _load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)
    assert isinstance(loaded, QuantisedModel)
    (node,) = loaded.graph.nodes
    assert isinstance(node, QPool)
    assert node.requant is not None
    assert (node.requant.zero_point, node.requant.lo) == (7 - 128, 7 - 128)
    assert loaded.graph.tensors[loaded.graph.input].zero_point == 100 - 128


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """Whatever a damaged file asks for, the process stays small."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", FORMS)
def test_mutated_bytes_give_an_error_line_or_a_network(form: str, seed: int, tmp_path: Path) -> None:
    content = FORMS[form](seed).SerializeToString()
    rng = np.random.default_rng(seed)
    for number in range(60):
        _survives(mutate_bytes(content, rng), tmp_path, refuse=number % 2 == 1)


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", FORMS)
def test_mutated_fields_give_an_error_line_or_a_network(form: str, seed: int, tmp_path: Path) -> None:
    base = FORMS[form](seed)
    rng = np.random.default_rng(seed)
    for number in range(60):
        model = onnx.ModelProto()
        model.CopyFrom(base)
        for _ in range(int(rng.integers(1, 3))):
            mutate(model, rng)
        _survives(model.SerializeToString(), tmp_path, refuse=number % 2 == 1)


def _survives(content: bytes, folder: Path, *, refuse: bool) -> None:
    path = folder / "model.onnx"
    path.write_bytes(content)
    message = "'"
    try:
        load_onnx(path, refuse=refuse)
    except OnnxError as error:
        message = str(error)
    assert re.search(r"'|model|node|tensor|input", message)
    assert "\n" not in message
