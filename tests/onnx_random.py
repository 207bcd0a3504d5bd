"""Random models of ranks 1 to 5 from seeds, float and QDQ, for chip and host, compared with ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["quantised_random_model", "random_model"]

Value = tuple[str, tuple[int, ...]]
"""Name and shape."""

ELEMENT_LIMIT = 4096
"""Of one value."""

OTHERS = "other"
"""How names of values begin that are no real numbers."""

UNARY = (
    ("Relu", {}), ("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("Abs", {}), ("Neg", {}), ("LeakyRelu", {"alpha": 0.2}),
    ("HardSwish", {}), ("Elu", {}), ("Softplus", {}), ("Identity", {}), ("Dropout", {}),
)  # fmt: skip


def random_model(seed: int, nodes: int = 9) -> onnx.ModelProto:
    """A model of about so many nodes with one to three outputs: of one input (1, C, H, W) or (1, F), whose batch may be
    open, and sometimes of indices besides.

    ONNX Runtime runs it; values stay near one, so that no difference drowns.
    """
    return _Random(seed).model(nodes)


def quantised_random_model(seed: int, nodes: int = 9) -> onnx.ModelProto:
    """The same with QuantizeLinear and DequantizeLinear behind every node, and int8 weights."""
    model = random_model(seed, nodes)
    rng = np.random.default_rng(seed)
    graph, constants = model.graph, {tensor.name: tensor for tensor in model.graph.initializer}
    dtype = np.uint8 if rng.random() < 0.5 else np.int8
    given = {"image": "image/q"}
    made: list[onnx.NodeProto] = []

    def constant(name: str, array: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def params(name: str) -> list[str]:
        scale = np.float32(rng.choice([2.0**-4, 2.0**-5, rng.uniform(0.03, 0.07)]))
        zero = dtype(rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1))
        return [constant(f"{name}/scale", scale), constant(f"{name}/zero", zero)]

    def requantise(name: str) -> None:
        both = params(name)
        made.append(helper.make_node("QuantizeLinear", [name, *both], [f"{name}/int"], f"{name}/quantise"))
        made.append(helper.make_node("DequantizeLinear", [f"{name}/int", *both], [f"{name}/q"], f"{name}/dequantise"))
        given[name] = f"{name}/q"

    requantise("image")
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [given.get(name, name) for name in node.input]
        weight = node.input[1] if node.op_type in ("Conv", "Gemm", "MatMul") else ""
        if weight in constants:
            array = numpy_helper.to_array(constants[weight])
            scale = np.float32(np.abs(array).max() / 127 or 1)
            integers = np.rint(array / scale).astype(np.int8)
            operands = [constant(f"{weight}/int", integers), constant(f"{weight}/scale", scale)]
            operands.append(constant(f"{weight}/zero", np.int8(0)))
            made.append(helper.make_node("DequantizeLinear", operands, [f"{weight}/q"]))
            copy.input[1] = f"{weight}/q"
        made.append(copy)
        for name in node.output:
            if not name.startswith(OTHERS):
                requantise(name)
    del graph.node[:]
    graph.node.extend(made)
    for output in graph.output:
        output.name = given[output.name]
    return model


class _Random:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0

    def model(self, nodes: int) -> onnx.ModelProto:
        rng = self.rng
        picture = rng.random() < 0.8
        self.indices = ""
        shape = (1, *(int(rng.integers(1, 7)) for _ in range(3))) if picture else (1, int(rng.integers(2, 25)))
        values: list[Value] = [("image", shape)]
        layers = [self.conv, self.conv, self.convolved_pool, self.reshape, self.transpose, self.concat, self.concat,
                  self.softmax, self.reduction, self.dense, self.dense, self.unary, self.unary, self.constant_operand,
                  self.two_operands, self.flatten, self.squeeze, self.unsqueeze, self.normalise, self.pad,
                  self.gate, self.compare, self.split, self.slice, self.largest, self.open_reshape,
                  self.lookup]  # fmt: skip
        first = self.conv if picture else self.dense
        while len(values) == 1 and rng.random() < 0.95:  # so that there is work for the chip
            values += [made] if (made := first(values[0], values)) is not None else []
        while len(self.nodes) < nodes:
            # Mostly on from the last value, so that chains get long.
            x = values[-1] if rng.random() < 0.7 else values[int(rng.integers(len(values)))]
            made = layers[int(rng.integers(len(layers)))](x, values)
            if made is not None and math.prod(made[1]) <= ELEMENT_LIMIT:
                values.append(made)
        read = {name for node in self.nodes for name in node.input}
        ends = [value for value in values[1:] if value[0] not in read]
        outputs = dict([*ends[-2:], values[int(rng.integers(1, len(values)))]])
        given = ("N", *shape[1:]) if rng.random() < 0.3 else shape
        inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, given)]
        if self.indices:
            inputs.append(helper.make_tensor_value_info(self.indices, TensorProto.INT64, [1, 3]))
        graph = helper.make_graph(
            self.nodes, "random", inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
            self.constants,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    # Parts

    def constant(self, array: np.ndarray) -> str:
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), f"c{self.count}"))
        return f"c{self.count}"

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((scale * self.rng.normal(size=shape)).astype(np.float32))

    def node(self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> Value:
        self.count += 1
        name = f"{kind.lower()}{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name, shape

    def axis(self, shape: tuple[int, ...], first: int = 0) -> int:
        """Counted from either end."""
        axis = int(self.rng.integers(min(first, len(shape) - 1), len(shape)))
        return axis - len(shape) if self.rng.random() < 0.5 else axis

    def other(self, kind: str, inputs: list[str], **attributes: object) -> str:
        """A node whose result is no real number."""
        self.count += 1
        name = f"{OTHERS}{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    # Layers, each None where the value does not suit it.

    def gate(self, x: Value, _: list[Value]) -> Value | None:
        """Squeeze and excitation, in short."""
        name, shape = x
        if len(shape) != 4:
            return None
        mean, dims = self.node("GlobalAveragePool", [name], (*shape[:2], 1, 1))
        gate, _ = self.node("Sigmoid", [mean], dims)
        return self.node("Mul", [name, gate], shape)

    def compare(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        less, _ = self.node("Mul", [name, self.constant(np.float32(0.25))], shape)
        bits = self.other("Greater", [name, self.constant(np.float32(0))])
        return self.node("Where", [bits, name, less], shape)

    def split(self, x: Value, values: list[Value]) -> Value | None:
        name, shape = x
        axis = self.axis(shape, 1)
        size = shape[axis]
        if size < 2:
            return None
        sizes = [size // 2, size - size // 2]
        place = axis % len(shape)
        first, second = ((*shape[:place], part, *shape[place + 1 :]) for part in sizes)
        made = self.node("Split", [name, self.constant(np.array(sizes))], first, axis=axis)
        self.nodes[-1].output.append(f"{made[0]}b")
        values.append((f"{made[0]}b", second))
        return made

    def slice(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        axis = self.axis(shape, 1)
        if shape[axis] < 2:
            return None
        place, step = axis % len(shape), int(self.rng.integers(1, 3))
        bounds = [self.constant(np.array([value])) for value in (1, 1 << 40, axis, step)]
        size = -(-(shape[axis] - 1) // step)
        return self.node("Slice", [name, *bounds], (*shape[:place], size, *shape[place + 1 :]))

    def largest(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        count = min(2, shape[-1])
        made = self.node("TopK", [name, self.constant(np.array([count]))], (*shape[:-1], count), axis=-1)
        self.nodes[-1].output.append(f"{OTHERS}{made[0]}")
        return made

    def open_reshape(self, x: Value, _: list[Value]) -> Value | None:
        """To a shape that is computed, as exports with an open batch do."""
        name, shape = x
        sizes = self.other("Shape", [name])
        batch = self.other("Gather", [sizes, self.constant(np.array(0))], axis=0)
        first = self.other("Unsqueeze", [batch, self.constant(np.array([0]))])
        wanted = self.other("Concat", [first, self.constant(np.array([-1]))], axis=0)
        return self.node("Reshape", [name, wanted], (shape[0], math.prod(shape[1:])))

    def lookup(self, _: Value, __: list[Value]) -> Value | None:
        """Of indices that are an input."""
        self.indices = "indices"
        return self.node("Gather", [self.normal(4, 5), self.indices], (1, 3, 5), axis=0)

    def conv(self, x: Value, _: list[Value]) -> Value | None:
        rng, (name, shape) = self.rng, x
        if len(shape) != 4 or shape[0] != 1:
            return None
        groups = shape[1] if rng.random() < 0.2 else 1
        filters = groups * int(rng.integers(1, 3)) if groups > 1 else int(rng.integers(1, 9))
        kernel = [int(rng.integers(1, min(3, size + 1) + 1)) for size in shape[2:]]
        pads = [int(rng.integers(0, size // 2 + 1)) for size in kernel]
        strides = [int(rng.integers(1, 3)) for _ in kernel]
        sizes = [(s + 2 * p - k) // t + 1 for s, p, k, t in zip(shape[2:], pads, kernel, strides, strict=True)]
        if min(sizes) < 1:
            return None
        depth = shape[1] // groups
        inputs = [name, self.normal(filters, depth, *kernel, scale=1 / math.sqrt(depth * math.prod(kernel)))]
        inputs += [self.normal(filters)] if rng.random() < 0.5 else []
        return self.node("Conv", inputs, (1, filters, *sizes), pads=pads * 2, strides=strides, group=groups)

    def convolved_pool(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        if len(shape) != 4:
            return None
        kind = str(self.rng.choice(["MaxPool", "AveragePool", "GlobalAveragePool"]))
        if kind == "GlobalAveragePool":
            return self.node(kind, [name], (*shape[:2], 1, 1))
        kernel = [min(2, size) for size in shape[2:]]
        sizes = [size - window + 1 for size, window in zip(shape[2:], kernel, strict=True)]
        return self.node(kind, [name], (*shape[:2], *sizes), kernel_shape=kernel)

    def reshape(self, x: Value, _: list[Value]) -> Value | None:
        rng, (name, shape) = self.rng, x
        sizes = [1] * int(rng.integers(2, 6))
        rest = math.prod(shape)
        while rest > 1:
            prime = next(p for p in range(2, rest + 1) if rest % p == 0)
            # A batch of one, mostly.
            sizes[int(rng.integers(0 if rng.random() < 0.1 else 1, len(sizes)))] *= prime
            rest //= prime
        wanted = [0 if i < len(shape) and shape[i] == s and rng.random() < 0.3 else s for i, s in enumerate(sizes)]
        if rng.random() < 0.3:
            wanted[int(rng.integers(len(wanted)))] = -1
        return self.node("Reshape", [name, self.constant(np.array(wanted))], tuple(sizes))

    def transpose(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        if len(shape) < 2:
            return None
        first = [0] if self.rng.random() < 0.9 else []
        perm = first + [int(axis) for axis in self.rng.permutation(np.arange(len(first), len(shape)))]
        return self.node("Transpose", [name], tuple(shape[axis] for axis in perm), perm=perm)

    def concat(self, x: Value, values: list[Value]) -> Value | None:
        rng, (_, shape) = self.rng, x
        axis = int(rng.integers(min(1, len(shape) - 1), len(shape)))

        def fits(other: Value) -> bool:
            dims = other[1]
            return len(dims) == len(shape) and dims[:axis] + dims[axis + 1 :] == shape[:axis] + shape[axis + 1 :]

        others = [value for value in values if fits(value)]
        parts = [x, others[int(rng.integers(len(others)))]]
        if rng.random() < 0.2:
            parts.append((self.normal(*shape), shape))
        size = sum(part[1][axis] for part in parts)
        given = axis - len(shape) if rng.random() < 0.3 else axis
        return self.node("Concat", [part[0] for part in parts], (*shape[:axis], size, *shape[axis + 1 :]), axis=given)

    def softmax(self, x: Value, _: list[Value]) -> Value | None:
        kind = "Softmax" if self.rng.random() < 0.7 else "LogSoftmax"
        return self.node(kind, [x[0]], x[1], axis=self.axis(x[1]))

    def reduction(self, x: Value, _: list[Value]) -> Value | None:
        rng, (name, shape) = self.rng, x
        count = int(rng.integers(1, min(2, len(shape)) + 1))
        axes = sorted(int(a) for a in rng.choice(np.arange(1, len(shape)), min(count, len(shape) - 1), replace=False))
        if not axes:
            return None
        keep = int(rng.random() < 0.6)
        reduced = tuple(1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes)
        kind = str(rng.choice(["ReduceMean", "ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"]))
        if kind == "ReduceSum":
            return self.node(kind, [name, self.constant(np.array(axes))], reduced, keepdims=keep)
        return self.node(kind, [name], reduced, axes=axes, keepdims=keep)

    def dense(self, x: Value, _: list[Value]) -> Value | None:
        rng, (name, shape) = self.rng, x
        if len(shape) < 2:
            return None
        out = int(rng.integers(1, 13))
        scale = 1 / math.sqrt(shape[-1])
        if len(shape) > 2 or rng.random() < 0.4:
            return self.node("MatMul", [name, self.normal(shape[-1], out, scale=scale)], (*shape[:-1], out))
        turned = int(rng.random() < 0.5)
        inputs = [name, self.normal(*((out, shape[1]) if turned else (shape[1], out)), scale=scale)]
        if rng.random() < 0.7:
            inputs.append(self.normal(*[(out,), (1, out), (1,), ()][int(rng.integers(4))]))
        return self.node("Gemm", inputs, (shape[0], out), transB=turned, alpha=float(rng.choice([1.0, 0.5])))

    def unary(self, x: Value, _: list[Value]) -> Value | None:
        kind, attributes = UNARY[int(self.rng.integers(len(UNARY)))]
        return self.node(kind, [x[0]], x[1], **attributes)

    def constant_operand(self, x: Value, _: list[Value]) -> Value | None:
        """A constant that broadcasts, sometimes to a rank more."""
        rng, (name, shape) = self.rng, x
        form = rng.choice(["single", "channels", "last", "longer"])
        if form == "single":
            dims: tuple[int, ...] = (1,) * int(rng.integers(0, len(shape) + 1))
        elif form == "channels" and len(shape) > 1:
            dims = (shape[1], *[1] * (len(shape) - 2))
        elif form == "longer" and len(shape) < 5:
            dims = (1,) * (len(shape) + 1)
        else:
            dims = shape[-1:]
        kind = str(rng.choice(["Add", "Mul", "Sub", "Max", "Add"]))
        operands = [name, self.normal(*dims)]
        if rng.random() < 0.3:
            operands.reverse()
        rank = max(len(shape), len(dims))
        return self.node(kind, operands, (1,) * (rank - len(shape)) + shape)

    def two_operands(self, x: Value, values: list[Value]) -> Value | None:
        """Two values of shapes that broadcast."""
        rng, (name, shape) = self.rng, x

        def fits(dims: tuple[int, ...]) -> bool:
            return all(a == b or 1 in (a, b) for a, b in zip(shape[::-1], dims[::-1], strict=False))

        others = [value for value in values if fits(value[1])]
        other, dims = others[int(rng.integers(len(others)))]
        kind = str(rng.choice(["Add", "Add", "Mul", "Sub", "Min"]))
        return self.node(kind, [name, other], tuple(np.broadcast_shapes(shape, dims)))

    def flatten(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        axis = int(self.rng.choice([0, 1, 1, 1, len(shape) - 1]))
        return self.node("Flatten", [name], (math.prod(shape[:axis]), math.prod(shape[axis:])), axis=axis)

    def squeeze(self, x: Value, _: list[Value]) -> Value | None:
        rng, (name, shape) = self.rng, x
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        if len(shape) - len(ones) < 1:
            return None
        if rng.random() < 0.3:
            return self.node("Squeeze", [name], tuple(size for size in shape if size != 1))
        axes = [axis for axis in ones if (axis or rng.random() < 0.1) and rng.random() < 0.7]
        if not axes:
            return None
        kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
        return self.node("Squeeze", [name, self.constant(np.array(axes))], kept)

    def unsqueeze(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        if len(shape) > 4:
            return None
        axis = int(self.rng.integers(0 if self.rng.random() < 0.2 else 1, len(shape) + 1))
        return self.node("Unsqueeze", [name, self.constant(np.array([axis]))], (*shape[:axis], 1, *shape[axis:]))

    def normalise(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        if len(shape) < 2:
            return None
        channels = shape[1]
        variance = self.constant(self.rng.uniform(0.5, 2, channels).astype(np.float32))
        return self.node("BatchNormalization", [name, *(self.normal(channels) for _ in range(3)), variance], shape)

    def pad(self, x: Value, _: list[Value]) -> Value | None:
        name, shape = x
        if len(shape) != 4:
            return None
        before, after = ([0, 0, *(int(v) for v in self.rng.integers(0, 2, 2))] for _ in range(2))
        padded = tuple(b + size + a for b, size, a in zip(before, shape, after, strict=True))
        return self.node("Pad", [name, self.constant(np.array(before + after))], padded)
