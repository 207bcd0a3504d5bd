"""Nodes for the host: what is cut out of a model, what it computes, and what not even the host can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from golden.errors import OnnxError
from golden.int8 import ops
from golden.int8.fallback import HostPart
from golden.int8.qnodes import QHost
from golden.int8.quant import quantisation_error, quantize
from golden.net.graph import Host
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx, sample_feeds
from rtl.contract.params import default_chip
from scheduler.plan.program import HostStep
from scheduler.schedule import schedule
from tests.onnx_judge import bytes_for, require_equal_outputs, session
from tests.onnx_models import FORMS, IDS, FloatBuilder, QuantBuilder, host_model, real_host_model


def _load(model: onnx.ModelProto, folder: Path, *, refuse: bool = False) -> QuantisedModel | FloatModel:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return load_onnx(path, refuse=refuse)


def _agrees(model: onnx.ModelProto, folder: Path) -> QuantisedModel:
    """The whole model with its nodes on the host gives the bits of ONNX Runtime."""
    loaded = _load(model, folder)
    assert isinstance(loaded, QuantisedModel)
    require_equal_outputs(folder / "model.onnx", loaded, bytes_for(loaded, 0))
    return loaded


def _kinds(loaded: QuantisedModel | FloatModel) -> list[str]:
    """Operators on the host, in order."""
    return [node.kind for node in loaded.share.host]


def test_refusal_names_node_operator_support_and_the_way_out(tmp_path: Path) -> None:
    line = r"4 of 13 nodes cannot run on the chip; leave FALLBACK out.*: node '.*' \(Global.* \(Mul\).* \(Softmax\): "
    with pytest.raises(OnnxError, match=line):
        _load(host_model(0), tmp_path, refuse=True)


@pytest.mark.parametrize("seed", range(4))
def test_islands_between_quantisations_run_whole_on_the_host(seed: int, tmp_path: Path) -> None:
    graph = _agrees(host_model(seed), tmp_path).graph
    islands = [node.part.kinds for node in graph.nodes if isinstance(node, QHost)]
    assert islands == [("GlobalAveragePool", "HardSigmoid", "Mul"), ("Softmax",)]
    assert graph.nodes[0].requant.table is not None, "what is a function of one tensor stays on the chip"


@pytest.mark.parametrize(("qdq", "unsigned"), FORMS, ids=IDS)
def test_form_of_a_known_operator_that_the_chip_cannot_do_runs_on_the_host(
    qdq: bool, unsigned: bool, tmp_path: Path
) -> None:
    b = QuantBuilder(5, power_of_two=True, qdq=qdq, unsigned=unsigned)
    x = b.conv(("image", (4, 9, 9), b.scale(0.05), b.zero()), same=True)
    pool = {"kernel_shape": [3, 3], "dilations": [2, 2]}
    if qdq:
        y = b.write(b.node("MaxPool", [b.real(x)], **pool), (4, 5, 5), x[2], x[3])
    else:
        y = b.node("MaxPool", [x[0]], **pool), (4, 5, 5), x[2], x[3]
    y = b.dense(b.conv(y, same=True), 3)
    loaded = _agrees(b.model(("image", b.kind, [1, 4, 9, 9]), [(y[0], b.kind, 2)]), tmp_path)
    assert [node.op == "host" for node in loaded.graph.nodes] == [False, True, False, False]


def test_quantised_operator_of_microsoft_runs_on_the_host(tmp_path: Path) -> None:
    b = QuantBuilder(1, power_of_two=True, qdq=False, unsigned=True)
    x = b.conv(("image", (4, 6, 6), b.scale(0.05), b.zero()), same=True)
    other = b.conv(x, same=True)
    inputs = [x[0], *b.params(*x[2:]), other[0], *b.params(*other[2:]), *b.params(np.float32(2**-3), 0)]
    y = b.node("QLinearMul", inputs, "com.microsoft")
    z = b.conv((y, x[1], np.float32(2**-3), 0), same=True)
    loaded = _agrees(b.model(("image", b.kind, [1, 4, 6, 6]), [(z[0], b.kind, 4)]), tmp_path)
    assert [node.op == "host" for node in loaded.graph.nodes] == [False, False, True, False]


def test_real_output_of_a_quantised_model_is_computed_in_the_end(tmp_path: Path) -> None:
    b = QuantBuilder(2, power_of_two=True, qdq=True, unsigned=True)
    x = b.dense(("image", (3, 4, 4), b.scale(0.05), b.zero()), 6)
    soft = b.node("Softmax", [b.real(x)], axis=1)
    loaded = _agrees(b.model(("image", b.kind, [1, 3, 4, 4]), [(soft, TensorProto.FLOAT, 2)]), tmp_path)
    assert [node.op for node in loaded.graph.nodes] == ["fc"]
    assert loaded.tail is not None
    assert _kinds(loaded) == ["Softmax"]


def test_functions_between_nodes_of_the_host_stay_there(tmp_path: Path) -> None:
    """What is behind a layer, or a sum with a map of the chip, is not."""
    b = FloatBuilder(1)
    x = b.conv(("image", (3, 6, 6)), 4, normalise=False)
    turned = b.node("Transpose", [x[0]], perm=[0, 1, 3, 2])
    silu = b.node("Mul", [turned, b.node("Sigmoid", [turned])])
    back = b.node("Transpose", [b.node("Tanh", [silu])], perm=[0, 1, 3, 2])
    y = b.node("Tanh", [b.node("Add", [b.node("Abs", [back]), x[0]])])
    model = b.model(("image", TensorProto.FLOAT, [1, 3, 6, 6]), [(y, TensorProto.FLOAT, 4)])
    loaded = _load(model, tmp_path)
    assert isinstance(loaded, FloatModel)
    kinds = [node.part.kinds if isinstance(node, Host) else type(node).__name__ for node in loaded.graph.nodes]
    island = ("Transpose", "Sigmoid", "Mul", "Tanh", "Transpose", "Abs")
    assert kinds == ["Conv2d", island, "Add", "Expression"]
    image = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    value = ops.run_float(loaded.graph, loaded.weights, image)[loaded.graph.outputs[0]]
    (expected,) = session(model).run(None, {"image": image[None]})
    np.testing.assert_allclose(value[None], expected, rtol=1e-4, atol=1e-4)
    nodes = quantize(loaded.graph, loaded.weights, image).nodes
    assert [node.op for node in nodes] == ["conv", "host", "add"]


def test_sums_fuse_beside_nodes_of_the_host_and_not_through_them(tmp_path: Path) -> None:
    b = FloatBuilder(2)
    x = b.conv(("image", (3, 6, 6)), 4, normalise=False)
    turned = b.node("Transpose", [x[0]], perm=[0, 1, 3, 2])
    y = b.conv((turned, x[1]), 4, normalise=True)
    beside = b.node("Add", [y[0], turned])
    z = b.conv((beside, x[1]), 4, normalise=False)
    through = b.node("Add", [b.node("Transpose", [z[0]], perm=[0, 1, 3, 2]), beside])
    loaded = _load(b.model(("image", TensorProto.FLOAT, [1, 3, 6, 6]), [(through, TensorProto.FLOAT, 4)]), tmp_path)
    assert isinstance(loaded, FloatModel)
    image = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    quantised = quantize(loaded.graph, loaded.weights, image)
    assert [node.op for node in quantised.nodes] == ["conv", "host", "conv", "conv", "host", "add"]
    assert quantised.nodes[2].inputs == (quantised.nodes[1].output,) * 2
    assert quantisation_error(loaded.graph, loaded.weights, quantised, image).relative < 0.05


def test_real_output_of_a_function_is_computed_on_the_host(tmp_path: Path) -> None:
    """No QuantizeLinear says what its table should hold."""
    b = QuantBuilder(3, power_of_two=True, qdq=True, unsigned=True)
    x = b.conv(("image", (3, 4, 4), b.scale(0.05), b.zero()), same=True)
    model = b.model(("image", b.kind, [1, 3, 4, 4]), [(b.node("Sigmoid", [b.real(x)]), TensorProto.FLOAT, 4)])
    loaded = _agrees(model, tmp_path)
    assert [node.op for node in loaded.graph.nodes] == ["conv"]
    with pytest.raises(OnnxError, match=r"1 of 3 nodes .* node '.*' \(Sigmoid\): it reads the host's"):
        _load(model, tmp_path, refuse=True)


def test_float_islands_compute_what_onnx_runtime_does(tmp_path: Path) -> None:
    model = real_host_model(3)
    loaded = _load(model, tmp_path)
    assert isinstance(loaded, FloatModel)
    feeds = sample_feeds(loaded.inputs)
    values = ops.run_float(loaded.bound(feeds), loaded.weights, loaded.image(feeds))
    results = loaded.results(feeds, loaded.onnx_values(values))
    for got, expected in zip(results.values(), session(model).run(None, feeds), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_constants_are_computed_once_and_need_no_host(tmp_path: Path) -> None:
    b = FloatBuilder(0)
    x = b.conv(("image", (3, 4, 4)), 8, normalise=False)
    sizes = b.node("Mul", [b.constant(np.array([1, 64])), b.constant(np.array([1, 2]))])
    y = b.node("Gemm", [b.node("Reshape", [x[0], sizes]), b.array(128, 5)])
    loaded = _load(b.model(("image", TensorProto.FLOAT, [1, 3, 4, 4]), [(y, TensorProto.FLOAT, 2)]), tmp_path)
    assert isinstance(loaded, FloatModel)
    assert not any(type(node).__name__ == "Host" for node in loaded.graph.nodes)


def test_plan_is_cut_there_and_tensors_stay_alive_across(tmp_path: Path) -> None:
    loaded = _load(host_model(0), tmp_path)
    assert isinstance(loaded, QuantisedModel)
    plan = schedule(loaded.graph, default_chip(1))
    assert [step.name for step in plan.steps if isinstance(step, HostStep)] == [
        node.name for node in loaded.graph.nodes if node.op == "host"
    ]
    for index, step in enumerate(plan.steps):
        if isinstance(step, HostStep):
            assert set(step.node.inputs) <= set(plan.live_after(index - 1))
            places = sorted(
                (plan.tensors[name].addr, plan.tensors[name].end) for name in (*step.node.inputs, step.node.output)
            )
            assert all(end <= start for (_, end), (start, _) in pairwise(places))


def _softmax_of_input(b: QuantBuilder) -> onnx.ModelProto:
    y = b.node("QuantizeLinear", [b.node("Softmax", ["image"]), *b.params(np.float32(0.1), 0)])
    x = b.conv((y, (3, 8, 8), np.float32(0.1), 0), same=True)
    return b.model(("image", TensorProto.FLOAT, [1, 3, 8, 8]), [(x[0], b.kind, 4)])


def _random(b: QuantBuilder) -> onnx.ModelProto:
    x = b.conv(("image", (3, 8, 8), np.float32(0.1), 0), same=True)
    y = b.write(b.node("RandomNormalLike", [b.real(x)]), x[1], x[2], 0)
    return b.model(("image", b.kind, [1, 3, 8, 8]), [(y[0], b.kind, 4)])


def _bits(b: QuantBuilder) -> onnx.ModelProto:
    x = b.conv(("image", (3, 8, 8), np.float32(0.1), 0), same=True)
    y = b.node("Less", [b.real(x), b.constant(np.float32(0))])
    return b.model(("image", b.kind, [1, 3, 8, 8]), [(y, TensorProto.BOOL, 4)])


def _batch(b: QuantBuilder) -> onnx.ModelProto:
    x = b.conv(("image", (3, 8, 8), np.float32(0.1), 0), same=True)
    turned = b.node("Transpose", [b.real(x)], perm=[1, 0, 3, 2])
    y = b.write(turned, x[1], x[2], 0)
    return b.model(("image", b.kind, [1, 3, 8, 8]), [(y[0], b.kind, 4)])


def _rank5(b: QuantBuilder) -> onnx.ModelProto:
    x = b.conv(("image", (4, 8, 8), np.float32(0.1), 0), same=True)
    turned = b.node("Reshape", [b.real(x), b.constant(np.array([1, 2, 2, 8, 8]))])
    y = b.write(b.node("Softmax", [turned]), x[1], x[2], 0)
    return b.model(("image", b.kind, [1, 4, 8, 8]), [(y[0], b.kind, 5)])


def _unknown(b: QuantBuilder) -> onnx.ModelProto:
    x = b.conv(("image", (3, 8, 8), np.float32(0.1), 0), same=True)
    y = b.write(b.node("Frobnicate", [b.real(x)], "com.microsoft"), x[1], x[2], 0)
    return b.model(("image", b.kind, [1, 3, 8, 8]), [(y[0], b.kind, 4)])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (_random, r"node '.*' \(RandomNormalLike\): its values differ from run to run; not even the host"),
        (_unknown, r"ONNX Runtime does not run model 'random' on seeded inputs 'image' .*Frobnicate.* mend the node"),
    ],
)
def test_what_not_even_the_host_can_do_is_refused_in_one_line(make: object, line: str, tmp_path: Path) -> None:
    model = make(QuantBuilder(0, power_of_two=True, qdq=True, unsigned=True))
    with pytest.raises(OnnxError, match=line) as raised:
        _load(model, tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("make", [_softmax_of_input, _bits, _batch, _rank5])
def test_the_host_computes_any_type_and_shape(make: Callable, tmp_path: Path) -> None:
    """Before the first layer, bits, a batch other than 1, and five dimensions."""
    b = QuantBuilder(0, power_of_two=True, qdq=True, unsigned=True)
    model = make(b)
    loaded = _load(model, tmp_path)
    assert isinstance(loaded, QuantisedModel)
    feeds = bytes_for(loaded, 0) if loaded.scales else sample_feeds(loaded.inputs)
    require_equal_outputs(tmp_path / "model.onnx", loaded, feeds)
    assert len(_kinds(loaded)) == 1
    assert not any(node.op == "host" for node in loaded.graph.nodes)


def test_channel_shuffle_is_a_layer_of_ones(tmp_path: Path) -> None:
    """Between its views, which cost nothing."""
    b = FloatBuilder(0)
    x = b.conv(("image", (3, 8, 8)), 8, normalise=False)
    split = b.node("Reshape", [x[0], b.constant(np.array([1, 2, 4, 8, 8]))])
    turned = b.node("Transpose", [split], perm=[0, 2, 1, 3, 4])
    shuffled = b.node("Reshape", [turned, b.constant(np.array([1, 8, 8, 8]))])
    y = b.conv((shuffled, (8, 8, 8)), 4, normalise=False)
    loaded = _load(b.model(("image", TensorProto.FLOAT, [1, 3, 8, 8]), [(y[0], TensorProto.FLOAT, 4)]), tmp_path)
    assert [type(node).__name__ for node in loaded.graph.nodes] == ["Conv2d", "Conv2d", "Conv2d"]


def test_broken_scale_is_not_hidden_by_the_fallback(tmp_path: Path) -> None:
    model = host_model(0)
    tensor = next(t for t in model.graph.initializer if "scale" in t.name)
    tensor.CopyFrom(numpy_helper.from_array(np.float32(np.nan), tensor.name))
    with pytest.raises(OnnxError, match="is nan; scales must be positive"):
        _load(model, tmp_path)


@pytest.mark.parametrize("operand", [1, 2, 6])
def test_layers_whose_scales_are_inputs_of_the_model_run_on_the_host(operand: int, tmp_path: Path) -> None:
    b = QuantBuilder(0, power_of_two=True, qdq=False, unsigned=True)
    image = ("image", (4, 6, 6), b.scale(0.05), b.zero())
    y = b.conv(b.conv(image, same=True), same=True)
    model = b.model(("image", b.kind, [1, 4, 6, 6]), [(y[0], b.kind, 4)])
    first = model.graph.node[0]
    tensor = next(t for t in model.graph.initializer if t.name == first.input[operand])
    model.graph.input.append(helper.make_tensor_value_info("own", tensor.data_type, tensor.dims))
    first.input[operand] = "own"
    loaded = _load(model, tmp_path)
    assert isinstance(loaded, QuantisedModel)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 6), np.uint8)
    require_equal_outputs(tmp_path / "model.onnx", loaded, {"image": pixels, "own": numpy_helper.to_array(tensor)})
    assert [node.op for node in loaded.graph.nodes] == ["conv"]
    (refused,) = loaded.share.host
    assert refused.kind == "QLinearConv"
    assert "input 'own' is computed; the chip takes a constant" in loaded.refusals[first.name]


def test_result_of_another_size_than_promised_is_refused(tmp_path: Path) -> None:
    loaded = _load(real_host_model(0), tmp_path)
    assert isinstance(loaded, FloatModel)
    image = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    node = next(n for n in quantize(loaded.graph, loaded.weights, image).nodes if isinstance(n, QHost))
    part = node.part
    graph = onnx.load_model_from_string(part.model)
    graph.graph.node.append(helper.make_node("ReduceMax", [graph.graph.output[0].name], ["less"], keepdims=0))
    graph.graph.output[0].name = "less"
    output = replace(part.output, name="less")
    smaller = HostPart(part.name, part.kinds, graph.SerializeToString(), part.inputs, output)
    with pytest.raises(OnnxError, match=r"value 'less' came out of ONNX Runtime as float32\(\), not as float32\(1, 4"):
        smaller.run([np.zeros(port.shape, np.float32) for port in part.inputs])
