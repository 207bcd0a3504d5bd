"""Import of float models: a layer graph and its weights, batch normalisation folded into them."""

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
from golden.onnx_import.attributes import Names, clip_bounds, mean_axes_ok, pad_amount, reshaped, window
from golden.onnx_import.draft import Draft
from golden.onnx_import.dynamic import dynamic_layers
from golden.onnx_import.earlier import earlier
from golden.onnx_import.float_maps import FloatMaps
from golden.onnx_import.geometry import is_column, spatial, turned
from golden.onnx_import.imported import FloatModel, Output, computed_outputs, nothing_runs
from golden.onnx_import.islands import OnHost, cut, tail
from golden.onnx_import.maps import Function, Map
from golden.onnx_import.model import ELEMENTWISE_OPS, FLOAT_OPS, LAYERS, Model, Op, require_bounded
from golden.onnx_import.operands import (
    channel_dimension,
    constant,
    filter_window,
    of_pixels,
    optional_constant,
    require_inference,
    require_joined,
    require_stored,
)
from golden.onnx_import.order import channels_last
from golden.onnx_import.walk import VIEWS, on_chip_or_host, require_known, require_shape, translate
from golden.onnx_import.work import share_of

__all__ = ["import_float"]


LONGEST_ROW = 1023
"""In pixels, of the chip's fields; longer ones are columns, of which any part is a tile."""

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

_Value = Map | Function | OnHost | np.ndarray


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


