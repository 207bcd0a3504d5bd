"""ONNX Runtime as the judge of every import: what it must notice, what it must let pass, and what it says besides."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.errors import DisagreementError, OnnxError
from golden.int8 import ops
from golden.int8.fallback import INTEGERS, HostPart, RuntimeRefusal, run_model
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConcat, QConv, QHost, QPool
from golden.net.activations import Expression, Term
from golden.net.graph import Add, AvgPool, Concat, Conv2d, Graph, Host, Linear, MaxPool
from golden.onnx_import import (
    FloatModel,
    Judgement,
    QuantisedModel,
    Reference,
    judge_float,
    judge_quantised,
    load_onnx,
    sample_feeds,
)
from golden.onnx_import.judge import products_saturate
from tests.onnx_judge import bytes_for, require_equal_outputs
from tests.onnx_models import FORMS, IDS, FloatBuilder, QuantBuilder, quantised_model
from tests.onnx_random import quantised_random_model


def _load(model: onnx.ModelProto, folder: Path) -> tuple[Path, Any]:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path, load_onnx(path)


def _judged(path: Path, model: FloatModel, seed: int = 0) -> Judgement:
    feeds = sample_feeds(model.inputs, seed)
    values = ops.run_float(model.bound(feeds), model.weights, model.image(feeds))
    real = model.results(feeds, model.onnx_values(values))
    return judge_float(Reference(path, model, feeds), model, feeds, real)


def _integers(path: Path, model: QuantisedModel, seed: int = 0) -> Judgement:
    feeds = bytes_for(model, seed) if model.inputs[0].dtype in INTEGERS else sample_feeds(model.inputs, seed)
    tensors = ops.run(model.bound([feeds]), model.image(feeds))
    return judge_quantised(Reference(path, model, feeds), model, feeds, tensors)


# Float models: every kind of node with a fault that only the import can have.


def _everything(folder: Path) -> tuple[Path, FloatModel]:
    b = FloatBuilder(0)
    x = b.conv(("image", (3, 8, 8)), 8, normalise=True)
    pooled = b.node("MaxPool", [x[0]], kernel_shape=[2, 2], strides=[2, 2])
    y = b.conv((pooled, (8, 4, 4)), 8, normalise=False)
    soft = b.node("Softmax", [pooled], axis=1)
    joined = b.node("Concat", [b.node("Add", [y[0], soft]), b.node("Tanh", [y[0]]), soft], axis=1)
    average = b.node("AveragePool", [joined], kernel_shape=[2, 2], strides=[2, 2])
    dense = b.node("Gemm", [b.node("Flatten", [average]), b.array(5, 96), b.array(5)], transB=1)
    path, loaded = _load(b.model(("image", TensorProto.FLOAT, [1, 3, 8, 8]), [(dense, TensorProto.FLOAT, 2)]), folder)
    assert isinstance(loaded, FloatModel)
    return path, loaded


def _other_axis(part: HostPart) -> HostPart:
    proto = onnx.load_model_from_string(part.model)
    (softmax,) = (node for node in proto.graph.node if node.op_type == "Softmax")
    softmax.attribute[0].i = 2
    return replace(part, model=proto.SerializeToString())


NODE_FAULTS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "padding of a convolution": (Conv2d, lambda node: replace(node, padding=(2, 2, 0, 0))),
    "window of a maximum": (MaxPool, lambda node: AvgPool(node.name, node.input, node.kernel, node.stride)),
    "divisor of an average": (AvgPool, lambda node: MaxPool(node.name, node.input, node.kernel, node.stride)),
    "operand of a sum": (Add, lambda node: replace(node, b=node.a)),
    "order of a concatenation": (Concat, lambda node: replace(node, parts=node.parts[::-1])),
    "axis on the host": (Host, lambda node: replace(node, part=_other_axis(node.part))),
    "function": (Expression, lambda node: replace(node, terms=(Term("Softsign", (0,)),))),
}


@pytest.mark.parametrize("fault", NODE_FAULTS)
def test_fault_of_an_imported_node_is_named(fault: str, tmp_path: Path) -> None:
    path, model = _everything(tmp_path)
    kind, change = NODE_FAULTS[fault]
    node = next(node for node in model.graph.nodes if isinstance(node, kind))
    nodes = tuple(change(other) if other is node else other for other in model.graph.nodes)
    graph = Graph(model.graph.name, model.graph.input, model.graph.input_shape, nodes, model.graph.outputs)
    line = rf"^output '/Gemm_\d+:0' differs from .* unchanged file by .*; the first value .* of node '{node.name}'"
    with pytest.raises(DisagreementError, match=line) as raised:
        _judged(path, replace(model, graph=graph))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("kind", [Conv2d, Linear])
def test_weights_that_are_off_by_a_hundredth_are_noticed(kind: type, part: str, tmp_path: Path) -> None:
    path, model = _everything(tmp_path)
    node = next(node for node in model.graph.nodes if isinstance(node, kind))
    key = f"{node.name}.{part}"
    with pytest.raises(DisagreementError, match=node.name):
        _judged(path, replace(model, weights=model.weights | {key: model.weights[key] * np.float32(1.01)}))


def test_output_of_another_shape_is_noticed(tmp_path: Path) -> None:
    path, model = _everything(tmp_path)
    (output,) = model.outputs
    with pytest.raises(DisagreementError, match=r"has shape \(5,\), but ONNX Runtime gives \(1, 5\)"):
        _judged(path, replace(model, outputs=(replace(output, shape=(5,)),)))


def _deep(b: FloatBuilder) -> tuple[str, list[int]]:
    """Sixty convolutions, with normalisations around large means."""
    x = b.conv(("image", (3, 8, 8)), 12, normalise=False)[0]
    for _ in range(60):
        y = b.node("Conv", [x, b.array(12, 12, 3, 3, low=-0.3, high=0.3)], pads=[1] * 4)
        far = [b.array(12), b.array(12), b.array(12, low=300, high=301), b.array(12, low=0.5)]
        y = b.node("BatchNormalization", [y, *far])
        x = b.node("Relu", [b.node("BatchNormalization", [y, *(b.array(12, low=0.5) for _ in range(4))])])
        scale = b.constant(np.float32(0.01))
        x = b.node("Mul", [x, scale])
    return x, [1, 3, 8, 8]


def _wide(b: FloatBuilder) -> tuple[str, list[int]]:
    """Sums of 25,000 products that mostly cancel, as large as VGG's."""
    return b.node("Gemm", ["image", b.array(25088, 16), b.array(16)]), [1, 25088]


