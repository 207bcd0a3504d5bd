"""Import of float models: a layer graph and its weights, batch normalisation folded into them."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from golden.errors import GraphError, OnnxError, UnsupportedError
from golden.int8.fallback import REALS, Port
from golden.net.activations import Expression, Term
from golden.net.graph import (
    Add,
    AvgPool,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Graph,
    Host,
    Linear,
    MaxPool,
    Node,
    Relu,
    Shape,
)
from golden.net.window import Padding
from golden.onnx_import.attributes import Names, clip_bounds, mean_axes_ok, pad_amount, reshaped, window
from golden.onnx_import.draft import Draft
from golden.onnx_import.dynamic import dynamic_layers
from golden.onnx_import.imported import FloatModel, Output, computed_outputs, nothing_runs
from golden.onnx_import.islands import OnHost, cut, tail
from golden.onnx_import.model import ELEMENTWISE_OPS, FLOAT_OPS, Model, Op, require_bounded
from golden.onnx_import.operands import (
    constant,
    filter_window,
    optional_constant,
    require_inference,
    require_joined,
    require_stored,
    require_unpadded,
    require_whole_windows,
)
from golden.onnx_import.walk import VIEWS, on_chip_or_host, require_known, require_shape, translate
from golden.onnx_import.work import share_of

__all__ = ["import_float"]


@dataclass(frozen=True)
class _Map:
    """A value of the layer graph, seen through a view, with padding that the next layer has to add."""

    name: str
    chw: Shape
    shape: tuple[int, ...]
    padding: Padding = (0, 0, 0, 0)
    function: "_Function | None" = None
    """What it is of another map."""
    hosted: bool = False
    """Whether the host has it too, and more exactly."""

    @property
    def channels_second(self) -> bool:
        """Whether the second dimension that ONNX sees is that of the channels."""
        return self.shape[:2] == (1, self.chw[0])


@dataclass(frozen=True)
class _Function:
    """An element-wise function of a map; it becomes a layer once something else reads it."""

    name: str
    base: _Map
    terms: tuple[Term, ...]


LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""

REAL_TYPES = {"float": "float32", "float16": "float16", "double": "float64"}
"""NumPy's names of ONNX's data types of real numbers."""

PARAMETERS: dict[str, dict[str, float]] = {
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "QuickGelu": {"alpha": 1.702},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
}
"""Attributes of element-wise operators, with ONNX's defaults."""

_Value = _Map | _Function | OnHost | np.ndarray


def import_float(model: Model) -> FloatModel:
    """Layer graph and weights of a float model."""
    walk = _FloatWalk(model)
    return translate(model, walk.step, walk.finish)


@dataclass
class _FloatDraft(Draft):
    """A layer graph under construction."""

    values: dict[str, _Value]
    """What each ONNX value is, by its name."""
    shapes: dict[str, Shape] = field(default_factory=dict)
    """Shapes of what layers compute, and of what the host brings, by name."""
    nodes: dict[str, Node] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    folded: dict[str, np.ndarray] = field(default_factory=dict)
    """Magnitudes of what is in a bias that is a sum, by layer."""


