"""Small models of the operators that the chip takes, with random parameters, in float and between quantisations."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from golden.int8.fallback import run_model

__all__ = ["operator_models", "quantised"]

KEEP = frozenset({"GlobalMaxPool", "MaxPool", "Pad", "Reshape", "Resize", "Slice", "Split", "Transpose"})
"""Operators whose output has the scale of their input."""
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

node = helper.make_node


def _model(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int], outputs: Sequence[str], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes), "operator", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def operator_models(seed: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    """One of each kind; all of it runs on the chip."""
    rng = np.random.default_rng(seed)

    def f(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def i(*values: int) -> np.ndarray:
        return np.array(values, np.int64)

    c, h, w = int(rng.integers(2, 20)), int(rng.integers(5, 12)), int(rng.integers(5, 12))
    x = (1, c, h, w)
    one = {"w": f(c, c, 1, 1)}
    conv = node("Conv", ["x", "w"], ["a"])
    yield "product with a constant", _model([node("Mul", ["x", "k"], ["y"])], x, ["y"], {"k": f(c, 1, 1)})
    yield "difference from a constant", _model([node("Sub", ["k", "x"], ["y"])], x, ["y"], {"k": f(1, c, 1, 1)})
    constants = {"w": f(c, c, 3, 3), "k": np.abs(f(1, c, 1, 1)) + np.float32(0.5)}
    yield "quotient behind a layer", _model([conv, node("Div", ["a", "k"], ["y"])], x, ["y"], constants)
    yield "slopes", _model([node("PRelu", ["x", "k"], ["y"])], x, ["y"], {"k": f(c, 1, 1)})
    behind = [node("Conv", ["x", "w"], ["a"]), node("PRelu", ["a", "k"], ["y"])]
    yield "slopes behind a layer", _model(behind, x, ["y"], {"w": f(c, c, 1, 1), "k": np.minimum(f(c, 1, 1), 1)})
    step = int(rng.integers(1, 3))
    bounds = {"s": i(0, 1, 2), "e": i(c - 1, 1000, -1), "a": i(1, 2, 3), "t": i(step, 1, 2)}
    yield "slice", _model([node("Slice", ["x", "s", "e", "a", "t"], ["y"])], x, ["y"], bounds)
    cut = int(rng.integers(1, c))
    yield "split", _model([node("Split", ["x", "s"], ["y", "z"], axis=1)], x, ["y", "z"], {"s": i(cut, c - cut)})
    yield "rows apart", _model([node("Split", ["x", "s"], ["y", "z"], axis=2)], x, ["y", "z"], {"s": i(2, h - 2)})
    yield "rows joined", _model([conv, node("Concat", ["x", "a", "x"], ["y"], axis=2)], x, ["y"], one)
    yield "columns joined", _model([conv, node("Concat", ["a", "x"], ["y"], axis=-1)], x, ["y"], one)
    pads = {"p": i(0, 0, 1, -2, 0, 0, -1, 1)}
    yield "padding", _model([node("Pad", ["x", "p"], ["y"])], x, ["y"], pads)
    pads = {"p": i(0, 0, 1, 1, 0, 0, 1, 2)}
    pool = node("MaxPool", ["a"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    yield "padding of a pool", _model([node("Pad", ["x", "p"], ["a"]), pool], x, ["y"], pads)
    scales = {"s": np.array([1, 1, rng.integers(1, 4), rng.integers(2, 4)], np.float32)}
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    yield "resize by scales", _model([node("Resize", ["x", "", "s"], ["y"], **how)], x, ["y"], scales)
    yield "resize to sizes", _model([node("Resize", ["x", "", "", "s"], ["y"])], x, ["y"], {"s": i(1, c, 2 * h, 2 * w)})
    linear = [
        node("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]), node("MatMul", ["a", "w"], ["b"]),
        node("Add", ["b", "k"], ["d"]), node("Relu", ["d"], ["e"]), node("Transpose", ["e"], ["y"], perm=[0, 3, 1, 2]),
    ]  # fmt: skip
    yield "linear layer of pixels", _model(linear, x, ["y"], {"w": f(c, 7), "k": f(7)})
    last = [node("Conv", ["x", "v"], ["o"]), node("Transpose", ["o"], ["a"], perm=[0, 2, 3, 1])]
    flat = [*last, node("Reshape", ["a", "s"], ["b"]), node("Gemm", ["b", "w"], ["y"])]
    constants = {"v": f(c, c, 1, 1), "w": f(c * h * w, 5), "s": i(1, -1)}
    yield "dense layer of channels last", _model(flat, x, ["y"], constants)
    shuffle = [
        node("Conv", ["x", "w"], ["o"]), node("Reshape", ["o", "s"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]), node("Reshape", ["b", "t"], ["y"]),
    ]  # fmt: skip
    constants = {"w": f(2 * c, c, 1, 1), "s": i(1, 2, c, h, w), "t": i(1, 2 * c, h, w)}
    yield "channel shuffle", _model(shuffle, x, ["y"], constants)
    gate = [
        node("GlobalAveragePool", ["x"], ["a"]), node("Conv", ["a", "w"], ["b"]), node("Relu", ["b"], ["d"]),
        node("Conv", ["d", "v"], ["e"]), node("HardSigmoid", ["e"], ["g"]), node("Mul", ["x", "g"], ["y"]),
    ]  # fmt: skip
    yield "squeeze and excitation", _model(gate, x, ["y"], {"w": f(4, c, 1, 1), "v": f(c, 4, 1, 1)})
    yield "difference of maps", _model([conv, node("Sub", ["x", "a"], ["y"])], x, ["y"], one)
    yield "largest of a map", _model([node("GlobalMaxPool", ["x"], ["y"])], x, ["y"], {})
    line = {"w": f(6, c, 3)}
    convolution = node("Conv", ["x", "w"], ["y"], pads=[1, 2], strides=[2])
    yield "one dimension", _model([convolution], (1, c, h * 3), ["y"], line)
    kernel, stride = [int(k) for k in rng.integers(1, 5, 2)], [int(s) for s in rng.integers(1, 4, 2)]
    pad = [int(rng.integers(0, min(3, k))) for k in (*kernel, *kernel)]
    groups, filters = int(rng.choice([1, c])), int(rng.integers(1, 4))
    extra = [int(rng.integers(0, s)) for s in stride]
    transposed = node(
        "ConvTranspose", ["x", "w", "b"], ["y"], strides=stride, pads=pad, output_padding=extra, group=groups
    )  # fmt: skip
    constants = {"w": f(c, filters, *kernel), "b": f(filters * groups)}
    yield "transposed convolution", _model([transposed], x, ["y"], constants)
    kernel, stride = [int(k) for k in rng.integers(2, 5, 2)], [int(s) for s in rng.integers(1, 4, 2)]
    pad = [int(rng.integers(0, k)) for k in kernel * 2]
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": pad}
    for include in (0, 1):
        average = node("AveragePool", ["x"], ["y"], count_include_pad=include, ceil_mode=seed % 2, **window)
        yield f"average, include pad {include}", _model([average], x, ["y"], {})
    yield "maximum", _model([node("MaxPool", ["x"], ["y"], ceil_mode=seed % 2, **window)], x, ["y"], {})


def quantised(model: onnx.ModelProto, seed: int, *, unsigned: bool, asymmetric: bool) -> onnx.ModelProto:
    """The model with QuantizeLinear and DequantizeLinear around every operator; weights of layers are quantised too.

    Parameters
    ----------
    unsigned : bool
        Activations are uint8, not int8.
    asymmetric : bool
        Weights are uint8 with a zero point, not int8 without.
    """
    rng = np.random.default_rng(seed)
    graph, dtype = model.graph, np.uint8 if unsigned else np.int8
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shape = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    names = [name for op in graph.node for name in op.output]
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    x = rng.normal(size=shape).astype(np.float32)
    values = {"x": x} | dict(zip(names, run_model(probe.SerializeToString(), {"x": x}, names), strict=True))
    nodes: list[onnx.NodeProto] = []
    made: dict[str, np.ndarray] = {}

    def around(name: str, alike: str | None = None) -> None:
        """QuantizeLinear and DequantizeLinear behind a value, with the scale of another one perhaps."""
        low, high = min(0.0, float(values[name].min())), max(1e-3, float(values[name].max()))
        scale = np.float32((high - low) / 255 * rng.uniform(0.9, 1.1))
        least = 0 if unsigned else -128
        zero = np.clip(round(least - low / float(scale)), least, least + 255).astype(dtype)
        made[f"{name}.s"] = made[f"{alike}.s"] if alike else np.asarray(scale)
        made[f"{name}.z"] = made[f"{alike}.z"] if alike else np.asarray(zero)
        operands = [f"{name}.s", f"{name}.z"]
        nodes.append(node("QuantizeLinear", [name, *operands], [f"{name}.q"]))
        nodes.append(node("DequantizeLinear", [f"{name}.q", *operands], [f"{name}.d"]))

    def weight(name: str) -> None:
        real = constants[name]
        low, high = min(0.0, float(real.min())), max(0.0, float(real.max()))
        scale = np.float32((high - low) / 255 if asymmetric else np.abs(real).max() / 127)
        zero = np.uint8(round(-low / float(scale))) if asymmetric else np.int8(0)
        info = np.iinfo(zero.dtype)
        raw = np.clip(np.rint(real / scale) + zero, info.min, info.max).astype(zero.dtype)
        made.update({f"{name}.q": raw, f"{name}.s": np.asarray(scale), f"{name}.z": np.asarray(zero)})
        nodes.append(node("DequantizeLinear", [f"{name}.q", f"{name}.s", f"{name}.z"], [f"{name}.d"]))

    around("x")
    for op in graph.node:
        inputs = []
        for index, name in enumerate(op.input):
            if name in constants and op.op_type in LAYERS and index == 1:
                weight(name)
            elif name in constants:
                made[name] = constants[name]
            inputs.append(name if not name or name in made else f"{name}.d")
        copy = onnx.NodeProto.FromString(op.SerializeToString())
        del copy.input[:]
        copy.input.extend(inputs)
        nodes.append(copy)
        for name in op.output:
            around(name, op.input[0] if op.op_type in KEEP else None)
    kind = TensorProto.UINT8 if unsigned else TensorProto.INT8
    outputs = [helper.make_tensor_value_info(f"{value.name}.q", kind, None) for value in graph.output]
    built = helper.make_graph(
        nodes, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], outputs,
        [numpy_helper.from_array(value, name) for name, value in made.items()],
    )  # fmt: skip
    return helper.make_model(built, opset_imports=model.opset_import, ir_version=model.ir_version)
