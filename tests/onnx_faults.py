"""Faults of ONNX models, each with the one line that must name it; and random mutations of valid models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from golden.onnx_import.model import ELEMENTWISE_OPS

__all__ = ["FAULTS", "Change", "mutate", "mutate_bytes"]

Change = Callable[[onnx.ModelProto], object]


def _set_scale(value: float) -> Change:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if "scale" in t.name)
        tensor.CopyFrom(numpy_helper.from_array(np.float32(value), tensor.name))

    return change


def _other_scale_for_the_reader(model: onnx.ModelProto) -> None:
    node = model.graph.node[-1]
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.123), "other"))
    node.input[1] = "other"


def _other_type_of_zero_point(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(3), "other"))
    model.graph.node[0].input[2] = "other"


def _cycle(model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    nodes[0].input[0] = nodes[1].output[0]


def _open_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def _huge_height(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1 << 40


def _input_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _weight(model: onnx.ModelProto) -> TensorProto:
    name = model.graph.node[0].input[3]
    return next(t for t in model.graph.initializer if t.name == name)


def _drop_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(_weight(model))


def _weight_of_other_channels(model: onnx.ModelProto) -> None:
    tensor = _weight(model)
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.concatenate([array] * 3, axis=1), tensor.name))


def _weight_of_16_bits(model: onnx.ModelProto) -> None:
    tensor = _weight(model)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.int16), tensor.name))


def _opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


FAULTS: dict[str, tuple[Change, str]] = {
    "scale_zero": (
        _set_scale(0.0),
        r"node '/QLinearConv_\d+' \(QLinearConv\): scale '/scale_\d+' is 0.0; scales must be",
    ),
    "scale_nan": (_set_scale(float("nan")), r"scale '/scale_\d+' is nan"),
    "scale_infinite": (_set_scale(float("inf")), r"scale '/scale_\d+' is inf"),
    "scale_negative": (_set_scale(-0.5), r"scale '/scale_\d+' is -0.5"),
    "inconsistent_scale": (
        _other_scale_for_the_reader,
        r"inconsistent quantisation parameters of '/\w+:0': written with scale",
    ),
    "inconsistent_type": (_other_type_of_zero_point, r"model\.onnx' contradict each other|is int8, but its zero point"),
    "cycle": (_cycle, r"node '/QLinearConv_\d+' \(QLinearConv\): is on a cycle or behind one"),
    "open_height": (_open_height, r"dynamic shape \(1, \d+, height, \d+\); say SHAPE=image=1,\d+,N,\d+, a"),
    "huge_height": (_huge_height, r"input 'image' has shape \(1, \d+, 1099511627776, \d+\); it must stay within"),
    "input_type": (_input_type, r"input 'image' has data type string; supported are tensors of float32"),
    "weight_missing": (_drop_weight, r"node '.*' \(QLinearConv\): reads '/c_\d+', which is no input, initialiser"),
    "weight_misfit": (_weight_of_other_channels, r"/QLinearConv_\d+.*(contradict|does not fit)|does not fit"),
    "weight_type": (_weight_of_16_bits, r"\(.*/QLinearConv_\d+.*\); export it again|has data type int16"),
    "opset": (_opset, r"is not a valid model|names no operator set; export it again"),
}
"""Of a QLinear model with int8 input: change, and what the line says. No fallback hides any of them."""


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes overwritten or flipped, sometimes a part cut out or the end cut off."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(data)))
        data[place] = int(rng.integers(256)) if rng.random() < 0.5 else data[place] ^ 1 << int(rng.integers(8))
    if rng.random() < 0.2:
        del data[int(rng.integers(len(data))) :]
    elif rng.random() < 0.1:
        start = int(rng.integers(len(data)))
        del data[start : start + int(rng.integers(1, 64))]
    return bytes(data)


def mutate(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """One change of structure, shape, attribute or constant."""
    nodes, graph = model.graph.node, model.graph
    if not nodes:
        return
    node = nodes[int(rng.integers(len(nodes)))]
    tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
    if not node.input or not _intact(tensor):
        return
    match int(rng.integers(13)):
        case 0:
            node.input[int(rng.integers(len(node.input)))] = nodes[int(rng.integers(len(nodes)))].output[0]
        case 1:
            node.input[int(rng.integers(len(node.input)))] = tensor.name
        case 2:
            del node.input[int(rng.integers(len(node.input))) :]
        case 3:
            others = ["Flatten", "Pad", "Squeeze", "ReduceMean", "Softmax", "Transpose", "Split", "Expand",
                      "ConstantOfShape", "Tile", "Resize", "Shape", *sorted(ELEMENTWISE_OPS)]  # fmt: skip
            kinds = [[n.op_type for n in nodes], others][int(rng.integers(2))]
            node.op_type = str(rng.choice(kinds))
        case 4 if node.attribute:
            attribute = node.attribute[int(rng.integers(len(node.attribute)))]
            attribute.i = int(rng.integers(-3, 5))
            if attribute.ints:
                attribute.ints[int(rng.integers(len(attribute.ints)))] = int(rng.integers(-3, 1 << 20))
        case 5:
            array = numpy_helper.to_array(tensor)
            changed = rng.choice([np.float32(np.nan), np.float32(1e38), np.float32(0), np.float32(-5)])
            with np.errstate(invalid="ignore"):
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, changed), tensor.name))
        case 6:
            kind = rng.choice([np.float16, np.float64, np.int16, np.uint8, np.int32])
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(kind), tensor.name))
        case 7:
            nodes.remove(node)
        case 8:
            nodes.append(helper.make_node(node.op_type, list(node.input), list(node.output), node.name))
        case 9:
            dims = graph.input[0].type.tensor_type.shape.dim
            dims[int(rng.integers(len(dims)))].dim_value = int(rng.choice([0, 1, 2, 1 << 16, 1 << 31, 1 << 62]))
        case 10:
            tensor.dims[:] = [int(rng.choice([0, 1, 3, 1 << 20, 1 << 40])) for _ in tensor.dims]
        case 11:
            node.output[0] = nodes[int(rng.integers(len(nodes)))].output[0]
        case _:
            array = numpy_helper.to_array(tensor).reshape(-1)[: int(rng.integers(4))]
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _intact(tensor: TensorProto) -> bool:
    """Whether no earlier mutation has damaged it."""
    try:
        numpy_helper.to_array(tensor)
    except ValueError:
        return False
    return True
