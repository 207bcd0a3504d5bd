"""Import of quantised models: QLinear operators and the QDQ form become one quantised graph."""

import numpy as np

from golden.errors import GoldenError, OnnxError, UnsupportedError
from golden.int8.fallback import INTEGERS, Port
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QHost
from golden.onnx_import.builder import Builder
from golden.onnx_import.hosted import bring
from golden.onnx_import.imported import Output, QuantisedModel, computed_outputs, nothing_runs
from golden.onnx_import.islands import OnHost, tail
from golden.onnx_import.layers import plain_max_pool
from golden.onnx_import.model import FLOAT_OPS, QUANTISED_OPS, Model, Op
from golden.onnx_import.qdq import dequantize, import_float_op, quantize, target_params
from golden.onnx_import.qlinear import import_qlinear
from golden.onnx_import.quantised_maps import COPIES
from golden.onnx_import.tables import merge_tables
from golden.onnx_import.values import NO_PADDING, Activation, Fixed, Value
from golden.onnx_import.views import view
from golden.onnx_import.walk import MALFORMED, VIEWS, on_chip_or_host, require_known, require_shape, translate
from golden.onnx_import.work import share_of

__all__ = ["import_quantised"]


LAYERS = ("Conv", "Gemm", "MatMul", "QGemm", "QLinearConv", "QLinearMatMul")
"""Operators with weights."""
PASSING = (*VIEWS, "DequantizeLinear", "QuantizeLinear")
"""Operators behind which a value is still the same."""


def import_quantised(model: Model) -> QuantisedModel:
    """Quantised graph of a model that brings its scales."""
    try:
        walk = _QuantisedWalk(model)
    except MALFORMED as error:
        if isinstance(error, GoldenError):
            raise
        raise OnnxError(f"readers of an input of {model.name!r} are malformed ({error}); export it again") from error
    return translate(model, walk.step, walk.finish)