def _curved(b: FloatBuilder) -> tuple[str, list[int]]:
    """Functions at the ends of their ranges, and differences of them."""
    x = b.conv(("image", (3, 8, 8)), 4, normalise=False)[0]
    large = b.node("Mul", [x, b.constant(np.float32(30))])
    gate = b.node("Sub", [b.constant(np.float32(1)), b.node("Sigmoid", [large])])
    steep = b.node("Mul", [b.node("Erf", [gate]), b.constant(np.float32(1e4))])
    return b.node("Add", [b.node("Exp", [b.node("Tanh", [steep])]), b.node("Softplus", [large])]), [1, 3, 8, 8]


def _jumping(b: FloatBuilder) -> tuple[str, list[int]]:
    """A rounding on the host, which makes ones of the last bits of what is before it."""
    x = b.conv(("image", (3, 8, 8)), 16, normalise=True)[0]
    return b.conv((b.node("Floor", [x]), (16, 8, 8)), 4, normalise=False)[0], [1, 3, 8, 8]


@pytest.mark.parametrize("make", [_deep, _wide, _curved, _jumping])
def test_rounding_is_no_fault(make: Callable[[FloatBuilder], tuple[str, list[int]]], tmp_path: Path) -> None:
    for seed in range(3):
        b = FloatBuilder(seed)
        name, shape = make(b)
        path, model = _load(
            b.model(("image", TensorProto.FLOAT, shape), [(name, TensorProto.FLOAT, len(shape))]), tmp_path
        )
        found = _judged(path, model, seed)
        assert found.real
        assert found.values > 0