class _FloatWalk:
    """The walk over the operators of a float model, and what it leaves."""

    def __init__(self, model: Model) -> None:
        self.model, self.dynamic_layers = dynamic_layers(model)
        model = self.model
        self.dynamic: set[str] = set()
        """Layers of the graph whose input the file quantises as it comes."""
        self.names = Names()
        self.refusals: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.readers = Counter(name for op in model.ops for name in op.reads) + Counter(model.outputs)
        self.reals = {port.name for port in model.inputs if port.dtype in REALS}
        given = {port.name: OnHost() for port in model.inputs}
        self.draft = _FloatDraft({**model.constants, **given})

    def step(self, op: Op) -> None:
        """Import one operator."""
        if self._dynamic(self.dynamic_layers.get(op.outputs[0])):
            return
        if self._stays(op):
            self.host(op)
        else:
            on_chip_or_host(self, op)

    def _dynamic(self, layer: Op | None) -> bool:
        """Whether the chip takes what an operator ends as one layer of real numbers."""
        if layer is None:
            return False
        try:
            with self.draft.transaction():
                self.chip(layer)
        except (UnsupportedError, GraphError) as error:
            self.refusals[layer.name] = str(error)
            return False
        value = self.draft.values[layer.outputs[0]]
        assert isinstance(value, _Map)
        self.dynamic.add(value.name)
        return True

    def _stays(self, op: Op) -> bool:
        """Whether an operator is for the host although the chip knows it: all that it reads is there.

        Layers with weights are worth the way to the chip, and so are functions of the model's own input.
        """
        if op.kind not in FLOAT_OPS or op.kind in LAYERS:
            return False
        on_host = [isinstance(self.draft.values[name], OnHost) for name in op.reads if name not in self.model.constants]
        if not all(on_host):
            return False
        if op.kind in VIEWS:
            self.reals.update(op.outputs[:1] if op.inputs[0] in self.reals else ())
            return True
        return not self.reals.intersection(op.reads)

    def chip(self, op: Op) -> None:
        """Import one operator for the chip."""
        require_known(op, FLOAT_OPS)
        self.draft.values[op.outputs[0]] = value = self._dispatch(op)
        seen = value.base if isinstance(value, _Function) else value
        if isinstance(seen, _Map) and not any(seen.padding):
            require_shape(self.model, op, seen.shape)

    def host(self, op: Op) -> None:
        """Import a node for the host; its values become tensors once the chip reads them."""
        self.draft.values |= {name: OnHost() for name in op.outputs if name}

    def _bring(self, name: str) -> _Map:
        """Have the host compute a value, for the chip to read."""
        part, read = cut(self.model, name, self._port)
        if part.output.dtype not in REALS:
            raise UnsupportedError(f"value {name!r} is {part.output.dtype}; only real numbers can be quantised")
        sources = [self.draft.values[source] for source in read]
        made = self._put(Host(self.names.new(part.name), tuple(x.name for x in sources if isinstance(x, _Map)), part))
        self.draft.values[name] = made = replace(made, shape=part.output.shape, hosted=True)
        return made

    def _port(self, name: str) -> Port | None:
        value = self.draft.values[name]
        if isinstance(value, _Function) and not value.base.hosted:  # the chip's table computes it
            value = self._settled(name)
        if not isinstance(value, _Map) or value.hosted or any(value.padding):
            return None
        return Port(name, value.shape, REAL_TYPES.get(self.model.types.get(name, ""), "float32"))

    def finish(self) -> FloatModel:
        """The model, once every operator is in."""
        outputs = [self._output(name) for name in self.model.outputs]
        left = [output.name for output in outputs if output.value is None and not output.constant]
        behind = tail(self.model, left, self._port, self._map_name) if left else None
        read = [name for _, name in behind.inputs] if behind else []
        computed = computed_outputs(self.model, outputs, read, self.refusals)
        nodes = self._read_nodes(computed)
        source = next((node for node in nodes if isinstance(node, Host) and not node.values), None)
        if source is None or all(isinstance(node, Host) for node in nodes):
            raise OnnxError(nothing_runs(self.model, self.refusals))
        nodes = tuple(node for node in nodes if node is not source)
        shape = self.draft.shapes[source.name]
        graph = Graph(Names().new(self.model.name), source.name, shape, nodes, computed)
        weights = {name: self.draft.weights[name] for name in graph.tensors}
        names = {
            value.name: name
            for name, value in self.draft.values.items()
            if isinstance(value, _Map) and not any(value.padding)
        }
        for name, array in weights.items():
            if not np.isfinite(array).all():
                raise OnnxError(f"weight {name!r} holds NaN or infinite values; export the model again")
        parts = [source.part, *(node.part for node in nodes if isinstance(node, Host)), *([behind] if behind else [])]
        share = share_of(self.model, self.refusals, parts)
        return FloatModel(
            self.model.inputs, source.part, tuple(outputs), behind, share, self.refusals, self.model.pictures,
            self.origins, graph, weights,
            names, self.draft.folded, frozenset(self.dynamic),
        )  # fmt: skip

    def _map_name(self, name: str) -> str:
        value = self.draft.values[name]
        assert isinstance(value, _Map)
        return value.name

    def _read_nodes(self, outputs: Iterable[str]) -> tuple[Node, ...]:
        """Nodes on which an output depends: what was made a layer for a reader may have become part of that."""
        wanted = set(outputs)
        for node in reversed(self.draft.nodes.values()):
            if node.name in wanted:
                wanted.update(node.inputs)
        return tuple(node for node in self.draft.nodes.values() if node.name in wanted)

    def _output(self, name: str) -> Output:
        value = self.draft.values[name]
        if isinstance(value, np.ndarray):
            return Output(name, value.shape, None, constant=True)
        shape = self.model.shapes.get(name)
        if self._port(name) is None:
            return Output(name, shape, None)
        value = self._settled(name)
        assert isinstance(value, _Map)
        return Output(name, value.shape, value.name)

    def _dispatch(self, op: Op) -> "_Value":
        kind = op.kind
        function = self._function(op) if kind in ELEMENTWISE_OPS else None
        if function is not None:
            return function
        first = self.draft.values[op.inputs[0]]
        if kind == "Identity" and isinstance(first, np.ndarray):
            return first
        if kind == "Add":
            return self._add(op)
        if kind == "Concat":
            return self._concat(op)
        if kind in ELEMENTWISE_OPS - {"Clip", "Relu"} and not isinstance(first, np.ndarray):
            op.cannot("it works on more than one map", "element-wise operators run on one map and single constants")
        x = self._map(op, 0)
        if kind in VIEWS:
            require_inference(self.draft.values, op)
            if kind not in ("Dropout", "Identity"):
                require_unpadded(op, x)
            return replace(x, shape=reshaped(op, x.shape, self._optional(op, 1) if kind != "Dropout" else None))
        if kind in ("Relu", "Clip"):
            require_unpadded(op, x)
            name = self._name(op)
            low, high = clip_bounds(op, [self._optional(op, 1), self._optional(op, 2)])
            return self._put(Relu(name, x.name) if kind == "Relu" else Clip(name, x.name, low, high), x.shape)
        if kind in ("MatMul", "Gemm"):
            return self._dense(op, x)
        require_stored(op, x.name, x)
        if kind == "Conv":
            return self._conv(op, x)
        if kind == "Pad":
            return self._pad(op, x)
        require_unpadded(op, x)
        if kind == "BatchNormalization":
            return self._normalise(op, x)
        if kind in ("MaxPool", "AveragePool"):
            return self._pool(op, x)
        if kind == "ReduceMean" and not mean_axes_ok(op, len(x.shape), self._optional(op, 1)):
            op.cannot("its axes are not height and width", "only a mean over the whole map can run")
        flat = kind == "ReduceMean" and not op.attributes.get("keepdims", 1)
        return self._put(GlobalAvgPool(self._name(op), x.name), (1, x.chw[0]) if flat else None)

    def _function(self, op: Op) -> _Function | None:
        """What an element-wise operator makes of one map and single constants, if it reads no more.

        Not of a clamp or bias right behind a layer: that layer, or a requantisation, can do these.
        """
        names = [name for name in op.inputs if name]
        computed = {name for name in names if not isinstance(self.draft.values[name], np.ndarray)}
        hosted = [name for name in computed if isinstance(self.draft.values[name], OnHost)]
        if hosted and len(computed) > 1:  # no function of one map
            return None
        for name in hosted:
            self._bring(name)
        read = [self.draft.values[name] for name in names]
        maps = [value for value in read if isinstance(value, _Map | _Function)]
        alone = len(read) > len(maps) and any(
            isinstance(value, _Map) and value.channels_second and self.readers[name] == 1
            for name, value in zip(names, read, strict=True)
        )
        if (op.kind in ("Relu", "Clip") and isinstance(read[0], _Map)) or (op.kind == "Add" and alone):
            return None
        if not maps or any(isinstance(value, np.ndarray) and value.size != 1 for value in read):
            return None
        functions = [value if isinstance(value, _Function) else _Function("", value, ()) for value in maps]
        for function in functions:
            require_unpadded(op, function.base)
        if len({(f.base.name, f.base.shape) for f in functions}) > 1:  # then what the maps are functions of
            functions = [_root(f) for f in functions]
        base = functions[0].base
        if any((f.base.name, f.base.shape) != (base.name, base.shape) for f in functions):
            return None
        if any(isinstance(value, np.ndarray) and value.ndim > len(base.shape) for value in read):
            return None  # the result has more dimensions
        terms: list[Term] = []
        results = iter([_merge(terms, f.terms) for f in functions])
        operands = [float(x.reshape(-1)[0]) if isinstance(x, np.ndarray) else next(results) for x in read]
        terms.append(_term(op, operands, [self._optional(op, 1), self._optional(op, 2)] if op.kind == "Clip" else []))
        return _Function(op.name, base, tuple(terms))

    def _settled(self, name: str) -> _Map | np.ndarray:
        """A value; a function becomes a layer, and the host computes what only it can."""
        value = self.draft.values[name]
        if isinstance(value, OnHost):
            return self._bring(name)
        if not isinstance(value, _Function):
            return value
        node = Expression(self.names.new(value.name), value.base.name, value.terms)
        self.origins[node.name] = value.name
        self.draft.values[name] = made = replace(self._put(node, value.base.shape), function=value)
        return made

    def _map(self, op: Op, index: int) -> _Map:
        value = self._settled(op.inputs[index])
        if not isinstance(value, _Map):
            op.cannot(f"input {op.inputs[index]!r} is a constant", "the chip takes computed values there")
        return value

    def _optional(self, op: Op, index: int) -> np.ndarray | None:
        return optional_constant(self.draft.values, op, index)

    def _floats(self, op: Op, index: int, size: int | None = None) -> np.ndarray:
        array = constant(self.draft.values, op, index)
        if str(array.dtype) not in REALS:
            op.fail(f"tensor {op.inputs[index]!r} has data type {array.dtype}", f"supported are {', '.join(REALS)}")
        array = array.astype(np.float32)
        if size is not None and array.size not in (1, size):
            op.fail(f"tensor {op.inputs[index]!r} has {array.size} values", f"give {size}")
        return array if size is None else np.broadcast_to(array.reshape(-1), (size,))

    def _name(self, op: Op) -> str:
        name = self.names.new(op.name)
        self.origins[name] = op.name
        return name

    def _put(self, node: Node, shape: tuple[int, ...] | None = None) -> _Map:
        chw = node.infer(*(self.draft.shapes[name] for name in node.inputs))
        require_bounded(f"layer {node.name!r}", chw)
        self.draft.nodes[node.name] = node
        self.draft.shapes[node.name] = chw
        return _Map(node.name, chw, shape or (1, *chw))

    def _conv(self, op: Op, x: _Map) -> _Map:
        weight = self._floats(op, 1)
        if weight.ndim != 4:
            op.cannot(f"weight {op.inputs[1]!r} has shape {weight.shape}", "only two-dimensional convolutions can run")
        win = filter_window(op, x, weight.shape)
        groups = int(op.attributes.get("group", 1))
        node = Conv2d(
            self._name(op), x.name, weight.shape[0], win.kernel, win.stride, win.padding, win.dilation, groups,
            op.has(2),
        )  # fmt: skip
        if groups < 1 or weight.shape[1] * groups != x.chw[0]:
            op.fail(f"weight {weight.shape} with group {groups} does not fit {x.chw[0]} channels", "check group")
        self.draft.weights[f"{node.name}.weight"] = np.ascontiguousarray(weight)
        if op.has(2):
            self.draft.weights[f"{node.name}.bias"] = np.array(self._floats(op, 2, weight.shape[0]))
        return self._put(node)

    def _dense(self, op: Op, x: _Map) -> _Map:
        require_unpadded(op, x)
        weight = self._floats(op, 1)
        gemm = op.kind == "Gemm"
        if gemm and op.attributes.get("transA", 0):
            op.cannot("transA is set", "only transA = 0 can run")
        weight = weight if gemm and op.attributes.get("transB", 0) else weight.T
        if weight.ndim != 2 or x.shape != (1, weight.shape[1]):
            op.cannot(f"input {x.shape} and weight {weight.T.shape} do not fit", "give (1, F) and (F, O)")
        if x.chw[1:] != (1, 1):
            x = self._put(Flatten(self.names.new(f"{op.name}_flatten"), x.name), x.shape)
        bias = gemm and op.has(2)
        node = Linear(self._name(op), x.name, weight.shape[0], bias)
        alpha, beta = np.float32(op.attributes.get("alpha", 1.0)), np.float32(op.attributes.get("beta", 1.0))
        self.draft.weights[f"{node.name}.weight"] = np.ascontiguousarray(weight * alpha if gemm else weight)
        if bias:
            self.draft.weights[f"{node.name}.bias"] = self._floats(op, 2, weight.shape[0]) * beta
        return self._put(node, (1, weight.shape[0]))

    def _normalise(self, op: Op, x: _Map) -> _Map:
        if op.attributes.get("training_mode", 0):
            op.fail("it is in training mode", "export the model for inference")
        gamma, beta, mean, variance = (self._floats(op, i, x.chw[0]).astype(np.float64) for i in range(1, 5))
        with np.errstate(all="ignore"):  # what comes out not finite is refused with the weights
            gain = gamma / np.sqrt(variance + op.attributes.get("epsilon", 1e-5))
            return self._affine(op, x, gain, beta - mean * gain, np.abs(beta) + np.abs(mean * gain))

    def _affine(self, op: Op, x: _Map, gain: np.ndarray, offset: np.ndarray, magnitude: np.ndarray) -> _Map:
        """Gain and offset per channel: into the layer before, or a 1x1 depthwise convolution.

        `magnitude` float64[C] is the sum of the magnitudes of what the offset is the sum of.
        """
        node = self.draft.nodes.get(x.name)
        shared = self.readers[op.inputs[0]] != 1 or self._read_elsewhere(x)
        if not isinstance(node, Conv2d | Linear) or shared:
            name = self._name(op)
            self.draft.weights[f"{name}.weight"] = gain.astype(np.float32).reshape(-1, 1, 1, 1)
            self.draft.weights[f"{name}.bias"] = offset.astype(np.float32)
            self.draft.folded[name] = magnitude
            return self._put(Conv2d(name, x.name, x.chw[0], (1, 1), groups=x.chw[0]), x.shape)
        key = node.name
        weight = self.draft.weights[f"{key}.weight"]
        with np.errstate(all="ignore"):
            spread = gain.reshape(-1, *[1] * (weight.ndim - 1))
            self.draft.weights[f"{key}.weight"] = (weight * spread).astype(np.float32)
            bias = self.draft.weights.get(f"{key}.bias", np.zeros(1))
            before = self.draft.folded.get(key, np.abs(bias).astype(np.float64))
            self.draft.folded[key] = before * np.abs(gain) + magnitude
            self.draft.weights[f"{key}.bias"] = (bias * gain + offset).astype(np.float32)
        self.draft.nodes[key] = replace(node, bias=True)
        return x

    def _read_elsewhere(self, x: _Map) -> bool:
        """Whether another layer reads the map or another ONNX value shows it."""
        read = any(x.name in node.inputs for node in self.draft.nodes.values())
        return read or sum(isinstance(value, _Map) and value.name == x.name for value in self.draft.values.values()) > 1

    def _pool(self, op: Op, x: _Map) -> _Map:
        win = window(op, (x.chw[1], x.chw[2]), op.attributes["kernel_shape"])
        if win.dilation != (1, 1):
            op.cannot(f"dilations are {win.dilation}", "pools run without dilation")
        if op.kind == "MaxPool":
            return self._put(MaxPool(self._name(op), x.name, win.kernel, win.stride, win.padding))
        require_whole_windows(op, win)
        return self._put(AvgPool(self._name(op), x.name, win.kernel, win.stride, win.padding))

    def _pad(self, op: Op, x: _Map) -> _Map:
        require_unpadded(op, x)
        fill = self._optional(op, 2)
        if fill is not None and fill.size and fill.reshape(-1)[0] != 0:
            op.cannot(f"it pads with {fill}", "only zeros can be taken up by the next layer")
        padding = pad_amount(op, len(x.shape), self._optional(op, 1), self._optional(op, 3))
        return replace(x, padding=padding, function=None)

    def _add(self, op: Op) -> _Map:
        values = [self._settled(name) for name in op.inputs]
        maps = [value for value in values if isinstance(value, _Map)]
        for x in maps:
            require_unpadded(op, x)
        if len(maps) == 2:
            if maps[0].shape != maps[1].shape or maps[0].chw != maps[1].chw:
                op.cannot(f"it adds {maps[0].shape} and {maps[1].shape}", "both need one shape")
            return self._put(Add(self._name(op), maps[0].name, maps[1].name), maps[0].shape)
        if not maps:
            op.cannot("it adds constants", "the chip adds maps")
        if not isinstance(values[0], _Map):
            op = replace(op, inputs=(op.inputs[1], op.inputs[0]))
        (x,), constant = maps, self._floats(op, 1)
        sizes = (1,) * (len(x.shape) - constant.ndim) + constant.shape
        fits = len(sizes) == len(x.shape) and x.channels_second
        if not fits or sizes[1] not in (1, x.chw[0]) or math.prod(sizes) != sizes[1]:
            op.cannot(f"it adds a constant of shape {constant.shape} to {x.shape}", "one value per channel can run")
        offset = np.broadcast_to(constant.reshape(-1).astype(np.float64), (x.chw[0],))
        return self._affine(op, x, np.ones(x.chw[0]), offset, np.abs(offset))

    def _concat(self, op: Op) -> _Map:
        parts = [self._map(op, index) for index in range(len(op.inputs))]
        require_joined(op, parts, op.attributes["axis"])
        made = self._put(Concat(self._name(op), tuple(x.name for x in parts)))
        return replace(made, shape=(1, made.chw[0], *parts[0].shape[2:]))