class _QuantisedWalk:
    """The walk over the operators of a quantised model, and what it leaves."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.build = Builder(model)
        self.draft = self.build.draft
        self.refusals: dict[str, str] = {}
        self.near = {port.name for port in model.inputs}
        """Inputs of the model, quantised perhaps."""
        self.draft.values |= {port.name: OnHost() for port in model.inputs}  # a scale may be one of them
        self.draft.values |= {port.name: self._input(port) for port in model.inputs}

    def _input(self, port: Port) -> Value | OnHost:
        """An input: integers that the chip reads are a tensor at once, all else is on the host."""
        try:
            params = self.build.reader_params(port.name) if port.dtype in INTEGERS else None
        except UnsupportedError:  # the chip cannot read it so, which the walk says of the reader
            params = None
        if params is None:
            return OnHost()
        if params.unsigned != (port.dtype == "uint8"):
            raise OnnxError(
                f"input {port.name!r} is {port.dtype}, but its zero point is "
                f"{'uint8' if params.unsigned else 'int8'}; quantise the model again"
            )
        return bring(self.build, port.name, params)

    def step(self, op: Op) -> None:
        """Import one operator."""
        if self._stays(op):
            self.host(op)
        else:
            on_chip_or_host(self, op)

    def _stays(self, op: Op) -> bool:
        """Whether an operator is for the host although the chip knows it: all that it reads is there.

        Layers with weights are worth the way to the chip, and so is what reads the model's own input.
        """
        values = self.draft.values
        computed = [name for name in op.reads if not isinstance(values[name], np.ndarray | Fixed)]
        if op.kind in LAYERS or not computed or not all(isinstance(values[name], OnHost) for name in computed):
            return False
        if op.kind in PASSING:
            self.near.update(op.outputs[:1] if op.inputs[0] in self.near else ())
            return True
        return op.kind in FLOAT_OPS | QUANTISED_OPS and not self.near.intersection(computed)

    def chip(self, op: Op) -> None:
        """Import one operator for the chip."""
        require_known(op, FLOAT_OPS - {"Softmax"} | QUANTISED_OPS)  # only reals mix two channels in the layer before
        for name in filter(None, op.inputs):
            self._want(name)
        made = self._dispatch(op)
        for name, value in zip(op.outputs, made if isinstance(made, list) else [made], strict=True):
            self.draft.values[name] = value
            if not isinstance(value, Fixed | OnHost) and getattr(value, "padding", NO_PADDING) == NO_PADDING:
                require_shape(self.model, op, value.shape, name)

    def host(self, op: Op) -> None:
        """Import one operator for the host; integers become tensors once the chip reads them."""
        self.draft.values |= {name: OnHost() for name in op.outputs if name}

    def _want(self, name: str) -> None:
        """Have the host bring a value to the chip, if it is one of integers with a scale, or seen through that."""
        build, values = self.build, self.draft.values
        if not isinstance(values[name], OnHost):
            return
        op = self.model.maker.get(name)
        if op is not None and op.kind == "DequantizeLinear":
            self._want(op.inputs[0])
            if isinstance(values[op.inputs[0]], Activation):
                values[name] = dequantize(build, op)
        elif op is not None and op.kind == "QuantizeLinear":
            values[name] = bring(build, name, target_params(build, op))
        elif self.model.types.get(name) in INTEGERS:
            values[name] = bring(build, name, build.reader_params(name))

    def _dispatch(self, op: Op) -> Value | OnHost | list[Activation]:
        """The value that an operator puts out."""
        build, kind = self.build, op.kind
        if kind == "QuantizeLinear":
            return quantize(build, op)
        if kind == "DequantizeLinear":
            return dequantize(build, op)
        if kind in VIEWS:
            return view(build, op)
        if kind in QUANTISED_OPS:
            return import_qlinear(build, op)
        first = build.value(op)
        if kind == "MaxPool" and isinstance(first, Activation) and not first.real:
            return plain_max_pool(build, op, first)
        return COPIES[kind](build, op) if kind in COPIES else import_float_op(build, op)

    def finish(self) -> QuantisedModel:
        """The model, once every operator is in."""
        draft, model = self.draft, self.model
        outputs = tuple(self._output(name) for name in model.outputs)
        left = [output.name for output in outputs if output.value is None and not output.constant]
        behind = tail(model, left, self.build.port, self._tensor_name) if left else None
        read = [name for _, name in behind.inputs] if behind else []
        computed = computed_outputs(model, outputs, read, self.refusals)
        nodes = merge_tables(draft.nodes, computed)
        source = next((node for node in nodes if isinstance(node, QHost) and not node.inputs), None)
        if source is None or all(isinstance(node, QHost) for node in nodes):
            raise OnnxError(nothing_runs(model, self.refusals))
        nodes.remove(source)
        kept = {source.output, *computed, *(node.output for node in nodes)}
        tensors = {name: tensor for name, tensor in draft.tensors.items() if name in kept}
        graph = QGraph(self.build.names.new(model.name), source.output, computed, tensors, tuple(nodes))
        shown = {
            value.tensor: (name, value.last)
            for name, value in draft.values.items()
            if isinstance(value, Activation) and not value.real and value.padding == NO_PADDING and value.tensor in kept
        }
        names = {tensor: name for tensor, (name, _) in shown.items()}
        last = frozenset(tensor for tensor, (_, is_last) in shown.items() if is_last)
        scales = {
            port.name: (float(value.params.scale), value.params.zero_point)
            for port in model.inputs
            if isinstance(value := draft.values[port.name], Activation)
        }
        parts = [source.part, *(node.part for node in nodes if isinstance(node, QHost)), *([behind] if behind else [])]
        share = share_of(model, self.refusals, parts)
        return QuantisedModel(
            model.inputs,
            source.part,
            outputs,
            behind,
            share,
            self.refusals,
            self.model.pictures,
            self.model.taken,
            self.build.origins,
            self.model.fixed,
            graph,
            draft.unsigned,
            names,
            scales,
            last,
        )

    def _tensor_name(self, name: str) -> str:
        value = self.draft.values[name]
        assert isinstance(value, Activation)
        return value.tensor

    def _output(self, name: str) -> Output:
        """An output of the model; one that is no tensor of the chip is left to the host."""
        value = self.draft.values[name]
        if isinstance(value, np.ndarray | Fixed):
            return Output(name, (value if isinstance(value, np.ndarray) else value.raw).shape, None, constant=True)
        if isinstance(value, Activation) and self.build.port(name) is not None:
            return Output(name, value.shape, value.tensor, last=value.last)
        held = value.tensor if isinstance(value, Activation) and value.padding == NO_PADDING else None
        return Output(name, self.model.shapes.get(name), None, layer=held if held not in self.draft.hosted else None)