# Quantised models.

QUANTISED_FAULTS: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "bias": (QConv, lambda node: replace(node, bias=node.bias + (1 << 12))),
    "clamp": (QConv, lambda node: replace(node, requant=replace(node.requant, hi=10))),
    "padding": (QConv, lambda node: replace(node, pad_value=node.pad_value ^ 1)),
    "weights of a sum": (QAdd, lambda node: replace(node, weights=node.weights[::-1])),
    "window": (QPool, lambda node: replace(node, pad_value=0, requant=None, op="maxpool", bias=0)),
    "order of a concatenation": (QConcat, lambda node: replace(node, inputs=node.inputs[::-1])),
    "axis on the host": (QHost, lambda node: replace(node, part=_other_axis(node.part))),
}


@pytest.mark.parametrize("fault", QUANTISED_FAULTS)
def test_fault_of_an_imported_integer_node_is_named(fault: str, tmp_path: Path) -> None:
    b = QuantBuilder(3, power_of_two=False, qdq=True, unsigned=False)
    x = b.conv(("image", (4, 8, 8), np.float32(0.03), 3), same=True)
    total = b.add(x, b.conv(x, same=True))
    soft = b.write(b.node("Softmax", [b.real(total)], axis=1), total[1], np.float32(2.0**-8), 0)
    joined = b.concat([soft, b.write(b.real(total), total[1], soft[2], soft[3])])
    y = b.average(joined)
    path, model = _load(b.model(("image", b.kind, [1, 4, 8, 8]), [(y[0], b.kind, 4)]), tmp_path)
    assert _integers(path, model).values
    kind, change = QUANTISED_FAULTS[fault]
    node = [node for node in model.graph.nodes if isinstance(node, kind)][-1]
    nodes = tuple(change(other) if other is node else other for other in model.graph.nodes)
    graph = QGraph(model.graph.name, model.graph.input, model.graph.outputs, model.graph.tensors, nodes)
    with pytest.raises(DisagreementError, match=rf"of node '{node.name}': by \d+ in .* that lie on no rounding tie"):
        _integers(path, replace(model, graph=graph))


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_integer_models_of_any_rank_are_the_files(first: int, tmp_path: Path) -> None:
    """Every node between QuantizeLinear and DequantizeLinear; what differs is a rounding tie, and few are."""
    values = ties = 0
    hosted = 0
    for seed in range(first, first + 40):
        try:
            path, model = _load(quantised_random_model(seed), tmp_path)
        except OnnxError as error:
            if "runs on the chip; its largest part: node" not in str(error):
                raise
            hosted += 1
            continue
        found = _integers(path, model, seed)
        assert not found.refusal
        values, ties = values + found.values, ties + found.ties
    assert ties <= values / 50  # averages meet them between scales that are powers of two
    assert hosted <= 20  # all of whose layers are products of more than two dimensions


@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_networks_differ_by_explained_ties_alone(qdq: bool, unsigned: bool, tmp_path: Path) -> None:
    for seed in range(8):
        model, _ = quantised_model(seed, power_of_two=bool(seed % 2), qdq=qdq, unsigned=unsigned)
        path, loaded = _load(model, tmp_path)
        found = _integers(path, loaded, seed)
        assert not found.real
        assert found.output_difference is not None
        assert found.output_difference <= 1


def _faulty_sums(folder: Path) -> tuple[Path, QuantisedModel]:
    model, _ = quantised_model(0, power_of_two=False, qdq=False, unsigned=True)
    path, loaded = _load(model, folder)
    nodes = list(loaded.graph.nodes)
    nodes[0] = replace(nodes[0], bias=nodes[0].bias + (1 << 12))
    graph = QGraph(loaded.graph.name, loaded.graph.input, loaded.graph.outputs, loaded.graph.tensors, tuple(nodes))
    return path, replace(loaded, graph=graph)


