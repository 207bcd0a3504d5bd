"""Quantise a float graph to int8 by running it on its input.

Activations are asymmetric per tensor, weights symmetric per output channel. Relu and Clip disappear into the clamp of
the node before them, BatchNorm into its weights, Flatten into the shape of the fully connected layer after it; an Add
goes into the convolution before it (the later of two) if nothing else reads that and it has no clamp of its own. A Relu
or Clip whose input others read too has no such node; it becomes a 1x1 average pooling, which is requantisation and
clamp alone. Other element-wise functions become the activation table of that requantisation: it quantises what comes
before them with a scale of its own, and the table holds the function of each of these 256 levels.

A tensor is named after the last float value fused into it ("relu1_1"), so it compares with the value of that name in
:func:`golden.int8.ops.run_float`; the node keeps the name of its layer ("conv1_1").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from golden.errors import QuantError
from golden.int8.fuse import FusedGraph, FusedLayer, fuse
from golden.int8.ops import run
from golden.int8.qgraph import QGraph, QTensor
from golden.int8.qnodes import ADD_WEIGHT_LIMIT, QAdd, QConcat, QConv, QGate, QHost, QMove, QNode, QPool, Residual
from golden.int8.requant import INT8, Requant
from golden.net.activations import Activation
from golden.net.evaluate import evaluate, norm_affine
from golden.net.float_ops import iterate_float
from golden.net.graph import (
    Add,
    AvgPool,
    Clip,
    Concat,
    Conv2d,
    Gate,
    GlobalAvgPool,
    Graph,
    Host,
    Linear,
    MaxPool,
    Move,
    Relu,
)

__all__ = [
    "QAdd", "QConcat", "QConv", "QGraph", "QHost", "QNode", "QPool", "QTensor", "QuantisationError", "Requant",
    "affine", "distance", "float_outputs", "output_error", "quantisation_error", "quantize",
]  # fmt: skip

SCALE_BITS = 12
"""Significant bits of an activation scale. Float sums differ in their last bits between machines and thread counts;
a scale this coarse comes out the same on all of them, and so do the int8 results."""

BIAS_LIMIT = 1 << 29
"""Largest real bias in accumulator units; leaves the products more than half of the int32 accumulator."""

RESIDUAL_LIMIT = 1 << 21
"""Largest factor of a residual; times an int8, it leaves most of the accumulator."""

RESIDUAL_SPREAD = 16
"""Filters whose scale is smaller than that of the coarsest by more than this get a coarser one, so that the weight of
the residual, 7 bits with a shift for all filters, follows the scale of each closely."""

LEAST_SCALE = 2.0**-100
"""Below this, scales of filters would lose precision in float32."""

BLOCK_ELEMENTS = 1 << 22

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class QuantisationError:
    """Distance of the int8 outputs from the float ones."""

    relative: float
    """Root mean square of the difference over that of the float outputs."""
    largest: float
    """Largest difference of a value."""

    def __str__(self) -> str:
        return f"{100 * self.relative:.2f} % of the outputs' root mean square, at most {self.largest:.4g} in a value"


def quantisation_error(graph: Graph, weights: Weights, quantised: QGraph, image: np.ndarray) -> QuantisationError:
    """Run an image in float and in int8 and compare the outputs."""
    real = float_outputs(graph, weights, image)
    return output_error(real, quantised, run(quantised, quantised.tensors[quantised.input].quantize(image)))


def float_outputs(graph: Graph, weights: Weights, image: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs float32[C, H, W] of the float network, in the order of ``graph.outputs``."""
    computed = {name: value for name, value in iterate_float(graph, weights, image) if name in graph.outputs}
    return {name: computed[name] for name in graph.outputs}


def output_error(real: Weights, quantised: QGraph, tensors: Weights) -> QuantisationError:
    """Compare the float outputs with those among the int8 tensors; both in the order of the network's outputs."""
    got = [quantised.tensors[tensor].dequantize(tensors[tensor]).reshape(-1) for tensor in quantised.outputs]
    wanted = [output.astype(np.float64).reshape(-1) for _, output in zip(quantised.outputs, real.values(), strict=True)]
    return distance(np.concatenate(got), np.concatenate(wanted))


def distance(got: np.ndarray, wanted: np.ndarray) -> QuantisationError:
    """Of real numbers from those that they should be."""
    value = wanted.astype(np.float64)
    difference = got.astype(np.float64) - value
    power = math.sqrt(float(np.mean(value**2)))
    relative = math.sqrt(float(np.mean(difference**2))) / power if power else 0.0
    return QuantisationError(relative, float(np.abs(difference).max()))


