"""Layers of `quantize_dynamic`, whose input is quantised as it comes, as the real layers that they stand for.

Such a layer is a DynamicQuantizeLinear, an integer product by quantised weights, a Cast, and a Mul by the product of
both scales; older ones add a bias in between, rounded down to integers. The chip quantises the input itself, by a
fixed scale, so for it the layer is one of real weights; on the host it stays what it is.
"""

from dataclasses import replace

import numpy as np
from onnx import helper

from golden.onnx_import.model import Model, Op

__all__ = ["dynamic_layers"]

KINDS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


def dynamic_layers(model: Model) -> tuple[Model, dict[str, Op]]:
    """The model with the real weights of such layers among its constants, and the layers, by what they put out."""
    readers: dict[str, list[Op]] = {}
    for op in model.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    constants, layers = dict(model.constants), {}
    for op in model.ops:
        if op.kind in KINDS:
            made = _layer(model, op, readers)
            if made is not None:
                layer, weight = made
                constants[layer.inputs[1]] = weight
                layers[layer.outputs[0]] = layer
    return replace(model, constants=constants), layers


def _layer(model: Model, op: Op, readers: dict[str, list[Op]]) -> tuple[Op, np.ndarray] | None:
    """The layer of real numbers behind an integer product, and its weights."""
    sums = _only(readers, op.outputs[0], "Add") if op.kind == "ConvInteger" else None
    bias = _bias(model, [name for name in sums.inputs if name != op.outputs[0]]) if sums is not None else None
    cast = _only(readers, (op if sums is None or bias is None else sums).outputs[0], "Cast")
    source = model.maker.get(op.inputs[0])
    weight = model.constants.get(op.inputs[1])
    if source is None or source.kind != "DynamicQuantizeLinear" or cast is None or weight is None:
        return None
    product = _only(readers, cast.outputs[0], "Mul")
    if product is None or op.inputs[2:3] != source.outputs[2:3]:
        return None
    scales = [name for name in product.inputs if name != cast.outputs[0]]
    scale = _weight_scale(model, scales[0], source.outputs[1]) if len(scales) == 1 else None
    zero = model.constants.get(op.inputs[3]) if op.has(3) else np.zeros(1)
    channels = weight.shape[0 if op.kind == "ConvInteger" else -1]
    if scale is None or zero is None or scale.size not in (1, channels) or zero.size not in (1, channels):
        return None
    shape = (-1, *[1] * (weight.ndim - 1)) if op.kind == "ConvInteger" else (-1,)
    real = (weight.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)
    name = f"{op.inputs[1]} of {product.name}"
    inputs = [source.inputs[0], name, *([bias] if bias is not None else [])]
    node = helper.make_node(KINDS[op.kind], inputs, list(product.outputs), product.name)
    node.attribute.extend(op.proto.attribute)
    layer = Op(product.name, KINDS[op.kind], tuple(node.input), product.outputs, op.attributes, node)
    return layer, real.astype(np.float32)


def _bias(model: Model, names: list[str]) -> str | None:
    """The real bias behind integers that are added to a product: its quotient by the scale, rounded down."""
    for kind in ("Reshape", "Cast", "Floor", "Div"):
        op = model.maker.get(names[0]) if len(names) == 1 or kind != "Reshape" else None
        if op is None or op.kind != kind:
            return None
        names = list(op.inputs[:1])
    return names[0] if names[0] in model.constants else None


def _only(readers: dict[str, list[Op]], name: str, kind: str) -> Op | None:
    """The one reader of a value, if it is of this kind."""
    found = readers.get(name, [])
    return found[0] if len(found) == 1 and found[0].kind == kind else None


def _weight_scale(model: Model, name: str, input_scale: str) -> np.ndarray | None:
    """The weights' scale in the product of both."""
    op = model.maker.get(name)
    if op is None or op.kind != "Mul" or input_scale not in op.inputs:
        return None
    others = [model.constants.get(other) for other in op.inputs if other != input_scale]
    return others[0] if len(others) == 1 else None
