"""Integer layer mathematics, exact at BLAS speed.

Products of int8 values are summed by floating-point matrix products, which are exact as long as no partial sum
can leave the integers the type holds without gaps: 2**24 for float32, 2**53 for float64. Every partial sum of a
filter, in whatever order BLAS takes it, is at most 128 * sum(abs(weight)), so that bound picks the type.
"""

from collections.abc import Callable, Mapping

import numpy as np

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConcat, QConv, QGate, QHost, QMove, QNode, QPool, magnitudes
from golden.int8.requant import Requant
from golden.net.float_ops import check_image, run_float
from golden.net.pieces import assemble
from golden.net.window import correlate, pad, windows

__all__ = ["accumulate", "requantize", "run", "run_float", "run_node"]

Tensors = Mapping[str, np.ndarray]

BLOCK_ELEMENTS = 1 << 15
"""Accumulators that are requantised together: their int64 temporaries stay in the cache."""


def run(
    qgraph: QGraph,
    image: np.ndarray,
    on_layer: Callable[[QNode, np.ndarray], None] | None = None,
) -> dict[str, np.ndarray]:
    """Every tensor of a quantised network for one image.

    Parameters
    ----------
    image : int8[C, H, W]
        Quantised as ``qgraph.tensors[qgraph.input]`` says; its ``quantize`` does that.
    on_layer : callable, optional
        Called with each node and its output as soon as it is known.

    Returns
    -------
    dict of str to int8[C, H, W]
        By tensor name, the input included.
    """
    check_image(image, qgraph.tensors[qgraph.input].shape, np.int8)
    tensors = {qgraph.input: image}
    for node in qgraph.nodes:
        tensors[node.output] = run_node(node, tensors)
        if on_layer is not None:
            on_layer(node, tensors[node.output])
    return tensors


def run_node(node: QNode, tensors: Tensors) -> np.ndarray:
    """Output int8[C, H, W] of one node, given its inputs by name."""
    if isinstance(node, QConcat):
        return np.concatenate([tensors[name] for name in node.inputs])
    if isinstance(node, QMove):
        return assemble(node.pieces, node.view, node.shape, node.fill, [tensors[name] for name in node.inputs])
    if isinstance(node, QHost):
        return node.compute([tensors[name] for name in node.inputs])
    if isinstance(node, QPool) and node.op == "maxpool":
        padded = pad(tensors[node.input], node.padding, node.pad_value)
        return windows(padded, node.kernel, node.stride).max(axis=(1, 2))
    assert node.requant is not None  # QPool refuses an average without one
    return requantize(accumulate(node, tensors), node.requant)


def accumulate(node: QConv | QPool | QAdd | QGate, tensors: Tensors) -> np.ndarray:
    """Accumulators int64[O, Ho, Wo] before requantisation, bias included; each fits int32."""
    if isinstance(node, QAdd):
        terms = (w * tensors[name].astype(np.int64) for w, name in zip(node.weights, node.inputs, strict=True))
        return sum(terms, np.reshape(np.asarray(node.bias, np.int64), (-1, 1, 1)))
    if isinstance(node, QGate):
        x, gate = (tensors[name].astype(np.int64) for name in node.inputs)
        return (x - node.zero_points[0]) * (gate - node.zero_points[1])
    x = tensors[node.input]
    if isinstance(node, QPool):
        taps = windows(pad(x, node.padding, node.pad_value), node.kernel, node.stride)
        return taps.sum(axis=(1, 2), dtype=np.int64) + node.bias
    sums = correlate(
        x,
        node.weight,
        stride=node.stride,
        padding=node.padding,
        pad_value=node.pad_value,
        dilation=node.dilation,
        groups=node.groups,
        dtype=_exact_type(node.weight),
    )
    acc = sums.astype(np.int64) + node.bias[:, None, None]
    if node.residual is not None:
        acc += node.residual.factor[:, None, None] * tensors[node.residual.input]
    return acc


def requantize(acc: np.ndarray, requant: Requant) -> np.ndarray:
    """Scale int[O, ...] accumulators down to int8, ties to even, exact; then through the table, if there is one.

    ``round_half_even(p / 2**s) = (p + 2**(s-1) - 1 + bit s of p) >> s`` for s >= 1, with an arithmetic shift:
    just below a tie the constant alone never carries, on a tie it carries exactly when the quotient is odd.
    ``p = acc * multiplier`` stays below 2**31 * 2**24, so 2**62 more still fits int64.
    """
    out = np.empty(acc.shape, dtype=np.int8)
    per_channel = (-1, *[1] * (acc.ndim - 1))
    channels = max(1, BLOCK_ELEMENTS // acc[0].size)
    for first in range(0, acc.shape[0], channels):
        block = slice(first, first + channels)
        shift = requant.shift[block].astype(np.int64).reshape(per_channel)
        rounds = (shift > 0).astype(np.int64)  # without a shift nothing is rounded
        value = acc[block] * requant.multiplier[block].astype(np.int64).reshape(per_channel)
        odd = value >> shift
        odd &= rounds
        value += (rounds << shift - rounds) - rounds
        value += odd
        value >>= shift
        value += requant.zero_point
        out[block] = np.clip(value, requant.lo, requant.hi)
    # Flipping the top bit adds 128.
    return out if requant.table is None else requant.table[out.view(np.uint8) ^ 0x80]


def _exact_type(weight: np.ndarray) -> type:
    """Narrowest float type in which every partial sum of ``weight * int8`` is an exact integer."""
    depth = weight[0].size
    if depth << 15 <= 1 << 24:
        return np.float32
    return np.float32 if int(magnitudes(weight).max()) << 7 <= 1 << 24 else np.float64
