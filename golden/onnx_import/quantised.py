"""Import of quantised models: QLinear operators and the QDQ form become one quantised graph."""

import numpy as np

from golden.errors import GoldenError, OnnxError
from golden.int8.qgraph import QGraph
from golden.onnx_import.builder import Builder
from golden.onnx_import.hosted import BYTES, bring
from golden.onnx_import.imported import Output, QuantisedModel, computed_outputs
from golden.onnx_import.islands import OnHost, fold
from golden.onnx_import.layers import plain_max_pool
from golden.onnx_import.model import FLOAT_OPS, QUANTISED_OPS, WAY_OUT, Model, Op
from golden.onnx_import.qdq import dequantize, import_float_op, quantize
from golden.onnx_import.qlinear import import_qlinear
from golden.onnx_import.quantised_maps import COPIES
from golden.onnx_import.tables import merge_tables
from golden.onnx_import.values import NO_PADDING, Activation, Fixed, Input, QParams, Value
from golden.onnx_import.views import view
from golden.onnx_import.walk import MALFORMED, VIEWS, on_chip_or_host, require_known, require_shape, translate

__all__ = ["import_quantised"]


def import_quantised(model: Model) -> QuantisedModel:
    """Quantised graph of a model that brings its scales."""
    try:
        walk = _QuantisedWalk(model)
    except MALFORMED as error:
        if isinstance(error, GoldenError):
            raise
        raise OnnxError(f"readers of input {model.input!r} are malformed ({error}); export the model again") from error
    return translate(model, walk.step, walk.finish)


class _QuantisedWalk:
    """The walk over the operators of a quantised model, and what it leaves."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.build = Builder(model)
        self.draft = self.build.draft
        self.refusals: dict[str, str] = {}
        self.draft.values[model.input] = self._input()

    def _input(self) -> Value:
        """The input: a picture of real numbers, or of integers that are a tensor at once."""
        model = self.model
        if model.input_type == "float32":
            return Input(model.input_shape)
        params = self.build.reader_params(model.input) or QParams(np.float32(1), 0, model.input_type == "uint8")
        if params.unsigned != (model.input_type == "uint8"):
            raise OnnxError(
                f"input {model.input!r} is {model.input_type}, but its zero point is "
                f"{'uint8' if params.unsigned else 'int8'}; quantise the model again"
            )
        return self.build.take_picture(model.input, model.input_shape, params)

    def step(self, op: Op) -> None:
        """Import one operator."""
        on_chip_or_host(self, op)

    def chip(self, op: Op) -> None:
        """Import one operator for the chip."""
        require_known(op, FLOAT_OPS | QUANTISED_OPS)
        made = self._dispatch(op)
        for name, value in zip(op.outputs, made if isinstance(made, list) else [made], strict=True):
            self.draft.values[name] = value
            if not isinstance(value, Fixed | OnHost) and getattr(value, "padding", NO_PADDING) == NO_PADDING:
                require_shape(self.model, op, value.shape, name)

    def host(self, op: Op) -> None:
        """Import one operator for the host: integers become tensors at once, real numbers where they are quantised."""
        values = self.draft.values
        folded = fold(self.model, op, lambda name: isinstance(values[name], np.ndarray))
        for name in filter(None, op.outputs):
            if folded is not None:
                values[name] = folded[name]
            elif op.kind in QUANTISED_OPS or op.kind.startswith("QLinear") or self.model.types.get(name) in BYTES:
                values[name] = bring(self.build, op, name, self.build.reader_params(name))
            else:
                values[name] = OnHost()

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
        draft = self.draft
        outputs = tuple(self._output(name) for name in self.model.outputs)
        source = draft.picture.tensor if draft.picture else ""
        computed = computed_outputs(self.model, outputs, source)
        nodes = merge_tables(draft.nodes, computed)
        kept = {source, *computed, *(node.output for node in nodes)}
        tensors = {name: tensor for name, tensor in draft.tensors.items() if name in kept}
        graph = QGraph(self.build.names.new(self.model.name), source, computed, tensors, tuple(nodes))
        shown = {
            value.tensor: (name, value.last)
            for name, value in draft.values.items()
            if isinstance(value, Activation) and not value.real and value.padding == NO_PADDING and value.tensor in kept
        }
        names = {tensor: name for tensor, (name, _) in shown.items()}
        last = frozenset(tensor for tensor, (_, is_last) in shown.items() if is_last)
        return QuantisedModel(
            graph, draft.unsigned, self.model.port, outputs, names, self.refusals, tuple(draft.unscaled), last
        )

    def _output(self, name: str) -> Output:
        """An output of the model; one that the chip does not have is brought by the host where that is allowed."""
        value = self.draft.values[name]
        if isinstance(value, np.ndarray | Fixed):
            return Output(name, (value if isinstance(value, np.ndarray) else value.raw).shape, None)
        if isinstance(value, Input):
            return Output(name, value.shape, self.draft.picture.tensor if self.draft.picture else "")
        there = isinstance(value, Activation) and value.padding == NO_PADDING
        if not there and self.model.fallback:
            self.draft.values[name] = value = bring(self.build, self.model.maker[name], name, None)
        elif not there:
            raise OnnxError(f"output {name!r} is not quantised; end the model by QuantizeLinear of a layer{WAY_OUT}")
        assert isinstance(value, Activation)
        return Output(name, value.shape, value.tensor, value.last)
