"""Element-wise operators of quantised models: tables that hold ONNX Runtime's very bits."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from golden.errors import OnnxError
from golden.int8 import ops
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConcat
from golden.int8.quant import quantisation_error, quantize
from golden.onnx_import import FloatModel, QuantisedModel, load_onnx
from tests.onnx_judge import session
from tests.onnx_models import FloatBuilder, QuantBuilder

Value = tuple[str, tuple[int, int, int], np.float32, int]
Chain = Callable[[Any, str], str]
"""Operators on a real value."""


def single(b: Any, value: float) -> str:
    return b.constant(np.asarray(value, np.float32))


def op(kind: str, **attributes: Any) -> Chain:
    return lambda b, x: b.node(kind, [x], **attributes)


def erf_gelu(b: Any, x: str) -> str:
    """As PyTorch writes it for opset 17."""
    erf = b.node("Erf", [b.node("Div", [x, single(b, 2**0.5)])])
    return b.node("Mul", [b.node("Mul", [x, b.node("Add", [erf, single(b, 1)])]), single(b, 0.5)])


def relu6_swish(b: Any, x: str) -> str:
    clipped = b.node("Clip", [b.node("Add", [x, single(b, 3)]), single(b, 0), single(b, 6)])
    return b.node("Div", [b.node("Mul", [x, clipped]), single(b, 6)])


def mish(b: Any, x: str) -> str:
    return b.node("Mul", [x, b.node("Tanh", [b.node("Softplus", [x])])])


def through(b: QuantBuilder, x: str, scale: float = 0.03, zero: int | None = None) -> str:
    """A QuantizeLinear and DequantizeLinear on the way."""
    params = np.float32(scale), (100 if b.unsigned else -20) if zero is None else zero
    return b.real((b.write(x, (), *params)[0], (), *params))


def hard_swish_in_steps(b: QuantBuilder, x: str) -> str:
    """As quantisers write it: every operator between QuantizeLinear and DequantizeLinear."""
    return b.node("Mul", [x, through(b, b.node("HardSigmoid", [x], alpha=1 / 6, beta=0.5))])


CHAINS: dict[str, Chain] = {
    "sigmoid": op("Sigmoid"),
    "tanh": op("Tanh"),
    "hardsigmoid": op("HardSigmoid", alpha=0.3, beta=0.4),
    "hardswish": op("HardSwish"),
    "leakyrelu": op("LeakyRelu", alpha=0.1),
    "elu": op("Elu", alpha=1.3),
    "celu": op("Celu", alpha=0.7),
    "selu": op("Selu"),
    "quickgelu": op("QuickGelu", domain="com.microsoft", alpha=1.5),
    "softsign": op("Softsign"),
    "prelu": lambda b, x: b.node("PRelu", [x, single(b, 0.2)]),
    "gelu": op("Gelu", domain="com.microsoft"),
    "erf gelu": erf_gelu,
    "silu": lambda b, x: b.node("Mul", [x, b.node("Sigmoid", [x])]),
    "silu in steps": lambda b, x: b.node("Mul", [through(b, b.node("Sigmoid", [x])), x]),
    "hardswish in steps": hard_swish_in_steps,
    "hardswish of relu6": relu6_swish,
    "mish": mish,
    "residual": lambda b, x: b.node("Add", [x, through(b, b.node("Tanh", [x]))]),
    "square": lambda b, x: b.node("Mul", [x, x]),
    "bell": lambda b, x: b.node("Exp", [b.node("Neg", [b.node("Abs", [x])])]),
    "bounds": lambda b, x: b.node("Max", [b.node("Min", [x, single(b, 1)]), single(b, -2)]),
    "root": lambda b, x: b.node("Sqrt", [b.node("Abs", [x])]),
    "power": lambda b, x: b.node("Pow", [x, single(b, 2)]),
    "relu behind": lambda b, x: b.node("Relu", [b.node("Tanh", [x])]),
    "two tables": lambda b, x: b.node("Sigmoid", [through(b, b.node("HardSwish", [x]))]),
}


QUANTISED = ("silu in steps", "hardswish in steps", "residual", "two tables")
"""Chains with QuantizeLinear in them."""


def judged(b: QuantBuilder, source: Value, target: Value, tmp_path: Path, raw: np.ndarray) -> QuantisedModel:
    """The import of the model, once its output is that of ONNX Runtime."""
    model = b.model((source[0], b.kind, [1, *source[1]]), [(target[0], b.kind, 4)])
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = load_onnx(tmp_path / "model.onnx")
    assert isinstance(loaded, QuantisedModel)
    shift = 128 * b.unsigned
    image = (raw.astype(np.int16) + shift).astype(b.dtype)
    (expected,) = session(model).run(None, {source[0]: image[None]})
    got = ops.run(loaded.graph, raw)[loaded.graph.outputs[0]].astype(np.int16) + shift
    np.testing.assert_array_equal(got.reshape(-1), np.asarray(expected).reshape(-1))
    return loaded


def tables(graph: QGraph) -> int:
    requants = [None if isinstance(node, QConcat) else node.requant for node in graph.nodes]
    return sum(requant is not None and requant.table is not None for requant in requants)


def builder(seed: int, unsigned: bool) -> QuantBuilder:
    return QuantBuilder(seed, power_of_two=False, qdq=True, unsigned=unsigned)


LEVELS = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16)


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize("chain", CHAINS)
def test_every_level_is_what_onnx_runtime_makes_of_it(chain: str, unsigned: bool, tmp_path: Path) -> None:
    b = builder(1, unsigned)
    source = ("image", LEVELS.shape, np.float32(0.047), 110 if unsigned else -14)
    y = CHAINS[chain](b, b.real(source))
    target = b.write(y, source[1], np.float32(0.021), 120 if unsigned else 5)
    loaded = judged(b, source, target, tmp_path, LEVELS)
    assert tables(loaded.graph) == 1
    assert len(loaded.graph.nodes) == 1, "a table of a table is one table"
    assert set(loaded.graph.tensors) == {loaded.graph.input, *loaded.graph.outputs}


@pytest.mark.parametrize(("unsigned", "leaky"), [(False, False), (True, False), (True, True)])
def test_contributed_operators(unsigned: bool, leaky: bool, tmp_path: Path) -> None:
    b = builder(2, unsigned)
    source = ("image", LEVELS.shape, np.float32(0.05), 100 if unsigned else -28)
    mid, out = (np.float32(1 / 256), 0 if unsigned else -128), (np.float32(0.04), 128 if unsigned else 0)
    if leaky:
        y = b.node("QLinearLeakyRelu", ["image", *b.params(*source[2:]), *b.params(*out)], "com.microsoft", alpha=0.2)
    else:
        gate = b.node("QLinearSigmoid", ["image", *b.params(*source[2:]), *b.params(*mid)], "com.microsoft")
        inputs = ["image", *b.params(*source[2:]), gate, *b.params(*mid), *b.params(*out)]
        y = b.node("QLinearMul", inputs, "com.microsoft")
    loaded = judged(b, source, (y, source[1], *out), tmp_path, LEVELS)
    assert tables(loaded.graph) == len(loaded.graph.nodes) == 1


@pytest.mark.parametrize("unsigned", [False, True], ids=["int8", "uint8"])
@pytest.mark.parametrize("seed", range(4))
def test_networks_fuse_tables_where_they_can(seed: int, unsigned: bool, tmp_path: Path) -> None:
    """Behind a convolution, a sum and an average; beside another reader; behind a maximum and a concatenation."""
    b = QuantBuilder(seed, power_of_two=True, qdq=True, unsigned=unsigned)
    names = list(CHAINS)

    def activate(x: Value) -> Value:
        chain = CHAINS[names[int(b.rng.integers(len(names)))]]
        return b.write(chain(b, b.real(x)), x[1], np.float32(2**-6), b.zero())

    source = ("image", (4, 8, 8), np.float32(0.0625), 128 if unsigned else 0)
    x = activate(b.conv(source, same=True))
    y = activate(b.conv(x, same=True))
    shared = b.conv(y, same=True)
    x = activate(b.add(activate(shared), b.conv(shared, same=True)))
    x = activate(b.maxpool(x))
    x = activate(b.concat([x, x]))
    x = activate(b.average(x))
    raw = np.random.default_rng(seed).integers(-128, 128, source[1]).astype(np.int8)
    loaded = judged(b, source, x, tmp_path, raw)
    assert tables(loaded.graph) == 7
    kinds = [node.op for node in loaded.graph.nodes]
    assert kinds.count("avgpool") == 4, "the average, and tables beside the sum, behind the maximum and the concat"


def test_a_table_that_is_read_as_it_is_too_stays_a_tensor(tmp_path: Path) -> None:
    """Mul(x, f(x)) in steps, where f(x) is an output as well."""
    b = builder(3, False)
    source = ("image", LEVELS.shape, np.float32(0.05), 0)
    params = np.float32(1 / 256), -128
    gate = b.write(b.node("Sigmoid", [b.real(source)]), source[1], *params)
    y = b.write(b.node("Mul", [b.real(source), b.real(gate)]), source[1], np.float32(0.05), 0)
    model = b.model(("image", b.kind, [1, *source[1]]), [(name, b.kind, 4) for name in (gate[0], y[0])])
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = load_onnx(tmp_path / "model.onnx")
    assert isinstance(loaded, QuantisedModel)
    assert len(loaded.graph.nodes) == 2
    got = ops.run(loaded.graph, LEVELS)
    for name, expected in zip(loaded.graph.outputs, session(model).run(None, {"image": LEVELS[None]}), strict=True):
        np.testing.assert_array_equal(got[name], np.asarray(expected)[0])


def refused(b: QuantBuilder, y: str, source: Value, tmp_path: Path, line: str) -> None:
    target = b.write(y, source[1], np.float32(0.05), 0)
    onnx.save(b.model((source[0], b.kind, [1, *source[1]]), [(target[0], b.kind, 4)]), str(tmp_path / "model.onnx"))
    with pytest.raises(OnnxError, match=line) as raised:
        load_onnx(tmp_path / "model.onnx", refuse=True)
    assert "\n" not in str(raised.value)


def test_what_is_no_function_of_one_tensor_is_refused_by_name(tmp_path: Path) -> None:
    source = ("image", (4, 6, 6), np.float32(0.05), 0)
    b = builder(4, False)
    two = b.node("Mul", [b.real(b.conv(source, same=True)), b.real(source)])
    refused(b, two, source, tmp_path, r"node '/Mul_\d+' \(Mul\): it multiplies \(1, 4, 6, 6\) and")
    b = builder(4, False)
    scales = b.constant(np.ones((1, 4, 1, 6), np.float32))
    product = b.node("Mul", [b.real(source), scales])
    refused(b, product, source, tmp_path, r"node '/Mul_\d+' \(Mul\): a constant of shape")
    b = builder(4, False)
    float_conv = b.node("Conv", [b.real(source), b.real((b.constant(np.ones((4, 4, 1, 1), np.int8)), (), *source[2:]))])
    refused(b, b.node("Tanh", [float_conv]), source, tmp_path, r"node '/Tanh_\d+' \(Tanh\): it works on more than")


def test_opset_20_gelu_and_a_flatten_between(tmp_path: Path) -> None:
    b = builder(5, True)
    source = ("image", (4, 8, 8), np.float32(0.05), 128)
    y = b.node("Flatten", [b.node("Gelu", [b.real(source)], approximate="tanh")])
    y = b.node("Reshape", [b.node("Sigmoid", [y]), b.constant(np.array([1, 4, 8, 8]))])
    target = b.write(y, source[1], np.float32(1 / 256), 0)
    model = b.model(("image", TensorProto.UINT8, [1, 4, 8, 8]), [(target[0], b.kind, 4)])
    model.opset_import[0].version = 20
    model.ir_version = 9
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = load_onnx(tmp_path / "model.onnx")
    assert isinstance(loaded, QuantisedModel)
    (expected,) = session(model).run(
        None, {"image": (LEVELS.reshape(4, 8, 8).astype(np.int16) + 128).astype(np.uint8)[None]}
    )
    got = ops.run(loaded.graph, LEVELS.reshape(4, 8, 8))[loaded.graph.outputs[0]].astype(np.int16) + 128
    np.testing.assert_array_equal(got, np.asarray(expected)[0])


def float_load(b: FloatBuilder, outputs: list[str], tmp_path: Path) -> tuple[FloatModel, onnx.ModelProto]:
    model = b.model(("image", TensorProto.FLOAT, [1, 3, 8, 8]), [(name, TensorProto.FLOAT, 4) for name in outputs])
    onnx.save(model, str(tmp_path / "model.onnx"))
    loaded = load_onnx(tmp_path / "model.onnx")
    assert isinstance(loaded, FloatModel)
    return loaded, model


@pytest.mark.parametrize("chain", [name for name in CHAINS if name not in QUANTISED])
def test_float_models_hold_the_same_functions(chain: str, tmp_path: Path) -> None:
    """Behind a convolution, one layer; alone where others read what it reads; and as tables after quantisation."""
    b = FloatBuilder(1)
    x, _ = b.conv(("image", (3, 8, 8)), 4, normalise=True)
    y = CHAINS[chain](b, x)
    z, _ = b.conv((CHAINS[chain](b, y), (4, 8, 8)), 4, normalise=False)
    loaded, model = float_load(b, [b.node("Add", [CHAINS[chain](b, z), y])], tmp_path)
    image = np.random.default_rng(1).normal(size=(3, 8, 8)).astype(np.float32)
    values = ops.run_float(loaded.graph, loaded.weights, image)
    (expected,) = session(model).run(None, {"image": image[None]})
    np.testing.assert_allclose(values[loaded.graph.outputs[0]][None], expected, rtol=1e-4, atol=1e-4)
    quantised = quantize(loaded.graph, loaded.weights, image)
    assert [node.op for node in quantised.nodes] == ["conv", "avgpool", "conv", "avgpool", "add"]
    assert tables(quantised) == 3
    assert quantisation_error(loaded.graph, loaded.weights, quantised, image).relative < 0.1


def test_float_functions_that_layers_read_too_stay_functions(tmp_path: Path) -> None:
    """x * f(x), where a convolution has read f(x) before."""
    b = FloatBuilder(2)
    x, _ = b.conv(("image", (3, 8, 8)), 4, normalise=False)
    gate = b.node("Sigmoid", [x])
    y, _ = b.conv((gate, (4, 8, 8)), 4, normalise=False)
    loaded, model = float_load(b, [y, b.node("Mul", [gate, x])], tmp_path)
    image = np.random.default_rng(1).normal(size=(3, 8, 8)).astype(np.float32)
    values = ops.run_float(loaded.graph, loaded.weights, image)
    for name, expected in zip(loaded.graph.outputs, session(model).run(None, {"image": image[None]}), strict=True):
        np.testing.assert_allclose(values[name][None], expected, rtol=1e-4, atol=1e-4)


def test_a_gate_on_another_map_is_refused_by_name(tmp_path: Path) -> None:
    b = FloatBuilder(3)
    x, _ = b.conv(("image", (3, 8, 8)), 4, normalise=False)
    y, _ = b.conv((x, (4, 8, 8)), 4, normalise=False)
    loaded, _ = float_load(b, [b.node("Mul", [x, b.node("Sigmoid", [y])])], tmp_path)
    (line,) = loaded.refusals.values()
    assert re.match(r"node '/Mul_\d+' \(Mul\): it multiplies \(1, 4, 8, 8\) and \(1, 4, 8, 8\); a map times one", line)
