"""Values of quantised models that the host computes for the chip."""

from dataclasses import replace

import numpy as np

from golden.int8.fallback import Port
from golden.int8.qnodes import QHost
from golden.onnx_import.builder import Builder
from golden.onnx_import.islands import cut
from golden.onnx_import.model import Op
from golden.onnx_import.order import channels_last
from golden.onnx_import.values import NO_PADDING, Activation, QParams

__all__ = ["BYTES", "bring"]

BYTES = ("int8", "uint8")
"""Data types of quantised values."""


def bring(build: Builder, op: Op, name: str, params: QParams | None) -> Activation:
    """A quantised value that the host computes; without `params` its own integers, or a real output's values."""

    def port(source: str) -> Port | None:
        value = build.draft.values[source]
        if not isinstance(value, Activation) or value.real or value.padding != NO_PADDING:
            return None
        return Port(source, value.shape, "uint8" if value.params.unsigned else "int8", value.last)

    draft = build.draft
    part, read = cut(build.model, op, name, port)
    unsigned = part.output.dtype == "uint8"
    real = part.output.dtype == "float32" and name in build.model.outputs and params is None
    params = params or QParams(np.float32(1), 0, unsigned)
    if not (real or part.output.dtype in BYTES) or params.unsigned != unsigned:
        op.fail(f"its output {name!r} is {part.output.dtype}", "quantise the model again")
    sources = [value.tensor for value in (draft.values[source] for source in read) if isinstance(value, Activation)]
    last = channels_last(build.model, name, part.output.shape)
    part = replace(part, output=replace(part.output, last=last))
    tensor = build.tensor(name, part.output.chw, params)
    scales = tuple((draft.tensors[source].scale, draft.tensors[source].zero_point) for source in (*sources, tensor))
    draft.unscaled += [tensor] if real else []
    build.add(QHost(build.names.new(part.name), tuple(sources), tensor, part, scales))
    return Activation(tensor, part.output.chw, part.output.shape, params, last=last)
