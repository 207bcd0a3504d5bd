"""QLinear operators: a layer and the quantisation of its output at once."""

import numpy as np

from golden.onnx_import.builder import Builder
from golden.onnx_import.constants import fixed, require_bytes
from golden.onnx_import.curves import curve_of, tabulate
from golden.onnx_import.layers import (
    add,
    average_pool,
    concatenation,
    convolution,
    dense,
    global_average,
    require_plain_gemm,
)
from golden.onnx_import.model import Op
from golden.onnx_import.quantised_maps import gate, real_constant, with_constant
from golden.onnx_import.values import Activation

__all__ = ["import_qlinear"]


def import_qlinear(build: Builder, op: Op) -> Activation:
    """The quantised result of a QLinear operator."""
    if op.kind == "QLinearConcat":
        pending = concatenation(build, op, _parts(build, op))
        return build.write(op.outputs[0], pending, build.params(op, 0, 1))
    if op.kind in ("QLinearAdd", "QLinearMul"):
        for index in (0, 3):
            array = build.value(op, 3 - index)
            if isinstance(array, np.ndarray):
                constant = real_constant(fixed(build, op, array, 4 - index, 5 - index, 0))
                x = build.activation(op, index, build.params(op, index + 1, index + 2))
                assert constant is not None
                if constant.size == 1 and constant.ndim <= len(x.shape):  # a table of ONNX Runtime's, to the last bit
                    return tabulate(build, op, curve_of(build, op, [x]), build.params(op, 6, 7))
                pending = with_constant(build, op, op.kind.removeprefix("QLinear"), x, 0, constant)
                assert pending is not None
                return build.write(op.outputs[0], pending, build.params(op, 6, 7))
    x = build.activation(op, 0, build.params(op, 1, 2))
    if op.kind == "QLinearConv":
        require_bytes(build, op, 3)
        weight = fixed(build, op, build.constant(op, 3), 4, 5, 0)
        pending = convolution(build, op, x, weight, build.optional(op, 8))
        return build.write(op.outputs[0], pending, build.params(op, 6, 7))
    if op.kind == "QLinearMatMul":
        require_bytes(build, op, 3)
        weight = fixed(build, op, build.constant(op, 3), 4, 5, 1)
        pending = dense(build, op, x, weight, None, transposed=False)
        return build.write(op.outputs[0], pending, build.params(op, 6, 7))
    if op.kind == "QGemm":
        if not op.has(7):
            op.cannot("its output is float", "give y_scale and y_zero_point")
        require_plain_gemm(op)
        require_bytes(build, op, 3)
        transposed = bool(op.attributes.get("transB", 0))
        weight = fixed(build, op, build.constant(op, 3), 4, 5, 0 if transposed else 1)
        pending = dense(build, op, x, weight, build.optional(op, 6), transposed=transposed)
        return build.write(op.outputs[0], pending, build.params(op, 7, 8))
    if op.kind in ("QLinearLeakyRelu", "QLinearSigmoid"):
        return tabulate(build, op, curve_of(build, op, [x]), build.params(op, 3, 4))
    if op.kind == "QLinearMul":
        b = build.activation(op, 3, build.params(op, 4, 5))
        if x.tensor != b.tensor and (x.chw[1:] == (1, 1)) != (b.chw[1:] == (1, 1)):
            return build.write(op.outputs[0], gate(build, op, x, b), build.params(op, 6, 7))
        return tabulate(build, op, curve_of(build, op, [x, b]), build.params(op, 6, 7))
    if op.kind == "QLinearAdd":
        b = build.activation(op, 3, build.params(op, 4, 5))
        return build.write(op.outputs[0], add(build, op, x, b), build.params(op, 6, 7))
    if op.attributes.get("channels_last", 0):
        op.cannot("channels_last is 1", "only channels-first maps can run")
    average = global_average if op.kind == "QLinearGlobalAveragePool" else average_pool
    return build.write(op.outputs[0], average(build, op, x), build.params(op, 3, 4))


def _parts(build: Builder, op: Op) -> list[Activation]:
    """The tensors that a QLinearConcat joins."""
    if len(op.inputs) < 5 or (len(op.inputs) - 2) % 3:
        op.fail(f"it has {len(op.inputs)} inputs", "give y_scale, y_zero_point and three for each part")
    return [build.activation(op, i, build.params(op, i + 1, i + 2)) for i in range(2, len(op.inputs), 3)]
