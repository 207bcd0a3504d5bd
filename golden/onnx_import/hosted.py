"""Values of quantised models that the host computes for the chip."""

from dataclasses import replace

import numpy as np

from golden.errors import UnsupportedError
from golden.int8.fallback import INTEGERS
from golden.int8.qnodes import QHost
from golden.onnx_import.builder import Builder
from golden.onnx_import.islands import cut
from golden.onnx_import.order import channels_last
from golden.onnx_import.values import Activation, QParams

__all__ = ["bring"]


def bring(build: Builder, name: str, params: QParams | None) -> Activation:
    """A quantised value that the host has or computes; without `params`, integers of scale 1.

    Raises
    ------
    UnsupportedError
        If it is no tensor of integers, or not of the data type that its parameters say.
    """
    draft = build.draft
    part, read = cut(build.model, name, build.port)
    unsigned = part.output.dtype == "uint8"
    params = params or QParams(np.float32(1), 0, unsigned)
    if part.output.dtype not in INTEGERS or params.unsigned != unsigned:
        raise UnsupportedError(
            f"value {name!r} is {part.output.dtype}, its zero point is not; quantise the model again"
        )
    if not (part.inputs or part.given):
        raise UnsupportedError(f"value {name!r} is computed of constants alone")
    sources = [value.tensor for value in (draft.values[source] for source in read) if isinstance(value, Activation)]
    last = channels_last(build.model, name, part.output.shape)
    part = replace(part, output=replace(part.output, last=last))
    tensor = build.tensor(name, part.output.chw, params)
    scales = tuple((draft.tensors[source].scale, draft.tensors[source].zero_point) for source in (*sources, tensor))
    draft.hosted[tensor] = None
    build.add(QHost(build.names.new(part.name), tuple(sources), tensor, part, scales))
    return Activation(tensor, part.output.chw, part.output.shape, params, last=last)
