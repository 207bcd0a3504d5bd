"""Float mathematics of one node, in the type of its input."""

from collections.abc import Sequence

import numpy as np

from golden.net.activations import Activation
from golden.net.graph import (
    Add,
    AvgPool,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Gate,
    GlobalAvgPool,
    Host,
    Linear,
    MaxPool,
    Move,
    Node,
    Relu,
)
from golden.net.pieces import assemble
from golden.net.window import correlate, pad, windows

__all__ = ["evaluate", "norm_affine"]


def norm_affine(node: BatchNorm, tensors: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset, float64[C], that a normalisation amounts to; `tensors` are its four."""
    weight, bias, mean, var = (tensor.astype(np.float64) for tensor in tensors)
    gain = weight / np.sqrt(var + node.eps)
    return gain, bias - mean * gain


def evaluate(node: Node, values: Sequence[np.ndarray], tensors: Sequence[np.ndarray]) -> np.ndarray:
    """Output of one node.

    Parameters
    ----------
    values : list of float[C, H, W]
        Its inputs.
    tensors : list of float array
        Its parameters, then its statistics, in the order of ``Graph.node_tensors``.
    """
    x = values[0] if values else np.empty(0)
    match node:
        case Conv2d():
            weight, *bias = tensors
            out = correlate(
                x, weight, stride=node.stride, padding=node.padding, dilation=node.dilation, groups=node.groups
            )
            return out + bias[0][:, None, None] if bias else out
        case Linear():
            weight, *bias = tensors
            out = weight @ x.reshape(-1)
            return (out + bias[0] if bias else out).reshape(-1, 1, 1)
        case BatchNorm():
            gain, offset = (part.astype(x.dtype)[:, None, None] for part in norm_affine(node, tensors))
            return x * gain + offset
        case MaxPool():
            return windows(pad(x, node.padding, -np.inf), node.kernel, node.stride).max(axis=(1, 2))
        case AvgPool():
            return windows(pad(x, node.padding, 0), node.kernel, node.stride).mean(axis=(1, 2))
        case GlobalAvgPool():
            return x.mean(axis=(1, 2), keepdims=True)
        case Add():
            return values[0] + values[1]
        case Gate():
            return values[0] * values[1]
        case Move():
            return assemble(node.pieces, node.view, node.shape, node.fill, values)
        case Concat():
            return np.concatenate(values)
        case Host():
            ports = node.part.inputs
            reals = [port.of_reals(value) for value, port in zip(values, ports, strict=True)]
            return node.part.output.held(node.part.run(reals, node.feeds)).astype(np.float32)
        case Relu():
            return np.maximum(x, 0)
        case Clip():
            return np.clip(x, np.float32(node.lo), np.float32(node.hi))
        case Activation():
            return node.apply(x)
        case Flatten():
            return x.reshape(-1, 1, 1)
    raise NotImplementedError(f"float evaluation of {type(node).__name__}")
