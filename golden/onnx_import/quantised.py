"""Import of quantised models: QLinear operators and the QDQ form become one quantised graph.

QDQ is read lazily: DequantizeLinear gives a view of its tensor, a float operator on such views a *pending* result,
Relu and Clip a clamp of it, and only QuantizeLinear writes the node. QLinear operators are the same steps at once.
Element-wise operators on views of one tensor give a *curve*, of which QuantizeLinear makes an activation table.
"""

from dataclasses import replace

import numpy as np

from golden.errors import GoldenError, OnnxError
from golden.int8.fallback import Port
from golden.int8.qgraph import QGraph, QTensor
from golden.int8.qnodes import QConcat, QHost, QNode, QPool
from golden.int8.requant import INT8
from golden.net.window import out_hw
from golden.onnx_import.attributes import Names, Window, clip_bounds, mean_axes_ok, pad_amount, reshaped, window
from golden.onnx_import.imported import Output, QuantisedModel, computed_outputs
from golden.onnx_import.islands import OnHost, cut, fold, on_chip_or_host, require_known
from golden.onnx_import.lower import NO_WINDOW, lower_add, lower_average, lower_conv, lower_max
from golden.onnx_import.model import (
    ELEMENTWISE_OPS,
    FLOAT_OPS,
    QUANTISED_OPS,
    WAY_OUT,
    Model,
    Op,
    require_bounded,
)
from golden.onnx_import.tables import compute_table, identity, merge_tables
from golden.onnx_import.values import (
    NO_PADDING,
    Activation,
    Curve,
    Fixed,
    Input,
    Pending,
    QParams,
    Target,
    Value,
    params_of,
    require_same,
    scale_of,
    zero_of,
)
from golden.onnx_import.walk import MALFORMED, VIEWS, require_shape, translate

__all__ = ["import_quantised"]

BYTES = ("int8", "uint8")
ONE_TENSOR = "element-wise operators run on one quantised tensor and single constants: put QuantizeLinear before them"


def import_quantised(model: Model) -> QuantisedModel:
    """Quantised graph of a model that brings its scales."""
    try:
        walk = _Walk(model)
    except MALFORMED as error:
        if isinstance(error, GoldenError):
            raise
        raise OnnxError(f"readers of input {model.input!r} are malformed ({error}); export the model again") from error
    return translate(model, walk.step, walk.finish)


