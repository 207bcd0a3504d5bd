"""The QDQ form: QuantizeLinear, DequantizeLinear, and the float operators between them.

It is read lazily: DequantizeLinear gives a view of its tensor, a float operator on such views a *pending* result, Relu
and Clip a clamp of it, and only QuantizeLinear writes the node. Element-wise operators on views of one tensor give a
*curve*, of which QuantizeLinear makes an activation table.
"""

from dataclasses import replace

import numpy as np

from golden.onnx_import.attributes import clip_bounds, mean_axes_ok
from golden.onnx_import.builder import Builder
from golden.onnx_import.constants import bias_of, fixed, quantised_constant, weight_of
from golden.onnx_import.curves import ONE_TENSOR, curve_of_float, tabulate
from golden.onnx_import.layers import (
    add,
    average_pool,
    concatenation,
    convolution,
    dense,
    global_average,
    max_pool,
    pass_on,
    require_plain_gemm,
)
from golden.onnx_import.model import ELEMENTWISE_OPS, Op
from golden.onnx_import.quantised_maps import arithmetic, gate, prelu, transposed_convolution
from golden.onnx_import.values import Activation, Curve, Pending, QParams, Value, require_same

__all__ = ["dequantize", "import_float_op", "quantize", "target_params"]


def quantize(build: Builder, op: Op) -> Value:
    """QuantizeLinear: what waits for its scale is written."""
    if op.attributes.get("output_dtype", 0) not in (0, 2, 3):
        op.fail(f"output_dtype is {op.attributes['output_dtype']}", "supported data types are int8 and uint8")
    value = build.value(op)
    if isinstance(value, np.ndarray):
        return quantised_constant(build, op, value)
    params = target_params(build, op)
    if isinstance(value, Activation) and value.real:
        if value.params == params:
            return replace(value, real=False)
        value = pass_on(build, op, value)
    if isinstance(value, Curve):
        return tabulate(build, op, value, params)
    if not isinstance(value, Pending):
        op.fail(f"input {op.inputs[0]!r} is quantised already", "drop this node")
    return build.write(op.outputs[0], value, params)


def target_params(build: Builder, op: Op) -> QParams:
    """Parameters of what a QuantizeLinear puts out."""
    params = build.params(op, 1, 2)
    unsigned = op.has(2) or op.attributes.get("output_dtype", 2) != 3
    return params if unsigned else QParams(params.scale, 0, False)


def dequantize(build: Builder, op: Op) -> Value:
    """DequantizeLinear: a view of its tensor, or a constant with its scale."""
    value = build.value(op)
    if isinstance(value, np.ndarray):
        if value.dtype not in (np.int8, np.uint8, np.int32):
            op.fail(f"tensor {op.inputs[0]!r} has data type {value.dtype}", "supported are int8, uint8 and int32")
        return fixed(build, op, value, 1, 2, op.attributes.get("axis", 1))
    if not isinstance(value, Activation):
        op.cannot(f"input {op.inputs[0]!r} is not quantised", "put a QuantizeLinear before it")
    params = build.params(op, 1, 2)
    if not op.has(2) and not value.params.unsigned:
        params = QParams(params.scale, 0, False)
    require_same(op, op.inputs[0], value.params, params)
    return replace(value, real=True)


def import_float_op(build: Builder, op: Op) -> Pending | Curve:
    """A float operator between DequantizeLinear and QuantizeLinear."""
    kind = op.kind
    curve = curve_of_float(build, op) if kind in ELEMENTWISE_OPS else None
    if curve is not None:
        return curve
    if kind in ("Relu", "Clip"):
        return _clamp(build, op)
    if kind == "Concat":
        return concatenation(build, op, [build.activation(op, index) for index in range(len(op.inputs))])
    if kind in ("Add", "Div", "Mul", "Sub") and (made := arithmetic(build, op)) is not None:
        return made
    if kind == "PRelu" and (made := prelu(build, op)) is not None:
        return made
    if kind == "Sum" and len(op.inputs) == 2:
        return add(build, op, build.activation(op, 0), build.activation(op, 1))
    if kind == "Sub":
        return add(build, op, build.activation(op, 0), build.activation(op, 1), negative=True)
    if kind == "Mul":
        return gate(build, op, build.activation(op, 0), build.activation(op, 1))
    if kind in ELEMENTWISE_OPS - {"Add"}:
        op.cannot("it works on more than one tensor, or not on a quantised one", ONE_TENSOR)
    x = build.activation(op, 0)
    if kind == "Conv":
        return convolution(build, op, x, weight_of(build, op, 1), bias_of(build, op, 2))
    if kind == "ConvTranspose":
        return transposed_convolution(build, op, x, weight_of(build, op, 1), bias_of(build, op, 2))
    if kind == "MatMul":
        return dense(build, op, x, weight_of(build, op, 1), None, transposed=False)
    if kind == "Gemm":
        require_plain_gemm(op)
        transposed = bool(op.attributes.get("transB", 0))
        return dense(build, op, x, weight_of(build, op, 1), bias_of(build, op, 2), transposed=transposed)
    if kind == "Add":
        return add(build, op, x, build.activation(op, 1))
    if kind == "MaxPool":
        return max_pool(build, op, x)
    if kind == "AveragePool":
        return average_pool(build, op, x)
    if kind == "GlobalAveragePool":
        return global_average(build, op, x)
    if kind == "GlobalMaxPool":
        return max_pool(build, replace(op, attributes={"kernel_shape": x.chw[1:][: len(x.shape) - 2]}), x)
    if kind == "ReduceMean" and mean_axes_ok(op, len(x.shape), build.optional(op, 1)):
        pending = global_average(build, op, x)
        return pending if op.attributes.get("keepdims", 1) else replace(pending, shape=pending.shape[:2])
    return op.cannot("this form of it cannot run in a quantised model", "fold it away before quantisation")


def _clamp(build: Builder, op: Op) -> Pending:
    """A Relu or Clip of what waits for its scale, or of a tensor."""
    low, high = clip_bounds(op, [build.optional(op, 1), build.optional(op, 2)])
    value = build.value(op)
    pending = value if isinstance(value, Pending) else pass_on(build, op, build.activation(op, 0))
    lo, hi = min(max(pending.lo, low), high), min(max(pending.hi, low), high)
    return replace(pending, lo=lo, hi=hi)
