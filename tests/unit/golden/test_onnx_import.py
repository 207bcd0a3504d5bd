"""Import of ONNX files: what is refused, in one line each, and what folds away."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.errors import GoldenError, OnnxError
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx
from golden.onnx_import.model import ELEMENTWISE_OPS
from golden.qnodes import QConv, QPool
from golden.quant import quantisation_error, quantize
from tests.onnx_models import float_model, quantised_model

Change = Callable[[onnx.ModelProto], object]


def _quantised(seed: int = 0, *, qdq: bool = False) -> onnx.ModelProto:
    return quantised_model(seed, power_of_two=False, qdq=qdq, unsigned=False)[0]


def _load(model: onnx.ModelProto, folder: Path, shape: tuple[int, ...] | None = None) -> QuantisedModel | FloatModel:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_onnx(path, shape)


def _set_scale(value: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if "scale" in t.name)
        tensor.CopyFrom(numpy_helper.from_array(np.float32(value), tensor.name))

    return change


def _other_scale_for_the_reader(model: onnx.ModelProto) -> None:
    node = model.graph.node[-1]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.123), "other"))
    node.input[1] = "other"


def _cycle(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    nodes[0].input[0] = nodes[1].output[0]


def _open_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def _first_op(kind: str, domain: str = "") -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type, model.graph.node[0].domain = kind, domain

    return change


def _input_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _drop_weight(model: onnx.ModelProto) -> None:
    name = model.graph.node[0].input[3]
    tensor = next(t for t in model.graph.initializer if t.name == name)
    model.graph.initializer.remove(tensor)


def _opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 11


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_set_scale(0.0), r"node '/QLinearConv_\d+' \(QLinearConv\): scale '/scale_\d+' is 0.0; scales must be"),
        (_set_scale(float("nan")), r"scale '/scale_\d+' is nan"),
        (_set_scale(float("inf")), r"scale '/scale_\d+' is inf"),
        (_other_scale_for_the_reader, r"inconsistent quantisation parameters of '/\w+:0': written with scale"),
        (_cycle, r"node '/QLinearConv_\d+' \(QLinearConv\): is on a cycle or behind one"),
        (_open_height, r"input 'image' has dynamic shape \(1, \d+, height, \d+\); say SHAPE=C,H,W"),
        (_first_op("Softmax"), r"node '.*' \(Softmax\): operator Softmax cannot run on the chip; supported are Abs,"),
        (_first_op("Conv", "my.own"), r"operator my.own.Conv cannot run on the chip"),
        (_input_type, r"input 'image' has data type double; supported are float32, uint8, int8"),
        (_drop_weight, r"node '.*' \(QLinearConv\): reads '/c_\d+', which is no input, initialiser"),
        (_opset, r"has opset 11; convert it to 13 or later"),
    ],
)  # fmt: skip
def test_bad_model_is_refused_in_one_line_that_names_the_culprit(change: Change, line: str, tmp_path: Path) -> None:
    model = _quantised()
    change(model)
    # A scale is only read by what computes; the checker may see other faults first.
    with pytest.raises(OnnxError, match=line) as raised:
        _load(model, tmp_path)
    assert "\n" not in str(raised.value)


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


def test_average_without_its_padding_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("AveragePool", ["x"], ["y"], "pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph([node], "net", [source], [result])
    with pytest.raises(OnnxError, match=r"node 'pool' \(AveragePool\): its padded windows have fewer elements"):
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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", ["qlinear", "qdq", "float"])
def test_mutated_bytes_give_an_error_line_or_a_network(form: str, seed: int, tmp_path: Path) -> None:
    model = float_model(seed) if form == "float" else _quantised(seed, qdq=form == "qdq")
    content = model.SerializeToString()
    rng = np.random.default_rng(seed)
    for _ in range(100):
        data = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        if rng.random() < 0.2:
            del data[int(rng.integers(len(data))) :]
        _survives(bytes(data), tmp_path)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", ["qlinear", "qdq", "float"])
def test_mutated_fields_give_an_error_line_or_a_network(form: str, seed: int, tmp_path: Path) -> None:
    base = float_model(seed) if form == "float" else _quantised(seed, qdq=form == "qdq")
    rng = np.random.default_rng(seed)
    for _ in range(60):
        model = onnx.ModelProto()
        model.CopyFrom(base)
        for _ in range(int(rng.integers(1, 3))):
            _mutate(model, rng)
        _survives(model.SerializeToString(), tmp_path)


def _mutate(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    nodes = model.graph.node
    node = nodes[int(rng.integers(len(nodes)))]
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    if not node.input:
        return
    match int(rng.integers(8)):
        case 0:
            node.input[int(rng.integers(len(node.input)))] = nodes[int(rng.integers(len(nodes)))].output[0]
        case 1:
            node.input[int(rng.integers(len(node.input)))] = tensor.name
        case 2:
            del node.input[int(rng.integers(len(node.input))) :]
        case 3:
            others = ["Flatten", "Pad", "Squeeze", "ReduceMean", "Softmax", *sorted(ELEMENTWISE_OPS)]
            kinds = [[n.op_type for n in nodes], others][int(rng.integers(2))]
            node.op_type = str(rng.choice(kinds))
        case 4 if node.attribute:
            attribute = node.attribute[int(rng.integers(len(node.attribute)))]
            attribute.i = int(rng.integers(-3, 5))
            if attribute.ints:
                attribute.ints[int(rng.integers(len(attribute.ints)))] = int(rng.integers(-3, 1 << 20))
        case 5:
            array = numpy_helper.to_array(tensor)
            changed = rng.choice([np.float32(np.nan), np.float32(1e38), np.float32(0), np.float32(-5)])
            with np.errstate(invalid="ignore"):
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, changed), tensor.name))
        case 6:
            kind = rng.choice([np.float16, np.float64, np.int16, np.uint8, np.int32])
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(kind), tensor.name))
        case _:
            array = numpy_helper.to_array(tensor).reshape(-1)[: int(rng.integers(4))]
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _survives(content: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(content)
    message = "'"
    try:
        load_onnx(path)
    except GoldenError as error:
        message = str(error)
    assert re.search(r"'|model|node|tensor|input", message)
    assert "\n" not in message