class _Walk:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.values: dict[str, Value | OnHost] = dict(model.constants)
        self.tensors: dict[str, QTensor] = {}
        self.unsigned: dict[str, bool] = {}
        self.unscaled: list[str] = []
        self.refusals: dict[str, str] = {}
        self.nodes: list[QNode] = []
        self.roots: dict[str, Activation] = {}
        """What a tensor that a table writes is a function of, through other tables too."""
        self.input = ""
        self.names, self.tensor_names = Names(), Names()
        if model.input_type == "float32":
            self.values[model.input] = Input(model.input_shape)
        else:
            params = self._input_params(model.input) or QParams(np.float32(1), 0, model.input_type == "uint8")
            if params.unsigned != (model.input_type == "uint8"):
                raise OnnxError(
                    f"input {model.input!r} is {model.input_type}, but its zero point is "
                    f"{'uint8' if params.unsigned else 'int8'}; quantise the model again"
                )
            self.values[model.input] = self._new_input(model.input, model.input_shape, params)

    def step(self, op: Op) -> None:
        """Import one operator."""
        on_chip_or_host(self, op, ("values", "tensors", "unsigned", "unscaled", "nodes", "roots", "input"))

    def chip(self, op: Op) -> None:
        """Import one operator for the chip."""
        require_known(op, FLOAT_OPS | QUANTISED_OPS)
        self.values[op.outputs[0]] = value = self._dispatch(op)
        if not isinstance(value, Fixed | OnHost) and getattr(value, "padding", NO_PADDING) == NO_PADDING:
            require_shape(self.model, op, value.shape)

    def host(self, op: Op) -> None:
        """Import one operator for the host: integers become tensors at once, real numbers where they are quantised."""
        folded = fold(self.model, op, lambda name: isinstance(self.values[name], np.ndarray))
        for name in filter(None, op.outputs):
            if folded is not None:
                self.values[name] = folded[name]
            elif op.kind in QUANTISED_OPS or op.kind.startswith("QLinear") or self.model.types.get(name) in BYTES:
                self.values[name] = self._bring(op, name, self._input_params(name))
            else:
                self.values[name] = OnHost()

    def _bring(self, op: Op, name: str, params: QParams | None) -> Activation:
        """Have the host compute a quantised value."""
        part, read = cut(self.model, op, name, self._port)
        unsigned = part.output.dtype == "uint8"
        real = part.output.dtype == "float32" and name in self.model.outputs and params is None
        params = params or QParams(np.float32(1), 0, unsigned)
        if not (real or part.output.dtype in BYTES) or params.unsigned != unsigned:
            op.fail(f"its output {name!r} is {part.output.dtype}", "quantise the model again")
        sources = [value.tensor for value in (self.values[source] for source in read) if isinstance(value, Activation)]
        tensor = self._tensor(name, part.output.chw, params)
        scales = tuple((self.tensors[source].scale, self.tensors[source].zero_point) for source in (*sources, tensor))
        self.unscaled += [tensor] if real else []
        self.nodes.append(QHost(self.names.new(part.name), tuple(sources), tensor, part, scales))
        return Activation(tensor, part.output.chw, part.output.shape, params)

    def _port(self, name: str) -> Port | None:
        value = self.values[name]
        if not isinstance(value, Activation) or value.real or value.padding != NO_PADDING:
            return None
        return Port(name, value.shape, "uint8" if value.params.unsigned else "int8")

    def finish(self) -> QuantisedModel:
        """The model, once every operator is in."""
        outputs = [self._output(name) for name in self.model.outputs]
        computed = computed_outputs(self.model, outputs, self.input)
        nodes = merge_tables(self.nodes, computed)
        kept = {self.input, *computed, *(node.output for node in nodes)}
        tensors = {name: tensor for name, tensor in self.tensors.items() if name in kept}
        graph = QGraph(self.names.new(self.model.name), self.input, computed, tensors, tuple(nodes))
        names = {
            value.tensor: name
            for name, value in self.values.items()
            if isinstance(value, Activation) and not value.real and value.padding == NO_PADDING and value.tensor in kept
        }
        unscaled = tuple(self.unscaled)
        return QuantisedModel(graph, self.unsigned, self.model.port, tuple(outputs), names, self.refusals, unscaled)

    def _output(self, name: str) -> Output:
        value = self.values[name]
        if isinstance(value, np.ndarray | Fixed):
            return Output(name, (value if isinstance(value, np.ndarray) else value.raw).shape, None)
        if isinstance(value, Input):
            return Output(name, value.shape, self.input)
        there = isinstance(value, Activation) and value.padding == NO_PADDING
        if not there and self.model.fallback:
            self.values[name] = value = self._bring(self.model.maker[name], name, None)
        elif not there:
            raise OnnxError(f"output {name!r} is not quantised; end the model by QuantizeLinear of a layer{WAY_OUT}")
        assert isinstance(value, Activation)
        return Output(name, value.shape, value.tensor)

    def _dispatch(self, op: Op) -> "Value | OnHost":
        kind = op.kind
        if kind == "QuantizeLinear":
            return self._quantize(op)
        if kind == "DequantizeLinear":
            return self._dequantize(op)
        if kind in VIEWS:
            return self._view(op)
        if kind in QUANTISED_OPS:
            return self._qlinear(op)
        first = self.values[op.inputs[0]]
        if kind == "MaxPool" and isinstance(first, Activation) and not first.real:
            return self._quantised_max(op, first)
        if kind == "Pad":
            return self._pad(op)
        return self._float(op)

    # Values

    def _array(self, op: Op, index: int) -> np.ndarray:
        value = self.values[op.inputs[index]]
        if not isinstance(value, np.ndarray):
            op.cannot(f"input {op.inputs[index]!r} is computed", "it must be a constant; simplify the model (onnxsim)")
        return value

    def _optional(self, op: Op, index: int) -> np.ndarray | None:
        return self._array(op, index) if op.has(index) else None

    def _params(self, op: Op, scale: int, zero: int) -> QParams:
        return params_of(
            op, op.inputs[scale], self._array(op, scale), op.inputs[zero] if op.has(zero) else "",
            self._optional(op, zero),
        )  # fmt: skip

    def _activation(self, op: Op, index: int, params: QParams | None = None) -> Activation:
        """An operand; with `params`, the quantised one that an operator reads with these."""
        name = op.inputs[index]
        value = self.values[name]
        if not isinstance(value, Activation) or value.real != (params is None):
            op.cannot(
                f"input {name!r} is {'a constant' if isinstance(value, Fixed | np.ndarray) else 'not quantised'}",
                "every operator needs quantised operands: put QuantizeLinear and DequantizeLinear around it",
            )
        if params is not None:
            require_same(op, name, value.params, params)
        return value

    def _map(self, op: Op, x: Activation, *, padded: bool = False) -> Activation:
        """An operand that must be seen as the (1, C, H, W) it is stored as."""
        if x.shape != (1, *x.chw):
            op.cannot(f"it reads {x.tensor!r} of shape {(1, *x.chw)} as {x.shape}", "only fully connected layers can")
        if not padded:
            self._unpadded(op, x)
        return x

    def _unpadded(self, op: Op, x: Activation) -> Activation:
        if x.padding != NO_PADDING:
            op.cannot("it reads the output of a Pad", "only a convolution can take one up")
        return x

    def _new_input(self, name: str, shape: tuple[int, ...], params: QParams) -> Activation:
        chw = (shape[1], 1, 1) if len(shape) == 2 else (shape[1], shape[2], shape[3])
        self.input = self._tensor(name, chw, params)
        return Activation(self.input, chw, shape, params)

    def _tensor(self, name: str, chw: tuple[int, int, int], params: QParams) -> str:
        require_bounded(f"value {name!r}", chw)
        safe = self.tensor_names.new(name)
        self.tensors[safe] = QTensor(safe, chw, float(params.scale), params.zero_point)
        self.unsigned[safe] = params.unsigned
        return safe

    def _input_params(self, name: str) -> QParams | None:
        """Parameters with which the first reader of a quantised input takes it."""
        for op in self.model.ops:
            for index, read in enumerate(op.inputs):
                if read != name:
                    continue
                found = None
                if op.kind in (*VIEWS, "MaxPool", "Pad"):
                    found = self._input_params(op.outputs[0])
                elif op.kind in QUANTISED_OPS:
                    found = self._params(op, index + 1, index + 2)
                if found is not None:
                    return found
        return None

    # Quantisation

    def _quantize(self, op: Op) -> Value:
        if op.attributes.get("output_dtype", 0) not in (0, 2, 3):
            op.fail(f"output_dtype is {op.attributes['output_dtype']}", "supported data types are int8 and uint8")
        value = self.values[op.inputs[0]]
        if isinstance(value, np.ndarray):
            return self._quantize_constant(op, value)
        params = self._params(op, 1, 2)
        if not op.has(2) and op.attributes.get("output_dtype", 2) == 3:
            params = QParams(params.scale, 0, False)
        if isinstance(value, Input):
            if self.input:
                have = self.values[self.model.input + "\0quantised"]
                assert isinstance(have, Activation)
                require_same(op, op.inputs[0], have.params, params)
                return have
            made = self._new_input(op.outputs[0], value.shape, params)
            self.values[self.model.input + "\0quantised"] = made
            return made
        if isinstance(value, Activation) and value.real:
            if value.params == params:
                return replace(value, real=False)
            value = self._pass_on(op, self._unpadded(op, value))
        if isinstance(value, OnHost):
            return self._bring(op, op.outputs[0], params)
        if isinstance(value, Curve):
            return self._tabled(op, value, params)
        if not isinstance(value, Pending):
            op.fail(f"input {op.inputs[0]!r} is quantised already", "drop this node")
        return self._write(op.outputs[0], value, params)

    def _quantize_constant(self, op: Op, value: np.ndarray) -> np.ndarray:
        scale = scale_of(op, op.inputs[1], self._array(op, 1))
        zero_array = self._optional(op, 2)
        zero = zero_of(op, op.inputs[2], zero_array, scale) if zero_array is not None else np.zeros(1, np.uint8)
        if value.dtype != np.float32 or zero.dtype == np.int32:
            op.fail(f"it turns {value.dtype} into {zero.dtype}", "supported are float32 into int8 and uint8")
        shape = [1] * value.ndim
        if scale.size > 1:
            shape[op.attributes.get("axis", 1)] = scale.size
        raw = np.rint(value / scale.reshape(shape)) + zero.reshape(shape if zero.size > 1 else [1] * value.ndim)
        info = np.iinfo(zero.dtype)
        if np.isnan(raw).any():
            op.fail(f"tensor {op.inputs[0]!r} holds NaN", "export the model again")
        return np.clip(raw, info.min, info.max).astype(zero.dtype)

    def _dequantize(self, op: Op) -> Value:
        value = self.values[op.inputs[0]]
        if isinstance(value, np.ndarray):
            if value.dtype not in (np.int8, np.uint8, np.int32):
                op.fail(f"tensor {op.inputs[0]!r} has data type {value.dtype}", "supported are int8, uint8 and int32")
            return self._fixed(op, value, 1, 2, op.attributes.get("axis", 1))
        if not isinstance(value, Activation):
            op.cannot(f"input {op.inputs[0]!r} is not quantised", "put a QuantizeLinear before it")
        params = self._params(op, 1, 2)
        if not op.has(2) and not value.params.unsigned:
            params = QParams(params.scale, 0, False)
        require_same(op, op.inputs[0], value.params, params)
        return replace(value, real=True)

    def _fixed(self, op: Op, raw: np.ndarray, scale_index: int, zero_index: int, axis: int) -> Fixed:
        scale = scale_of(op, op.inputs[scale_index], self._array(op, scale_index))
        zero = np.zeros(1, raw.dtype)
        if op.has(zero_index):
            zero = zero_of(op, op.inputs[zero_index], self._array(op, zero_index), scale)
            if zero.dtype != raw.dtype:
                op.fail(f"zero point {op.inputs[zero_index]!r} is {zero.dtype}", f"its tensor is {raw.dtype}")
        if scale.size > 1:
            axis += raw.ndim if axis < 0 else 0
            if not 0 <= axis < raw.ndim or raw.shape[axis] != scale.size:
                op.fail(f"{scale.size} scales for a tensor {raw.shape} along axis {axis}", "give one per channel")
        return Fixed(raw, scale, zero, axis)

    def _write(self, name: str, pending: Pending, params: QParams) -> Activation:
        lo, hi = params.bound(pending.lo, INT8[0]), params.bound(pending.hi, INT8[1])
        tensor = self._tensor(name, pending.chw, params)
        pending.emit(Target(tensor, params, lo, hi))
        return Activation(tensor, pending.chw, pending.shape, params)

    # Layers. Each gives a pending result, whose emit() appends the node once its output's scale is known.

    def _qlinear(self, op: Op) -> Value:
        if op.kind == "QLinearConcat":
            return self._write(op.outputs[0], self._concat_of(op, self._concat_parts(op)), self._params(op, 0, 1))
        x = self._activation(op, 0, self._params(op, 1, 2))
        if op.kind == "QLinearConv":
            self._integers(op, 3)
            weight = self._fixed(op, self._array(op, 3), 4, 5, 0)
            pending = self._conv(op, x, weight, self._optional(op, 8))
            return self._write(op.outputs[0], pending, self._params(op, 6, 7))
        if op.kind == "QLinearMatMul":
            self._integers(op, 3)
            pending = self._dense(op, x, self._fixed(op, self._array(op, 3), 4, 5, 1), None, transposed=False)
            return self._write(op.outputs[0], pending, self._params(op, 6, 7))
        if op.kind == "QGemm":
            if not op.has(7):
                op.cannot("its output is float", "give y_scale and y_zero_point")
            self._check_gemm(op)
            self._integers(op, 3)
            transposed = bool(op.attributes.get("transB", 0))
            weight = self._fixed(op, self._array(op, 3), 4, 5, 0 if transposed else 1)
            pending = self._dense(op, x, weight, self._optional(op, 6), transposed=transposed)
            return self._write(op.outputs[0], pending, self._params(op, 7, 8))
        if op.kind in ("QLinearLeakyRelu", "QLinearSigmoid"):
            return self._tabled(op, self._curve_of(op, [x]), self._params(op, 3, 4))
        if op.kind == "QLinearMul":
            b = self._activation(op, 3, self._params(op, 4, 5))
            return self._tabled(op, self._curve_of(op, [x, b]), self._params(op, 6, 7))
        if op.kind == "QLinearAdd":
            b = self._activation(op, 3, self._params(op, 4, 5))
            return self._write(op.outputs[0], self._add(op, x, b), self._params(op, 6, 7))
        if op.attributes.get("channels_last", 0):
            op.cannot("channels_last is 1", "only channels-first maps can run")
        pending = self._global(op, x) if op.kind == "QLinearGlobalAveragePool" else self._average(op, x)
        return self._write(op.outputs[0], pending, self._params(op, 3, 4))

    def _integers(self, op: Op, index: int) -> None:
        array = self._array(op, index)
        if array.dtype not in (np.int8, np.uint8):
            op.fail(f"weight {op.inputs[index]!r} has data type {array.dtype}", "supported are int8 and uint8")

    def _float(self, op: Op) -> Pending | Curve:
        """A float operator between DequantizeLinear and QuantizeLinear."""
        kind = op.kind
        curve = self._curve(op) if kind in ELEMENTWISE_OPS else None
        if curve is not None:
            return curve
        if kind in ("Relu", "Clip"):
            low, high = clip_bounds(op, [self._optional(op, 1), self._optional(op, 2)])
            value = self.values[op.inputs[0]]
            pending = value if isinstance(value, Pending) else self._pass_on(op, self._activation(op, 0))
            lo, hi = min(max(pending.lo, low), high), min(max(pending.hi, low), high)
            return replace(pending, lo=lo, hi=hi)
        if kind == "Concat":
            return self._concat_of(op, [self._activation(op, index) for index in range(len(op.inputs))])
        if kind in ELEMENTWISE_OPS - {"Add"}:
            op.cannot("it works on more than one tensor, or not on a quantised one", ONE_TENSOR)
        x = self._activation(op, 0)
        if kind == "Conv":
            return self._conv(op, x, self._weight(op, 1), self._bias(op, 2))
        if kind == "MatMul":
            return self._dense(op, x, self._weight(op, 1), None, transposed=False)
        if kind == "Gemm":
            self._check_gemm(op)
            transposed = bool(op.attributes.get("transB", 0))
            return self._dense(op, x, self._weight(op, 1), self._bias(op, 2), transposed=transposed)
        if kind == "Add":
            return self._add(op, x, self._activation(op, 1))
        if kind == "MaxPool":
            return self._max(op, x)
        if kind == "AveragePool":
            return self._average(op, x)
        if kind == "GlobalAveragePool":
            return self._global(op, x)
        if kind == "ReduceMean" and mean_axes_ok(op, len(x.shape), self._optional(op, 1)):
            pending = self._global(op, x)
            return pending if op.attributes.get("keepdims", 1) else replace(pending, shape=pending.shape[:2])
        return op.cannot("this form of it cannot run in a quantised model", "fold it away before quantisation")

    def _curve(self, op: Op) -> Curve | None:
        """The function that an element-wise operator continues or begins, if it reads one tensor and single constants.

        A clamp right on a tensor begins none: the node before, or a requantisation, can do it.
        """
        read: list[Activation | Curve] = []
        ranks: list[int] = []
        for value in (self.values[name] for name in op.inputs if name):
            match value:
                case Curve() | Activation(real=True, padding=(0, 0, 0, 0)):
                    read.append(value)
                case Fixed(raw=raw) if raw.size == 1:
                    ranks.append(raw.ndim)
                case np.ndarray() if value.size == 1:
                    ranks.append(value.ndim)
                case _:
                    return None
        if not read or max(ranks, default=0) > len(read[0].shape):  # then the result has more dimensions
            return None
        if op.kind in ("Relu", "Clip") and not any(isinstance(value, Curve) for value in read):
            return None
        return self._common(read)

    def _common(self, read: list[Activation | Curve]) -> Curve | None:
        """Curve of an operator on these values, if they are functions of one tensor and of one shape."""
        sources = [x.source if isinstance(x, Curve) else self.roots.get(x.tensor, x) for x in read]
        if len({source.tensor for source in sources}) != 1 or len({x.shape for x in read}) != 1:
            return None
        return Curve(sources[0], read[0].shape)

    def _curve_of(self, op: Op, read: list[Activation]) -> Curve:
        for x in read:
            self._unpadded(op, x)
        curve = self._common([*read])
        if curve is None:
            op.cannot("it multiplies two tensors", ONE_TENSOR)
        return curve

    def _tabled(self, op: Op, curve: Curve, params: QParams) -> Activation:
        """A table alone; `finish` merges it with the node before, if that has a requantisation."""
        x = curve.source

        def is_source(name: str) -> bool:
            value = self.values.get(name)
            return isinstance(value, Activation) and not value.real and value.tensor == x.tensor

        table = compute_table(self.model, op, curve, is_source, unsigned=params.unsigned)
        tensor = self._tensor(op.outputs[0], x.chw, params)
        zero = x.params.zero_point
        requant = replace(identity(x.chw[0], zero), table=table)
        window = (NO_WINDOW.kernel, NO_WINDOW.stride, NO_WINDOW.padding)
        self.nodes.append(QPool(self._name(op), "avgpool", x.tensor, tensor, *window, requant, zero, -zero))
        self.roots[tensor] = x
        return Activation(tensor, x.chw, curve.shape, params)

    def _weight(self, op: Op, index: int) -> Fixed:
        value = self.values[op.inputs[index]]
        if not isinstance(value, Fixed) or value.raw.dtype == np.int32:
            op.cannot(f"weight {op.inputs[index]!r} is no int8 or uint8 constant", "quantise the weights too")
        return value

    def _bias(self, op: Op, index: int) -> Fixed | np.ndarray | None:
        if not op.has(index):
            return None
        value = self.values[op.inputs[index]]
        if not isinstance(value, Fixed) and not (isinstance(value, np.ndarray) and value.dtype == np.float32):
            op.cannot(f"bias {op.inputs[index]!r} is no constant of int32 or float32", "export the model again")
        return value

    def _check_gemm(self, op: Op) -> None:
        attributes = op.attributes
        if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            op.cannot("transA, alpha or beta is set", "only transA = 0, alpha = beta = 1 can run")

    def _conv(self, op: Op, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None) -> Pending:
        self._map(op, x, padded=True)
        if weight.raw.ndim != 4 or (weight.scale.size > 1 and weight.axis != 0):
            op.cannot(f"weight is {weight.raw.shape}, scales on axis {weight.axis}", "give [O, I, Kh, Kw] and axis 0")
        groups = int(op.attributes.get("group", 1))
        filters, depth = weight.raw.shape[:2]
        if groups < 1 or depth * groups != x.chw[0] or filters % groups:
            op.fail(f"weight {weight.raw.shape} with group {groups} does not fit {x.chw[0]} channels", "check group")
        given = op.attributes.get("kernel_shape")
        if given is not None and tuple(given) != weight.raw.shape[2:]:
            op.fail(f"kernel_shape is {tuple(given)}, weight {weight.raw.shape}", "they must agree")
        before = x.padding
        size = (x.chw[1] + before[0] + before[2], x.chw[2] + before[1] + before[3])
        win = window(op, size, weight.raw.shape[2:])
        top, left, bottom, right = (a + b for a, b in zip(win.padding, before, strict=True))
        win = replace(win, padding=(top, left, bottom, right))
        chw = (filters, *out_hw((x.chw[1], x.chw[2]), win.kernel, win.stride, win.padding, win.dilation))
        return self._filters(op, "conv", x, weight, bias, win, groups, chw, (1, *chw))

    def _dense(
        self, op: Op, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None, *, transposed: bool
    ) -> Pending:
        self._unpadded(op, x)
        if weight.raw.ndim != 2 or x.shape != (1, weight.raw.shape[transposed]):
            op.cannot(f"input {x.shape} and weight {weight.raw.shape} do not fit", "give (1, F) and (F, O)")
        if weight.scale.size > 1 and weight.axis != (0 if transposed else 1):
            op.cannot(f"scales lie along axis {weight.axis}", "they must belong to output channels")
        raw = weight.raw if transposed else weight.raw.T
        reordered = replace(weight, raw=np.ascontiguousarray(raw).reshape(-1, *x.chw), axis=0)
        chw = (raw.shape[0], 1, 1)
        return self._filters(op, "fc", x, reordered, bias, NO_WINDOW, 1, chw, (1, raw.shape[0]))

    def _filters(
        self, op: Op, kind: str, x: Activation, weight: Fixed, bias: Fixed | np.ndarray | None, win: Window,
        groups: int, chw: tuple[int, int, int], shape: tuple[int, ...],
    ) -> Pending:  # fmt: skip
        def emit(target: Target) -> None:
            self.nodes.append(lower_conv(op, self._name(op), kind, x, weight, bias, win, groups, target))

        if min(chw) < 1:
            op.fail(f"its output is {chw}", "the kernel must fit the input")
        return Pending(emit, chw, shape)

    def _add(self, op: Op, a: Activation, b: Activation) -> Pending:
        for x in (a, b):
            self._unpadded(op, x)
        if a.shape != b.shape or a.chw != b.chw:
            op.cannot(f"it adds {a.shape} and {b.shape}", "both need one shape")

        def emit(target: Target) -> None:
            # On x86, ONNX Runtime makes QLinearAdd of the QDQ form where it is uint8 and has no clamp of its own;
            # what stays an Add rounds before the zero point, as the standard says.
            fused = op.kind == "QLinearAdd" or (target.params.unsigned and not target.clamped)
            self.nodes.append(lower_add(self._name(op), a, b, target, zero_first=fused))

        return Pending(emit, a.chw, a.shape)

    def _pool_window(self, op: Op, x: Activation) -> tuple[Window, tuple[int, int, int]]:
        self._map(op, x)
        win = window(op, (x.chw[1], x.chw[2]), op.attributes["kernel_shape"])
        top, left, bottom, right = win.padding
        if win.dilation != (1, 1) or max(top, bottom) >= win.kernel[0] or max(left, right) >= win.kernel[1]:
            op.cannot(f"pool {win}", "it can run without dilation and with less padding than kernel")
        return win, (x.chw[0], *out_hw((x.chw[1], x.chw[2]), win.kernel, win.stride, win.padding))

    def _average(self, op: Op, x: Activation) -> Pending:
        win, chw = self._pool_window(op, x)
        if any(win.padding) and (not op.attributes.get("count_include_pad", 0) or op.attributes.get("ceil_mode", 0)):
            op.cannot("its padded windows have fewer elements", "padding can run with count_include_pad=1, ceil_mode=0")

        def emit(target: Target) -> None:
            # ONNX Runtime's QLinearAveragePool, made of the QDQ form too, adds the zero point before it rounds.
            pool = lower_average(self._name(op), x, win, target, zero_first=not target.clamped)
            self.nodes.append(pool)

        return Pending(emit, chw, (1, *chw))

    def _global(self, op: Op, x: Activation) -> Pending:
        self._map(op, x)
        win = replace(NO_WINDOW, kernel=(x.chw[1], x.chw[2]))
        chw = (x.chw[0], 1, 1)
        return Pending(lambda target: self.nodes.append(lower_average(self._name(op), x, win, target)), chw, (1, *chw))

    def _quantised_max(self, op: Op, x: Activation) -> Activation:
        win, chw = self._pool_window(op, x)
        tensor = self._tensor(op.outputs[0], chw, x.params)
        self.nodes.append(lower_max(self._name(op), x, win, tensor))
        return Activation(tensor, chw, (1, *chw), x.params)

    def _max(self, op: Op, x: Activation) -> Pending:
        """Maximum between two quantisations: with another scale or a clamp behind it, a requantisation follows."""
        win, chw = self._pool_window(op, x)

        def emit(target: Target) -> None:
            if x.params == target.params and not target.clamped:
                self.nodes.append(lower_max(self._name(op), x, win, target.tensor))
                return
            tensor = self._tensor(op.outputs[0], chw, x.params)
            self.nodes.append(lower_max(self._name(op), x, win, tensor))
            self._requantise(op, Activation(tensor, chw, (1, *chw), x.params), target)

        return Pending(emit, chw, (1, *chw))

    def _pass_on(self, op: Op, x: Activation) -> Pending:
        """The value itself: a clamp or another scale makes it a 1x1 average."""
        self._unpadded(op, x)
        return Pending(lambda target: self._requantise(op, x, target), x.chw, x.shape)

    def _requantise(self, op: Op, x: Activation, target: Target) -> None:
        self.nodes.append(lower_average(self._name(op), x, NO_WINDOW, target))

    def _concat_parts(self, op: Op) -> list[Activation]:
        if len(op.inputs) < 5 or (len(op.inputs) - 2) % 3:
            op.fail(f"it has {len(op.inputs)} inputs", "give y_scale, y_zero_point and three for each part")
        return [self._activation(op, i, self._params(op, i + 1, i + 2)) for i in range(2, len(op.inputs), 3)]

    def _concat_of(self, op: Op, parts: list[Activation]) -> Pending:
        axis, shape, chw = op.attributes.get("axis", 1), parts[0].shape, parts[0].chw
        for x in parts:
            self._unpadded(op, x)
            alike = len(x.shape) == len(shape) and (x.shape[2:], x.chw[1:]) == (shape[2:], chw[1:])
            if not alike or x.shape[:2] != (1, x.chw[0]) or axis % len(shape) != 1:
                op.cannot(f"it joins {[x.shape for x in parts]} along axis {axis}", "only channels can be joined")
        chw = (sum(x.chw[0] for x in parts), chw[1], chw[2])

        def emit(target: Target) -> None:
            names = []
            for x in parts:
                name = x.tensor
                if x.params != target.params or target.clamped:
                    name = self._tensor(f"{x.tensor}.{target.tensor}", x.chw, target.params)
                    self._requantise(op, x, replace(target, tensor=name))
                names.append(name)
            self.nodes.append(QConcat(self._name(op), tuple(names), target.tensor))

        return Pending(emit, chw, (1, chw[0], *shape[2:]))

    def _view(self, op: Op) -> Value:
        value = self.values[op.inputs[0]]
        if isinstance(value, np.ndarray) and op.kind == "Identity":
            return value
        if not isinstance(value, Activation | Pending | Curve):
            op.cannot(f"input {op.inputs[0]!r} is a constant or not quantised", "simplify the model (onnxsim)")
        if isinstance(value, Activation) and op.kind not in ("Dropout", "Identity"):
            self._unpadded(op, value)
        if op.kind == "Dropout" and op.has(2) and self._array(op, 2).any():
            op.fail("it is in training mode", "export the model for inference")
        constant = self._optional(op, 1) if op.kind != "Dropout" else None
        return replace(value, shape=reshaped(op, value.shape, constant))

    def _pad(self, op: Op) -> Activation:
        value = self.values[op.inputs[0]]
        if not isinstance(value, Activation):
            op.cannot(f"input {op.inputs[0]!r} is not quantised", "put QuantizeLinear and DequantizeLinear before it")
        self._map(op, value)
        fill = self._optional(op, 2)
        zero = 0 if value.real else value.params.zero_point + 128 * value.params.unsigned
        if (0 if fill is None else fill.reshape(-1)[0]) != zero:
            op.cannot(f"it pads with {fill}", f"only the zero point ({zero}) can be taken up by the next layer")
        top, left, bottom, right = pad_amount(op, len(value.shape), self._optional(op, 1), self._optional(op, 3))
        return replace(value, padding=(top, left, bottom, right))

    def _name(self, op: Op) -> str:
        return self.names.new(op.name)