def test_processor_whose_sums_saturate_is_no_judge_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, faulty = _faulty_sums(tmp_path)
    monkeypatch.setattr("golden.onnx_import.judge.products_saturate", lambda: False)
    with pytest.raises(DisagreementError, match="lie on no rounding tie"):
        _integers(path, faulty)
    monkeypatch.setattr("golden.onnx_import.judge.products_saturate", lambda: True)
    assert _integers(path, faulty).saturated > 0


def test_sums_saturate_where_the_products_of_the_largest_values_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for sums, saturates in ((64 * 255 * 127, False), (32 * 32767, True)):
        monkeypatch.setattr("golden.onnx_import.judge.run_model", lambda *_, s=sums: [np.full((1, 64), s)])
        products_saturate.cache_clear()
        assert products_saturate() == saturates
    products_saturate.cache_clear()


# Outputs of every kind.


def _outputs_model(names: list[str], *, shapes: bool) -> onnx.ModelProto:
    """A convolution; views of it and of the input; a constant, and a product of constants."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["map"]),
        helper.make_node("Flatten", ["map"], ["flat"]),
        helper.make_node("Relu", ["map"], ["clamped"]),
        helper.make_node("Softmax", ["clamped"], ["hosted"], axis=-1),
        helper.make_node("Pad", ["map", "pads"], ["padded"]),
        helper.make_node("Identity", ["image"], ["same"]),
        helper.make_node("Flatten", ["image"], ["flat image"]),
        helper.make_node("Mul", ["k", "k"], ["square"]),
    ]
    known = {"map": [1, 6, 6, 6], "k": [2], "image": [1, 3, 8, 8]}
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 3, 3, 3)).astype(np.float32)
    constants = {"w": weight, "k": np.float32([2, 3]), "pads": np.array([0, 0, 1, 1] * 2)}
    results = [onnx.ValueInfoProto(name=name) for name in names]
    if shapes:
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, known.get(name)) for name in names]
    graph = helper.make_graph(
        nodes, "outputs", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])], results,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("shapes", [True, False], ids=["typed", "nameless"])
@pytest.mark.parametrize(
    "names",
    [
        ["map", "flat"],
        ["flat", "map", "flat"],
        ["map", "clamped", "hosted", "padded"],
        ["map", "image"],
        ["same", "flat image", "map"],
        ["k", "map", "square"],
    ],
    ids="+".join,
)
def test_every_output_of_a_model_is_computed_and_compared(names: list[str], shapes: bool, tmp_path: Path) -> None:
    path, model = _load(_outputs_model(names, shapes=shapes), tmp_path)
    assert [output.name for output in model.outputs] == names
    assert _judged(path, model).values > 0
    feeds = sample_feeds(model.inputs)
    values = ops.run_float(model.bound(feeds), model.weights, model.image(feeds))
    results = model.results(feeds, model.onnx_values(values))
    unique = list(dict.fromkeys(names))
    found = dict(zip(unique, run_model(str(path), feeds, unique), strict=True))
    for output in model.outputs:
        assert output.shape == found[output.name].shape
        assert output.constant == (output.name in ("k", "square"))
        assert (output.value is not None) == (output.name in ("map", "flat", "clamped"))
        if not output.constant:
            np.testing.assert_allclose(results[output.name], found[output.name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
def test_outputs_of_a_quantised_model_may_share_a_tensor_or_be_none(unsigned: bool, tmp_path: Path) -> None:
    b = QuantBuilder(1, power_of_two=True, qdq=True, unsigned=unsigned)
    x = b.conv(("image", (3, 8, 8), b.scale(0.05), b.zero()), same=True)
    flat = b.node("Flatten", [x[0]])
    real = b.real(x)
    names = [(x[0], b.kind), (flat, b.kind), (real, TensorProto.FLOAT), ("image", b.kind)]
    names.append((b.constants[0].name, TensorProto.FLOAT))
    model = b.model(("image", b.kind, [1, 3, 8, 8]), [(name, kind, 0) for name, kind in names])
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    path, loaded = _load(model, tmp_path)
    tensor = loaded.graph.outputs[0]
    assert loaded.graph.outputs == (tensor,)
    assert [output.value for output in loaded.outputs] == [tensor, tensor, None, None, None]
    assert loaded.outputs[2].layer == tensor
    assert [output.shape for output in loaded.outputs] == [(1, 3, 8, 8), (1, 192), (1, 3, 8, 8), (1, 3, 8, 8), ()]
    assert _integers(path, loaded).output_difference == 0


def test_model_that_computes_nothing_of_its_input_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match=r"^nothing of model 'outputs' .*: its outputs are its inputs or constants"):
        _load(_outputs_model(["same", "square"], shapes=True), tmp_path)


# What the host computes, and what ONNX Runtime's levels make of a file.

ISLANDS: dict[str, Callable[[QuantBuilder, str], str]] = {
    "softmax": lambda b, x: b.node("Softmax", [x], axis=1),
    "gate": lambda b, x: b.node("Mul", [x, b.node("Sigmoid", [b.node("GlobalAveragePool", [x])])]),
    "norm": lambda b, x: b.node("ReduceL2", [x], axes=[1]),
    "product": lambda b, x: b.node("MatMul", [x, b.node("Transpose", [x], perm=[0, 1, 3, 2])]),
}


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize("island", ISLANDS)
def test_host_computes_what_the_operators_say_to_the_bit(island: str, unsigned: bool, tmp_path: Path) -> None:
    """No kernel that ONNX Runtime fuses, some of which compute something else."""
    for seed in range(3):
        b = QuantBuilder(seed, power_of_two=bool(seed % 2), qdq=True, unsigned=unsigned)
        x = b.conv(("image", (4, 5, 5), b.scale(0.05), b.zero()), same=True)
        y = b.write(ISLANDS[island](b, b.real(x)), (), x[2], b.zero())
        path, model = _load(b.model(("image", b.kind, [1, 4, 5, 5]), [(x[0], b.kind, 4), (y[0], b.kind, 4)]), tmp_path)
        assert model.share.host
        require_equal_outputs(path, model, bytes_for(model, seed))


def test_levels_that_differ_are_named_with_the_distance(tmp_path: Path) -> None:
    """ONNX Runtime's optimisations pad the window of a maximum with minus infinity where the model pads with zeros."""
    b = FloatBuilder(0)
    x = b.node("Neg", [b.node("Abs", [b.conv(("image", (3, 6, 6)), 4, normalise=False)[0]])])
    padded = b.node("Pad", [x, b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))])
    y = b.node("MaxPool", [padded], kernel_shape=[2, 2])
    model = b.model(("image", TensorProto.FLOAT, [1, 3, 6, 6]), [(y, TensorProto.FLOAT, 4)])
    found = _judged(*_load(model, tmp_path))
    (line,) = found.levels
    # Versions are pinned: another ONNX Runtime may have mended this.
    levels = r"\(ORT_ENABLE_BASIC, ORT_ENABLE_EXTENDED, ORT_ENABLE_ALL\)"
    assert re.fullmatch(rf"'{y}' by up to [\d.]+ in \d+ of 196 values {levels}", line)


def test_file_that_onnx_runtime_does_not_run_is_not_compared(tmp_path: Path) -> None:
    b = FloatBuilder(0)
    y = b.conv(("image", (3, 6, 6)), 4, normalise=False)[0]
    path, model = _load(b.model(("image", TensorProto.FLOAT, [1, 3, 6, 6]), [(y, TensorProto.FLOAT, 4)]), tmp_path)
    proto = onnx.load(str(path))
    proto.graph.node[0].domain = "nowhere"
    onnx.save(proto, str(path))
    with pytest.raises(RuntimeRefusal, match="nowhere"):
        _judged(path, model)