def quantize(
    graph: Graph,
    weights: Weights,
    image: np.ndarray | Sequence[np.ndarray],
    *,
    percentile: float = 100.0,
    outputs: dict[str, np.ndarray] | None = None,
    fold_sums: bool = True,
    graphs: Sequence[Graph] = (),
) -> QGraph:
    """Quantise a network, with activation ranges (zero included) from one image or several.

    Parameters
    ----------
    weights : dict of str to float32 array
    image : float32[C, H, W], or several
    percentile : float
        The ranges leave out the values beyond this percentile at either end, image by image; 100 is min-max.
    outputs : dict, optional
        Takes the float outputs of the last image, in the order of ``graph.outputs``.
    fold_sums : bool
        Without, every Add stays a node of its own, and rounds on its own.
    graphs : sequence of Graph, optional
        The same network once for each image, where its nodes for the host read more than the image.

    Raises
    ------
    QuantError
        If a value is not finite, an accumulator cannot be proven to fit int32, or the graph does something with a
        flattened map other than a fully connected layer.
    WeightError, ImageError
        If weights or image do not match the graph.
    """
    if not 50.0 < percentile <= 100.0:
        raise QuantError(f"percentile is {percentile}; it must be above 50 and at most 100")
    images = [image] if isinstance(image, np.ndarray) else list(image)
    if not images:
        raise QuantError("no image to calibrate with; give at least one")
    apart = {node.name for node in graph.nodes if isinstance(node, Add) and not fold_sums}
    real: dict[str, np.ndarray] = {}
    while True:
        plan = fuse(graph, apart)
        ranges = _ranges(graphs or [graph] * len(images), plan, weights, images, percentile, real)
        tensors = _tensors(graph, plan, ranges)
        coarse = {step.add.name for step in plan.steps if step.add and _too_coarse(step, tensors, weights, graph)}
        if not coarse:
            break
        apart |= coarse
    if outputs is not None:
        outputs |= {name: real[name] for name in graph.outputs}
    hidden = {name: QTensor(name, shape, *affine(*ranges[name])) for name, shape in plan.hidden.items()}
    nodes = tuple(_lower(step, tensors, hidden, weights, graph) for step in plan.steps)
    named = tuple(plan.view_of[name] for name in graph.outputs)
    return QGraph(graph.name, graph.input, named, tensors, nodes)


def _ranges(
    graphs: Sequence[Graph],
    plan: FusedGraph,
    weights: Weights,
    images: Sequence[np.ndarray],
    percentile: float,
    outputs: dict[str, np.ndarray],
) -> dict[str, tuple[float, float]]:
    """Range, zero included, of each surviving or hidden tensor over the images; `outputs` takes the last outputs."""
    ranges: dict[str, tuple[float, float]] = {}
    for graph, image in zip(graphs, images, strict=True):
        for name, value in iterate_float(graph, weights, image):
            if name in graph.outputs:
                outputs[name] = value
            low, high = float(value.min()), float(value.max())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise QuantError(f"value {name!r} is not finite ({low}..{high}); check the weights and the image")
            if name in plan.shapes or name in plan.hidden:
                if percentile < 100.0:
                    low, high = (float(v) for v in np.percentile(value, (100.0 - percentile, percentile)))
                before = ranges.get(name, (0.0, 0.0))
                ranges[name] = (min(low, before[0]), max(high, before[1]))
    return ranges


def _tensors(graph: Graph, plan: FusedGraph, ranges: dict[str, tuple[float, float]]) -> dict[str, QTensor]:
    """Scale and zero point of each tensor; those that nodes merely copy between share theirs."""
    group = {name: name for name in plan.shapes}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for step in plan.steps:
        if isinstance(step.node, MaxPool | Concat | Move):
            for name in step.inputs:
                group[root(name)] = root(step.output)
    merged: dict[str, tuple[float, float]] = {}
    for name in plan.shapes:
        low, high = merged.get(root(name), (0.0, 0.0))
        merged[root(name)] = (min(low, ranges[name][0]), max(high, ranges[name][1]))
    for step in plan.steps:
        if isinstance(step.node, Move):
            low, high = merged[root(step.output)]
            merged[root(step.output)] = (min(low, step.node.fill), max(high, step.node.fill))
    return {name: QTensor(name, shape, *affine(*merged[root(name)])) for name, shape in plan.shapes.items()}