def _root(function: _Function) -> _Function:
    """A map that is a function of another one, seen in its own shape, as that function."""
    base = function.base
    deeper = base.function
    return deeper if not function.terms and deeper and deeper.base.shape == base.shape else function


def _merge(terms: list[Term], more: tuple[Term, ...]) -> int:
    """Add terms that are not there yet; the number of the last one's result."""
    number = {0: 0}
    for index, term in enumerate(more):
        moved = Term(term.function, tuple(number[x] if isinstance(x, int) else x for x in term.operands))
        if moved not in terms:
            terms.append(moved)
        number[index + 1] = terms.index(moved) + 1
    return number[len(more)]


def _term(op: Op, operands: list[int | float], bounds: list[np.ndarray | None]) -> Term:
    """The operator as a term."""
    kind, attributes = op.kind, op.attributes
    if kind in ("Relu", "Clip"):
        return Term("Clip", (operands[0], *clip_bounds(op, bounds)))
    if kind == "PRelu":
        kind = "LeakyRelu"
    if kind == "Gelu" and attributes.get("approximate", b"none") != b"none":
        kind = "GeluTanh"
    parameters = (float(attributes.get(name, default)) for name, default in PARAMETERS.get(kind, {}).items())
    return Term(kind, (*operands, *(parameters if op.kind != "PRelu" else ())))
