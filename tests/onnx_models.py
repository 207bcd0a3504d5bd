"""Random ONNX models from seeds, for tests of the import: quantised operators, the QDQ form, and float layers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "FORMS", "IDS", "FloatBuilder", "QuantBuilder", "float_model", "host_model", "quantised_model", "real_host_model",
]  # fmt: skip

FORMS = [(qdq, unsigned) for qdq in (False, True) for unsigned in (False, True)]
"""(QDQ form or QLinear operators, uint8 or int8)."""
IDS = [f"{'qdq' if qdq else 'qlinear'}-{'uint8' if unsigned else 'int8'}" for qdq, unsigned in FORMS]


class _Builder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"/{stem}_{self.count}"

    def constant(self, array: np.ndarray, stem: str = "c") -> str:
        name = self.name(stem)
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], domain: str = "", **attributes: object) -> str:
        name = self.name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [name + ":0"], name, domain=domain or None, **attributes))
        return name + ":0"

    def model(self, source: tuple[str, int, list], outputs: list[tuple[str, int, int]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "random", [helper.make_tensor_value_info(*source)],
            [helper.make_tensor_value_info(name, kind, [None] * rank) for name, kind, rank in outputs], self.constants,
        )  # fmt: skip
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
            ir_version=8,
        )  # fmt: skip


class QuantBuilder(_Builder):
    """Quantised layers; every value is (name, (C, H, W), scale, zero point)."""

    def __init__(self, seed: int, *, power_of_two: bool, qdq: bool, unsigned: bool) -> None:
        super().__init__(seed)
        self.power_of_two, self.qdq, self.unsigned = power_of_two, qdq, unsigned
        self.dtype = np.dtype(np.uint8 if unsigned else np.int8)
        self.kind = TensorProto.UINT8 if unsigned else TensorProto.INT8

    def scale(self, near: float) -> np.float32:
        exponent = float(np.round(np.log2(near)))
        return np.float32(2.0**exponent if self.power_of_two else near * self.rng.uniform(0.7, 1.4))

    def zero(self) -> int:
        edge = 0 if self.unsigned else -128
        return int(self.rng.choice([edge, edge + 128, int(self.rng.integers(edge, edge + 256))]))

    def params(self, scale: np.float32, zero: int) -> list[str]:
        return [self.constant(scale, "scale"), self.constant(self.dtype.type(zero), "zero")]

    def real(self, x: tuple) -> str:
        return self.node("DequantizeLinear", [x[0], *self.params(x[2], x[3])])

    def write(self, value: str, shape: tuple, scale: np.float32, zero: int, relu: bool = False) -> tuple:
        if relu:
            value = self.node("Relu", [value])
        return self.node("QuantizeLinear", [value, *self.params(scale, zero)]), shape, scale, zero

    def weights(self, shape: tuple[int, ...], axis: int) -> tuple[np.ndarray, np.ndarray]:
        # Within 7 bits, so that processors without VNNI do not saturate sums of two products.
        weight = self.rng.integers(-64, 64, shape).astype(np.int8)
        per_channel = self.rng.random() < 0.5
        scale = np.array([self.scale(0.02) for _ in range(shape[axis] if per_channel else 1)], np.float32)
        return weight, scale if per_channel else scale[0]

    def conv(self, x: tuple, *, same: bool = False) -> tuple:
        """Random convolution; with `same`, one that keeps the shape."""
        rng, (channels, height, width) = self.rng, x[1]
        groups = int(rng.choice([g for g in (1, 1, 2, channels) if channels % g == 0]))
        filters = groups * int(rng.integers(1, 4)) if groups == channels else groups * int(rng.integers(2, 9))
        kernel = [int(rng.integers(1, min(4, height) + 1)), int(rng.integers(1, min(4, width) + 1))]
        pads = [int(rng.integers(0, kernel[i % 2])) for i in range(4)]
        strides = [int(rng.integers(1, 3)), int(rng.integers(1, 3))]
        sizes = ((s + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, s in enumerate((height, width)))
        shape = (filters, *sizes)
        if same:
            filters, kernel, pads, strides, shape = channels, [3, 3], [1, 1, 1, 1], [1, 1], x[1]
        weight, w_scale = self.weights((filters, channels // groups, *kernel), 0)
        depth = weight[0].size
        y_scale = self.scale(float(x[2]) * 0.02 * 37 * np.sqrt(depth))
        y_zero = self.zero()
        bias = rng.integers(-3000, 3000, filters).astype(np.int32) if rng.random() < 0.7 else None
        attributes = {"pads": pads, "strides": strides, "group": groups, "kernel_shape": kernel}
        w_zero = np.zeros(w_scale.shape, np.int8)
        if not self.qdq:
            inputs = [x[0], *self.params(x[2], x[3]), self.constant(weight), self.constant(w_scale)]
            inputs += [self.constant(w_zero), *self.params(y_scale, y_zero)]
            inputs += [self.constant(bias)] if bias is not None else []
            return self.node("QLinearConv", inputs, **attributes), shape, y_scale, y_zero
        inputs = [self.real(x), self._fixed(weight, w_scale, w_zero)]
        inputs += [self._fixed(bias, x[2] * w_scale, np.zeros(w_scale.shape, np.int32))] if bias is not None else []
        return self.write(self.node("Conv", inputs, **attributes), shape, y_scale, y_zero, rng.random() < 0.4)

    def _fixed(self, raw: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int = 0) -> str:
        inputs = [self.constant(raw), self.constant(scale), self.constant(zero)]
        return self.node("DequantizeLinear", inputs, **({"axis": axis} if np.size(scale) > 1 else {}))

    def dense(self, x: tuple, filters: int) -> tuple:
        size = int(np.prod(x[1]))
        weight, w_scale = self.weights((size, filters), 1)
        y_scale, y_zero = self.scale(float(x[2]) * 0.02 * 37 * np.sqrt(size)), self.zero()
        flat = (self.node("Flatten", [x[0]]), x[1], x[2], x[3])
        shape = (filters, 1, 1)
        w_zero = np.zeros(w_scale.shape, np.int8)
        if self.qdq:
            inputs = [self.real(flat), self._fixed(weight, w_scale, w_zero, 1)]
            return self.write(self.node("MatMul", inputs), shape, y_scale, y_zero)
        inputs = [flat[0], *self.params(x[2], x[3])]
        inputs += [self.constant(array) for array in (weight, w_scale, w_zero)]
        if self.rng.random() < 0.5:
            return self.node("QLinearMatMul", [*inputs, *self.params(y_scale, y_zero)]), shape, y_scale, y_zero
        bias = self.rng.integers(-3000, 3000, filters).astype(np.int32)
        inputs += [self.constant(bias), *self.params(y_scale, y_zero)]
        return self.node("QGemm", inputs, "com.microsoft"), shape, y_scale, y_zero

    def add(self, a: tuple, b: tuple) -> tuple:
        scale, zero = self.scale(1.3 * max(float(a[2]), float(b[2]))), self.zero()
        if self.qdq:
            relu = self.rng.random() < 0.3
            return self.write(self.node("Add", [self.real(a), self.real(b)]), a[1], scale, zero, relu)
        inputs = [a[0], *self.params(*a[2:]), b[0], *self.params(*b[2:]), *self.params(scale, zero)]
        return self.node("QLinearAdd", inputs, "com.microsoft"), a[1], scale, zero

    def concat(self, parts: list[tuple]) -> tuple:
        _, _, scale, zero = parts[0]
        shape = (sum(p[1][0] for p in parts), *parts[0][1][1:])
        if self.qdq:
            return self.write(self.node("Concat", [self.real(p) for p in parts], axis=1), shape, scale, zero)
        inputs = self.params(scale, zero)
        for part in parts:
            inputs += [part[0], *self.params(*part[2:])]
        return self.node("QLinearConcat", inputs, "com.microsoft", axis=1), shape, scale, zero

    def maxpool(self, x: tuple) -> tuple:
        channels, height, width = x[1]
        kernel = [min(2, height), min(3, width)]
        pads = [0, kernel[1] // 2, 0, kernel[1] // 2]
        shape = (channels, (height - kernel[0]) // 2 + 1, width + 2 * pads[1] - kernel[1] + 1)
        attributes = {"kernel_shape": kernel, "strides": [2, 1], "pads": pads}
        if self.qdq:
            return self.write(self.node("MaxPool", [self.real(x)], **attributes), shape, x[2], x[3])
        return self.node("MaxPool", [x[0]], **attributes), shape, x[2], x[3]

    def average(self, x: tuple) -> tuple:
        """Global average; with power-of-two scales, one where no sum lies on a tie unless 1/taps is exact."""
        shape = (x[1][0], 1, 1)
        taps = x[1][1] * x[1][2]
        finer = 2 if taps & (taps - 1) == 0 else taps & -taps
        scale, zero = (x[2] / np.float32(finer) if self.power_of_two else self.scale(float(x[2]))), self.zero()
        if self.qdq:
            return self.write(self.node("GlobalAveragePool", [self.real(x)]), shape, np.float32(scale), zero)
        inputs = [x[0], *self.params(*x[2:]), *self.params(np.float32(scale), zero)]
        kind = "QLinearGlobalAveragePool"
        return self.node(kind, inputs, "com.microsoft", channels_last=0), shape, np.float32(scale), zero


def quantised_model(seed: int, *, power_of_two: bool, qdq: bool, unsigned: bool) -> tuple[onnx.ModelProto, tuple]:
    """A network with branches: convolutions, a residual, a concatenation, pools, fully connected layers.

    Returns the model and its input's (name, shape, scale, zero point).
    """
    b = QuantBuilder(seed, power_of_two=power_of_two, qdq=qdq, unsigned=unsigned)
    rng = b.rng
    x = source = ("image", (int(rng.integers(1, 7)), int(rng.integers(6, 13)), int(rng.integers(6, 13))),
                  b.scale(0.05), b.zero())  # fmt: skip
    outputs = []
    for _ in range(int(rng.integers(2, 5))):
        choice = rng.choice(["conv", "residual", "concat", "maxpool", "output"])
        if choice == "residual":
            x = b.add(b.conv(x, same=True), x)
        elif choice == "concat":
            x = b.conv(x)
            other = b.maxpool(x) if x[1][1] < 2 else x
            x = b.concat([x, other]) if other[1][1:] == x[1][1:] else x
        elif choice == "maxpool" and x is not source and x[1][1] > 1:
            x = b.maxpool(x)
        else:
            x = b.conv(x)
            if choice == "output":
                outputs.append((x[0], b.kind, 4))
    if rng.random() < 0.5:
        x = b.average(x)
    x = b.dense(x, int(rng.integers(2, 12)))
    outputs.append((x[0], b.kind, 2))
    return b.model((source[0], b.kind, [1, *source[1]]), outputs), source


def host_model(seed: int) -> onnx.ModelProto:
    """A QDQ network with an activation for the table; a node of two outputs; and a gate of another
    tensor that is not quantised in between and a softmax, which the chip cannot run.
    """
    b = QuantBuilder(seed, power_of_two=True, qdq=True, unsigned=True)
    source = ("image", (3, 8, 8), b.scale(0.05), b.zero())
    x = b.conv(source, same=True)
    real = b.real(x)
    x = b.write(b.node("Mul", [real, b.node("HardSigmoid", [b.node("Neg", [real])])]), x[1], x[2], x[3])
    gate = b.node("HardSigmoid", [b.node("GlobalAveragePool", [b.real(x)])])
    x = b.conv(b.write(b.node("Mul", [b.real(x), gate]), x[1], x[2], x[3]), same=True)
    first = b.node("Split", [b.real(x)], axis=2)
    b.nodes[-1].output.append("second")
    halves = [b.write(name, (3, 4, 8), x[2], x[3]) for name in (first, "second")]
    x = b.conv(b.concat(halves), same=True)
    soft = b.write(b.node("Softmax", [b.real(x)], axis=1), x[1], np.float32(2.0**-8), 0)
    x = b.dense(soft, 5)
    return b.model(("image", b.kind, [1, *source[1]]), [(soft[0], b.kind, 4), (x[0], b.kind, 2)])


class FloatBuilder(_Builder):
    """Float layers; every value is (name, (C, H, W))."""

    def array(self, *shape: int, low: float = -1, high: float = 1) -> str:
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def conv(self, x: tuple, filters: int, *, normalise: bool) -> tuple:
        weight = self.array(filters, x[1][0], 3, 3)
        y = self.node("Conv", [x[0], weight], pads=[1, 1, 1, 1])
        if normalise:
            inputs = [y, self.array(filters), self.array(filters), self.array(filters), self.array(filters, low=0.5)]
            y = self.node("BatchNormalization", inputs)
        return y, (filters, *x[1][1:])


def real_host_model(seed: int, size: int = 8) -> onnx.ModelProto:
    """A float network with a SiLU for the table, and islands for the host: a gate between halves, a transposition, a
    last LogSoftmax.
    """
    b = FloatBuilder(seed)
    x = b.conv(("image", (3, size, size)), 8, normalise=True)
    silu = b.node("Mul", [x[0], b.node("Sigmoid", [x[0]])])
    first = b.node("Split", [silu, b.constant(np.array([4, 4]))], axis=1)
    b.nodes[-1].output.append("second")
    gated = b.node("Mul", [first, b.node("Softmax", ["second"], axis=1)])
    x = b.conv((gated, (4, size, size)), 6, normalise=False)
    turned = b.node("Transpose", [b.node("Relu", [x[0]])], perm=[0, 1, 3, 2])
    x = b.conv((turned, x[1]), 4, normalise=False)
    y = b.node("Gemm", [b.node("Flatten", [x[0]]), b.array(10, 4 * size**2), b.array(10)], transB=1)
    y = b.node("LogSoftmax", [y])
    return b.model(("image", TensorProto.FLOAT, [1, 3, size, size]), [(y, TensorProto.FLOAT, 2)])


def float_model(seed: int, size: int = 8) -> onnx.ModelProto:
    """Convolutions with batch normalisation, a residual, pools, a pad and fully connected layers."""
    b = FloatBuilder(seed)
    x = b.conv(("image", (3, size, size)), 8, normalise=True)
    x = (b.node("Relu", [x[0]]), x[1])
    y = b.conv(x, 8, normalise=bool(seed % 2))
    x = (b.node("Clip", [b.node("Add", [x[0], y[0]]), b.constant(np.float32(0)), b.constant(np.float32(6))]), x[1])
    x = (b.node("Concat", [x[0], y[0]], axis=1), (16, *x[1][1:]))
    x = (b.node("MaxPool", [x[0]], kernel_shape=[2, 2], strides=[2, 2]), (16, size // 2, size // 2))
    padded = b.node("Pad", [x[0], b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))])
    y = b.node("Conv", [padded, b.array(8, 16, 3, 3)], strides=[2, 2])
    y = b.node("BatchNormalization", [y, *(b.array(8) for _ in range(3)), b.array(8, low=0.5)])
    y = b.node("AveragePool", [b.node("Dropout", [y])], kernel_shape=[2, 2], strides=[2, 2])
    area = 8 * (size // 8) ** 2
    y = b.node("Reshape", [y, b.constant(np.array([0, -1]))])
    y = b.node("Gemm", [y, b.array(10, area), b.array(10)], transB=1)
    y = b.node("Add", [b.node("MatMul", [b.node("Relu", [y]), b.array(10, 5)]), b.array(5)])
    return b.model(("image", TensorProto.FLOAT, [1, 3, size, size]), [(y, TensorProto.FLOAT, 2)])