def affine(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point that cover low <= 0 <= high; the scale is rounded up to SCALE_BITS bits."""
    if high - low < 2.0**-120:  # all zero, or so little that float32 scales would lose precision
        return 1.0, 0
    fraction, exponent = math.frexp((high - low) / (INT8[1] - INT8[0]))
    scale = math.ldexp(math.ceil(math.ldexp(fraction, SCALE_BITS)), exponent - SCALE_BITS)
    return scale, max(INT8[0], min(INT8[1], round(INT8[0] - low / scale)))


def _lower(
    step: FusedLayer, tensors: dict[str, QTensor], hidden: dict[str, QTensor], weights: Weights, graph: Graph
) -> QNode:
    if not step.functions:
        return _lower_plain(step, tensors[step.output], tensors, weights, graph)
    before = hidden[step.before] if step.before in hidden else tensors[step.before]
    node = _lower_plain(step, replace(before, name=step.output), tensors, weights, graph)
    assert not isinstance(node, QConcat | QMove | QHost)
    assert node.requant is not None  # copies have no functions behind them
    return replace(node, requant=replace(node.requant, table=_table(step, before, tensors[step.output])))


def _table(step: FusedLayer, before: QTensor, output: QTensor) -> np.ndarray:
    """The step's functions of every level before them, int8[256]."""
    value = before.dequantize(np.arange(INT8[0], INT8[1] + 1)).astype(np.float64)
    for node in step.functions:
        value = evaluate(node, [value], [])
    return output.quantize(np.nan_to_num(value))  # a level that no value takes may lie outside the function's domain


def _lower_plain(
    step: FusedLayer, output: QTensor, tensors: dict[str, QTensor], weights: Weights, graph: Graph
) -> QNode:
    """The step without its functions."""
    node = step.node
    if isinstance(node, Host):
        scales = tuple((tensors[name].scale, tensors[name].zero_point) for name in (*step.inputs, step.output))
        return QHost(node.name, step.inputs, step.output, node.part, scales)
    first = tensors[step.inputs[0]]
    match node:
        case Concat():
            return QConcat(node.name, step.inputs, step.output)
        case MaxPool():
            return QPool(
                node.name, "maxpool", first.name, step.output, node.kernel, node.stride, node.padding, None, INT8[0]
            )
        case Move():
            fill = int(output.quantize(np.array(node.fill)))
            return QMove(node.name, step.inputs, step.output, node.shape, node.view, node.pieces, fill)
        case Gate():
            gate = tensors[step.inputs[1]]
            scale = np.full(output.shape[0], first.scale * gate.scale / output.scale)
            zeros, pair = (first.zero_point, gate.zero_point), (step.inputs[0], step.inputs[1])
            return QGate(node.name, pair, step.output, zeros, _requant(step, scale, output))
        case Add():
            return _lower_add(step, first, tensors[step.inputs[1]], output)
        case AvgPool():
            return _lower_average(step, node.kernel, node.stride, node.padding, first, output)
        case GlobalAvgPool():
            return _lower_average(step, (first.shape[1], first.shape[2]), (1, 1), (0, 0, 0, 0), first, output)
        case Relu() | Clip() | Activation():
            return _lower_average(step, (1, 1), (1, 1), (0, 0, 0, 0), first, output)
        case Conv2d() | Linear():
            return _lower_conv(step, node, tensors, output, weights, graph)
    raise NotImplementedError(f"quantisation of {type(node).__name__}")


def _requant(step: FusedLayer, scale: np.ndarray, output: QTensor) -> Requant:
    """Requantisation into a tensor, with the step's clamp; the clamp's bounds round half to even."""
    lo, hi = (
        max(INT8[0], min(INT8[1], round(bound / output.scale) + output.zero_point)) if math.isfinite(bound) else edge
        for bound, edge in zip((step.lo, step.hi), INT8, strict=True)
    )
    try:
        return Requant.from_scale(scale, output.zero_point, lo, hi)
    except QuantError as error:
        raise QuantError(f"node {step.node.name!r}: {error}") from None


def _lower_average(
    step: FusedLayer,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    source: QTensor,
    output: QTensor,
) -> QPool:
    taps = math.prod(kernel)
    scale = np.full(output.shape[0], source.scale / (taps * output.scale))
    return QPool(
        step.node.name, "avgpool", source.name, output.name, kernel, stride, padding,
        _requant(step, scale, output), source.zero_point, -taps * source.zero_point,
    )  # fmt: skip


def _lower_add(step: FusedLayer, a: QTensor, b: QTensor, output: QTensor) -> QAdd:
    """The larger scale gets the full weight 2**21, the other its ratio to it."""
    unit = max(a.scale, b.scale) / ADD_WEIGHT_LIMIT
    weight_a, weight_b = round(a.scale / unit), round(b.scale / unit)
    bias = -(weight_a * a.zero_point + weight_b * b.zero_point)
    requant = _requant(step, np.full(output.shape[0], unit / output.scale), output)
    return QAdd(step.node.name, (a.name, b.name), output.name, (weight_a, weight_b), bias, requant)


def _lower_conv(
    step: FusedLayer, node: Conv2d | Linear, tensors: dict[str, QTensor], output: QTensor, weights: Weights,
    graph: Graph,
) -> QConv:  # fmt: skip
    source = tensors[step.inputs[0]]
    real_weight, bias = _folded(step, node, weights, graph)
    filters = real_weight.shape[0]
    flat = real_weight.reshape(filters, -1)
    # Of an accumulator; the filter's own is that over the input's.
    unit = source.scale * _filter_scales(flat, bias, source)
    residual, shift_out = None, np.zeros(filters, np.int64)
    if step.add is not None:
        other = tensors[step.inputs[1]]
        residual = _residual(other, unit)
        unit = other.scale / residual.factor
        shift_out = other.zero_point * residual.factor
    scale = unit / source.scale
    quantised = _quantize_filters(flat, scale)
    folded = np.rint(bias / unit).astype(np.int64) - shift_out
    folded -= source.zero_point * quantised.sum(axis=1, dtype=np.int64)
    if np.abs(folded).max() >= 1 << 31:
        channel = int(np.abs(folded).argmax())
        raise QuantError(
            f"node {node.name!r}: bias {folded[channel]} of channel {channel} exceeds int32; split the layer"
        )
    common = {
        "name": node.name if step.add is None else f"{node.name}+{step.add.name}",
        "input": source.name,
        "output": output.name,
        "bias": folded.astype(np.int32),
        "pad_value": source.zero_point,
        "requant": _requant(step, unit / output.scale, output),
        "out_hw": output.shape[1:],
    }
    if isinstance(node, Linear):
        shape = (filters, *source.shape)
        return QConv(
            op="fc", weight=quantised.reshape(shape), stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1,
            **common,
        )  # fmt: skip
    depthwise = node.groups > 1 and node.groups == source.shape[0]
    return QConv(
        op="depthwise" if depthwise else "conv", weight=quantised.reshape(real_weight.shape), stride=node.stride,
        padding=node.padding, dilation=node.dilation, groups=node.groups,
        residual=residual, **common,
    )  # fmt: skip


def _filter_scales(flat: np.ndarray, bias: np.ndarray, source: QTensor) -> np.ndarray:
    """Scales float64[O] of filters float32[O, K]."""
    largest = np.maximum(flat.max(axis=1), -flat.min(axis=1)).astype(np.float64)
    # A filter that is tiny against its bias gives up precision in its taps, so that the bias fits.
    scale = np.maximum(largest / INT8[1], np.abs(bias) / (source.scale * BIAS_LIMIT))
    scale[scale < LEAST_SCALE] = 1.0  # of such filters nothing is left
    return scale


def _residual(other: QTensor, unit: np.ndarray) -> Residual:
    """How accumulators of about such units float64[O] add a tensor: exactly, in units that are a little larger."""
    ratio = np.minimum(other.scale / unit, RESIDUAL_LIMIT)
    top = min(ratio.max(), RESIDUAL_SPREAD * ratio.min())
    shift = max(0, math.frexp(top)[1] - 7)  # the largest weight is in 64..127
    weight = np.clip(np.floor(np.ldexp(ratio, -shift)), 1, INT8[1]).astype(np.int8)
    return Residual(other.name, weight, shift)


def _too_coarse(step: FusedLayer, tensors: dict[str, QTensor], weights: Weights, graph: Graph) -> bool:
    """Accumulators of a fused convolution would be coarser than its residual, which no integer weight mends."""
    assert isinstance(step.node, Conv2d)
    source, other = (tensors[name] for name in step.inputs)
    real_weight, bias = _folded(step, step.node, weights, graph)
    scales = _filter_scales(real_weight.reshape(real_weight.shape[0], -1), bias, source)
    return bool((source.scale * scales > other.scale).any())


def _folded(step: FusedLayer, node: Conv2d | Linear, weights: Weights, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Weights float32[O, ...] and biases float64[O] with all normalisations in them."""
    weight, *biases = (weights[key] for key in graph.node_tensors(node))
    bias = biases[0].astype(np.float64) if biases else np.zeros(weight.shape[0])
    for norm in step.norms:
        gain, offset = norm_affine(norm, [weights[key] for key in graph.node_tensors(norm)])
        weight = weight * gain.astype(np.float32).reshape(-1, *[1] * (weight.ndim - 1))
        bias = bias * gain + offset
    return weight, bias


def _quantize_filters(flat: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Nearest int8[O, K] in -127..127 of float32[O, K], block by block to bound the temporaries."""
    out = np.empty(flat.shape, dtype=np.int8)
    inverse = (1.0 / scale).astype(np.float32)[:, None]
    step = max(1, BLOCK_ELEMENTS // flat.shape[1])
    for first in range(0, flat.shape[0], step):
        rows = slice(first, first + step)
        block = flat[rows] * inverse[rows]
        np.rint(block, out=block)
        out[rows] = np.clip(block, -INT8[1], INT8[1], out=block)
    return out