class _FloatWalk(FloatMaps):
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
        assert isinstance(value, Map)
        self.dynamic.add(value.name)
        return True

    def _stays(self, op: Op) -> bool:
        """Whether an operator is for the host although the chip knows it: all that it reads is there.

        Layers with weights are worth the way to the chip, and so are functions of the model's own input. A last Concat
        of what the host computes with other values is not: one scale would hold coordinates and probabilities.
        """
        if op.kind not in FLOAT_OPS or op.kind in LAYERS:
            return False
        on_host = [isinstance(self.draft.values[name], OnHost) for name in op.reads if name not in self.model.constants]
        last = self.readers[op.outputs[0]] == (op.outputs[0] in self.model.outputs)
        if op.kind == "Concat" and last and any(on_host) and not self.reals.intersection(op.reads):
            return True
        if not all(on_host):
            return False
        if op.kind in VIEWS:
            self.reals.update(op.outputs[:1] if op.inputs[0] in self.reals else ())
            return True
        return not self.reals.intersection(op.reads)

    def chip(self, op: Op) -> None:
        """Import one operator for the chip."""
        require_known(op, FLOAT_OPS)
        made = self._dispatch(op)
        for name, value in zip(op.outputs, made if isinstance(made, list) else [made], strict=True):
            self.draft.values[name] = value
            seen = value.base if isinstance(value, Function) else value
            if isinstance(seen, Map) and not any(seen.padding):
                require_shape(self.model, op, seen.shape, name)

    def host(self, op: Op) -> None:
        """Import a node for the host; its values become tensors once the chip reads them."""
        self.draft.values |= {name: OnHost() for name in op.outputs if name}

    def _bring(self, name: str) -> Map:
        """Have the host compute a value, for the chip to read, or rather one before it of no more elements, if the chip
        can make the value of that without more."""
        for root, ops in earlier(self.model, name, self.draft.values, self.refusals):
            try:
                with self.draft.transaction():
                    self._bring_as_it_is(root)
                    for op in ops:
                        self.chip(op)
                        value = self.draft.values[op.outputs[0]]
                        if isinstance(value, Map):
                            self.draft.values[op.outputs[0]] = replace(value, hosted=True)
                    made = self._settled(name)
                    assert isinstance(made, Map)
                    made = self._unpadded(ops[-1], made)
                    wanted = Port(name, made.shape, "float32", channels_last(self.model, name, made.shape))
                    if (made.chw, made.last) != (wanted.chw, wanted.last):
                        raise UnsupportedError(f"value {name!r} would lie otherwise than its readers take it")
                    self.draft.values[name] = made = replace(made, hosted=True)
                    return made
            except (UnsupportedError, GraphError):
                continue
        return self._bring_as_it_is(name)

    def _bring_as_it_is(self, name: str) -> Map:
        """Have the host compute a value."""
        part, read = cut(self.model, name, self._port)
        if part.output.dtype not in REALS:
            raise UnsupportedError(f"value {name!r} is {part.output.dtype}; only real numbers can be quantised")
        sources = [self.draft.values[source] for source in read]
        last = channels_last(self.model, name, part.output.shape)
        part = replace(part, output=replace(part.output, last=last))
        made = self._put(Host(self.names.new(part.name), tuple(x.name for x in sources if isinstance(x, Map)), part))
        self.draft.values[name] = made = replace(made, shape=part.output.shape, hosted=True, last=last)
        return made

    def _port(self, name: str) -> Port | None:
        """How the host reads a value that is a tensor of the chip; functions of one it computes for itself."""
        value = self.draft.values[name]
        if not isinstance(value, Map) or value.hosted or any(value.padding):
            return None
        return Port(name, value.shape, REAL_TYPES.get(self.model.types.get(name, ""), "float32"), value.last)

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
        shown = {
            value.name: (name, value.last)
            for name, value in self.draft.values.items()
            if isinstance(value, Map) and not any(value.padding)
        }
        names = {value: name for value, (name, _) in shown.items()}
        last = frozenset(value for value, (_, is_last) in shown.items() if is_last)
        for name, array in weights.items():
            if not np.isfinite(array).all():
                raise OnnxError(f"weight {name!r} holds NaN or infinite values; export the model again")
        parts = [source.part, *(node.part for node in nodes if isinstance(node, Host)), *([behind] if behind else [])]
        share = share_of(self.model, self.refusals, parts)
        return FloatModel(
            self.model.inputs, source.part, tuple(outputs), behind, share, self.refusals, self.model.pictures,
            self.model.taken, self.origins, self.model.fixed, graph, weights, names, self.draft.folded,
            frozenset(self.dynamic), last,
        )  # fmt: skip

    def _map_name(self, name: str) -> str:
        value = self.draft.values[name]
        assert isinstance(value, Map)
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
        if isinstance(value, Function) and not value.base.hosted:  # the chip's table computes it
            self._settled(name)
        if self._port(name) is None:
            return Output(name, shape, None)
        value = self._settled(name)
        assert isinstance(value, Map)
        return Output(name, value.shape, value.name, last=value.last)

    def _dispatch(self, op: Op) -> "_Value | list[Map]":
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
        if kind in ("Div", "Mul", "Sub") and (made := self._per_channel(op)) is not None:
            return made
        if kind == "Mul":
            return self._product(op)
        if kind == "Sub":
            return self._difference(op)
        if kind in self.TAKEN:
            return self.TAKEN[kind](self, op)
        if kind in ELEMENTWISE_OPS - {"Clip", "Relu"} and not isinstance(first, np.ndarray):
            op.cannot("it works on more than one map", "element-wise operators run on one map and single constants")
        if kind == "Conv":
            return self._conv(op)
        if kind == "Pad":
            return self._pad(op, self._map(op, 0, padded=True))
        x = self._map(op, 0, column=kind in VIEWS)
        if kind in VIEWS:
            require_inference(self.draft.values, op)
            shape = reshaped(op, x.shape, self._optional(op, 1) if kind != "Dropout" else None)
            return replace(x, shape=shape, last=x.last and x.chw[1:] != (1, 1))
        if kind in ("Relu", "Clip"):
            name = self._name(op)
            low, high = clip_bounds(op, [self._optional(op, 1), self._optional(op, 2)])
            node = Relu(name, x.name) if kind == "Relu" else Clip(name, x.name, low, high)
            return self._put(node, x.shape, last=x.last)
        if kind in ("MatMul", "Gemm"):
            return self._dense(op, x)
        if kind == "BatchNormalization":
            if channel_dimension(x) != 1:
                op.cannot(f"it normalises {x.shape} of {x.chw}", "its channels must be the second dimension")
            return self._normalise(op, x)
        require_stored(op, x.name, x)
        if kind in ("MaxPool", "AveragePool"):
            return self._pool(op, x)
        if kind == "ReduceMean" and not mean_axes_ok(op, len(x.shape), self._optional(op, 1)):
            op.cannot("its axes are not height and width", "only a mean over the whole map can run")
        flat = kind == "ReduceMean" and not op.attributes.get("keepdims", 1)
        shape = (1, x.chw[0]) if flat else spatial(x, (x.chw[0], 1, 1))
        return self._put(GlobalAvgPool(self._name(op), x.name), shape)

    def _function(self, op: Op) -> Function | None:
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
        maps = [value for value in read if isinstance(value, Map | Function)]
        alone = len(read) > len(maps) and any(
            isinstance(value, Map) and channel_dimension(value) is not None and self.readers[name] == 1
            for name, value in zip(names, read, strict=True)
        )
        if (op.kind in ("Relu", "Clip") and isinstance(read[0], Map)) or (op.kind == "Add" and alone):
            return None
        if not maps or any(isinstance(value, np.ndarray) and value.size != 1 for value in read):
            return None
        functions = [value if isinstance(value, Function) else Function("", value, ()) for value in maps]
        if any(any(function.base.padding) for function in functions):
            return None
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
        return Function(op.name, base, tuple(terms))

    def _settled(self, name: str) -> Map | np.ndarray:
        """A value; a function becomes a layer, and the host computes what only it can."""
        value = self.draft.values[name]
        if isinstance(value, OnHost):
            return self._bring(name)
        if not isinstance(value, Function):
            return value
        node = Expression(self.names.new(value.name), value.base.name, value.terms)
        self.origins[node.name] = value.name
        made = self._put(node, value.base.shape, last=value.base.last)
        self.draft.values[name] = made = replace(made, function=value)
        return made

    def _map(self, op: Op, index: int, *, padded: bool = False, column: bool = False) -> Map:
        """A computed operand, with its padding in it unless the operator takes that up, and rows of ONNX as rows unless
        it takes a column for one."""
        value = self._settled(op.inputs[index])
        if not isinstance(value, Map):
            op.cannot(f"input {op.inputs[index]!r} is a constant", "the chip takes computed values there")
        if any(value.padding) and not padded:
            self.draft.values[op.inputs[index]] = value = self._unpadded(op, value)
        if is_column(value) and not column:
            value = self._move(op, [value], turned(value.chw), value.shape)
        return value

    def _optional(self, op: Op, index: int) -> np.ndarray | None:
        return optional_constant(self.draft.values, op, index)

    def _floats(self, op: Op, index: int, size: int | None = None) -> np.ndarray:
        array = constant(self.draft.values, op, index)
        if str(array.dtype) not in REALS:
            op.fail(f"tensor {op.inputs[index]!r} has data type {array.dtype}", f"supported are {', '.join(REALS)}")
        array = array.astype(np.float32)
        if size is not None and array.size not in (1, size):
            op.cannot(f"tensor {op.inputs[index]!r} has {array.size} values", f"the chip takes {size}")
        return array if size is None else np.broadcast_to(array.reshape(-1), (size,))

    def _name(self, op: Op) -> str:
        name = self.names.new(op.name)
        self.origins[name] = op.name
        return name

    def _put(self, node: Node, shape: tuple[int, ...] | None = None, *, last: bool = False) -> Map:
        chw = node.infer(*(self.draft.shapes[name] for name in node.inputs))
        require_bounded(f"layer {node.name!r}", chw)
        self.draft.nodes[node.name] = node
        self.draft.shapes[node.name] = chw
        return Map(node.name, chw, shape or (1, *chw), last=last and chw[1:] != (1, 1))

    def _conv(self, op: Op) -> Map:
        x, weight = self._map(op, 0, padded=True, column=True), self._floats(op, 1)
        if weight.ndim != len(x.shape) or weight.ndim not in (3, 4):
            op.cannot(f"weight {op.inputs[1]!r} has shape {weight.shape}", "one and two dimensions can run")
        shape = x.shape
        if weight.ndim == 4 and weight.shape[2] == 1 and (x.chw[1:] == (1, shape[3]) or x.chw[1:] == (shape[3], 1)):
            x, op, weight = self._as_column(op, x, weight)
        else:
            x = self._map(op, 0, padded=True)
        if not is_column(x):
            require_stored(op, x.name, x)
        weight = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
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
        made = self._put(node)
        return replace(made, shape=(1, made.chw[0], 1, made.chw[1]) if is_column(x) else spatial(x, made.chw))

    def _as_column(self, op: Op, x: Map, weight: np.ndarray) -> tuple[Map, Op, np.ndarray]:
        """A convolution of a row that is longer than the chip's fields, or of a column already, as one of a column."""
        if x.chw[2] > LONGEST_ROW:
            x = self._unpadded(op, x)
            x = self._move(op, [x], turned(x.chw), x.shape)
        if not is_column(x):
            return x, op, weight
        attributes = dict(op.attributes)
        for name in ("strides", "dilations", "kernel_shape"):
            if name in attributes:
                attributes[name] = [attributes[name][1], attributes[name][0]]
        if "pads" in attributes:
            top, left, bottom, right = attributes["pads"]
            attributes["pads"] = [left, top, right, bottom]
        return x, replace(op, attributes=attributes), weight.swapaxes(2, 3)

    def _dense(self, op: Op, x: Map) -> Map:
        weight = self._floats(op, 1)
        gemm = op.kind == "Gemm"
        if gemm and op.attributes.get("transA", 0):
            op.cannot("transA is set", "only transA = 0 can run")
        weight = weight if gemm and op.attributes.get("transB", 0) else weight.T
        alpha, beta = np.float32(op.attributes.get("alpha", 1.0)), np.float32(op.attributes.get("beta", 1.0))
        weight = weight * alpha if gemm else weight
        bias = gemm and op.has(2)
        if weight.ndim == 2 and of_pixels(x, weight.shape[1]):  # a convolution of each pixel
            node = Conv2d(self._name(op), x.name, weight.shape[0], (1, 1), bias=bias)
            weight = weight[..., None, None]
        else:
            if weight.ndim != 2 or x.shape != (1, weight.shape[1]):
                op.cannot(f"input {x.shape} and weight {weight.T.shape} do not fit", "give (1, F) and (F, O)")
            if x.last:  # to the order of the chip
                apart = weight.reshape(len(weight), x.chw[1], x.chw[2], x.chw[0])
                weight = np.moveaxis(apart, 3, 1).reshape(len(weight), -1)
            if x.chw[1:] != (1, 1):
                x = self._put(Flatten(self.names.new(f"{op.name}_flatten"), x.name), x.shape)
            node = Linear(self._name(op), x.name, len(weight), bias)
        self.draft.weights[f"{node.name}.weight"] = np.ascontiguousarray(weight)
        if bias:
            self.draft.weights[f"{node.name}.bias"] = self._floats(op, 2, len(weight)) * beta
        return self._put(node, (*x.shape[:-1], len(weight)), last=x.last)

    def _normalise(self, op: Op, x: Map) -> Map:
        if op.attributes.get("training_mode", 0):
            op.fail("it is in training mode", "export the model for inference")
        gamma, beta, mean, variance = (self._floats(op, i, x.chw[0]).astype(np.float64) for i in range(1, 5))
        with np.errstate(all="ignore"):  # what comes out not finite is refused with the weights
            gain = gamma / np.sqrt(variance + op.attributes.get("epsilon", 1e-5))
            return self._affine(op, x, gain, beta - mean * gain, np.abs(beta) + np.abs(mean * gain))

    def _affine(self, op: Op, x: Map, gain: np.ndarray, offset: np.ndarray, magnitude: np.ndarray) -> Map:
        """Gain and offset per channel: into the layer before, or a 1x1 depthwise convolution.

        `magnitude` float64[C] is the sum of the magnitudes of what the offset is the sum of.
        """
        node = self.draft.nodes.get(x.name)
        if not isinstance(node, Conv2d | Linear) or not self._alone(op.inputs[0], x):
            name = self._name(op)
            self.draft.weights[f"{name}.weight"] = gain.astype(np.float32).reshape(-1, 1, 1, 1)
            self.draft.weights[f"{name}.bias"] = offset.astype(np.float32)
            self.draft.folded[name] = magnitude
            return self._put(Conv2d(name, x.name, x.chw[0], (1, 1), groups=x.chw[0]), x.shape, last=x.last)
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
        self.draft.values[op.inputs[0]] = OnHost()  # the map is no longer that value, and nothing else reads it
        return x

    def _alone(self, name: str, x: Map) -> bool:
        """Whether one operator alone reads a value, and nothing else shows its map."""
        return self.readers[name] == 1 and not self._read_elsewhere(x)

    def _read_elsewhere(self, x: Map) -> bool:
        """Whether another layer reads the map or another ONNX value shows it."""
        read = any(x.name in node.inputs for node in self.draft.nodes.values())
        return read or sum(isinstance(value, Map) and value.name == x.name for value in self.draft.values.values()) > 1

    def _pool(self, op: Op, x: Map) -> Map:
        win = window(op, (x.chw[1], x.chw[2]), op.attributes["kernel_shape"])
        if win.dilation != (1, 1):
            op.cannot(f"dilations are {win.dilation}", "pools run without dilation")
        if op.kind == "MaxPool":
            made = self._put(MaxPool(self._name(op), x.name, win.kernel, win.stride, win.padding))
        elif any(win.padding) and (not op.attributes.get("count_include_pad", 0) or op.attributes.get("ceil_mode", 0)):
            made = self._average(op, x, win)
        else:
            made = self._put(AvgPool(self._name(op), x.name, win.kernel, win.stride, win.padding))
        return replace(made, shape=spatial(x, made.chw))

    def _pad(self, op: Op, x: Map) -> Map:
        x = self._unpadded(op, x)
        fill = self._optional(op, 2)
        if fill is not None and fill.size and fill.reshape(-1)[0] != 0:
            op.cannot(f"it pads with {fill}", "only zeros can be taken up by the next layer")
        last = x.last and x.shape == (1, *x.chw[1:], x.chw[0])
        if not last:
            require_stored(op, x.name, x)
        padding = pad_amount(op, len(x.shape), self._optional(op, 1), self._optional(op, 3), last=last)
        if last or min(padding) < 0:
            return self._unpadded(op, replace(x, padding=padding))
        return replace(x, padding=padding, function=None)

    def _add(self, op: Op) -> Map:
        if (made := self._per_channel(op)) is not None:
            return made
        if any(isinstance(self.draft.values[name], np.ndarray) for name in op.inputs):
            op.cannot("it adds constants", "the chip adds maps")
        a, b = self._pair(op)
        return self._put(Add(self._name(op), a.name, b.name), a.shape, last=a.last)

    def _concat(self, op: Op) -> Map:
        parts = [self._map(op, index) for index in range(len(op.inputs))]
        axis = int(op.attributes["axis"])
        if any(channel_dimension(x) != axis % len(x.shape) for x in parts):
            return self._joined(op, parts, axis)
        require_joined(op, parts, axis)
        made = self._put(Concat(self._name(op), tuple(x.name for x in parts)))
        shape = list(parts[0].shape)
        shape[axis] = made.chw[0]
        return replace(made, shape=tuple(shape), last=parts[0].last and made.chw[1:] != (1, 1))


def _root(function: Function) -> Function:
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
