"""Running statistics of batch normalisations for seeded weights, measured on a picture.

The network runs once at about five bits: activations and weights become integers of at most `LEVELS` times powers of
two. Every sum of products is then an exact integer, so the statistics, and all that follows from them, are the same on
every machine and for every number of threads; float sums are not.
"""

import numpy as np

from golden.net.evaluate import evaluate
from golden.net.graph import BatchNorm, Conv2d, Graph, Linear
from golden.net.window import correlate

__all__ = ["measure_norms"]

LEVELS = 31
EXACT_FLOAT32 = 1 << 24


def measure_norms(graph: Graph, weights: dict[str, np.ndarray], image: np.ndarray) -> None:
    """Fill in running_mean and running_var of every BatchNorm from one float32[C, H, W] image, in place."""
    norms = [index for index, node in enumerate(graph.nodes) if isinstance(node, BatchNorm)]
    if not norms:
        return
    nodes = graph.nodes[: norms[-1] + 1]
    last_use = {name: index for index, node in enumerate(nodes) for name in node.inputs}
    live = {graph.input: image}
    for index, node in enumerate(nodes):
        keys = list(graph.node_tensors(node))
        values = [live[name] for name in node.inputs]
        if isinstance(node, Conv2d):
            live[node.name] = _convolve(node, values[0], [weights[key] for key in keys])
        elif isinstance(node, Linear):
            weight, *bias = (weights[key] for key in keys)
            flat = Conv2d(node.name, node.input, node.out_features, (1, 1))
            live[node.name] = _convolve(flat, values[0], [weight[:, :, None, None], *bias])
        else:
            if isinstance(node, BatchNorm):
                weights[keys[2]][:], weights[keys[3]][:] = _moments(values[0])
            live[node.name] = evaluate(node, values, [weights[key] for key in keys])
        for name in [name for name in live if last_use.get(name, -1) <= index]:
            del live[name]


def _coarse(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Integers of at most LEVELS and the power of two that they count; the same array type."""
    largest = float(np.abs(x).max())
    if largest == 0:
        return x, 1.0
    step = float(2.0 ** np.ceil(np.log2(largest / LEVELS)))
    return np.rint(x / x.dtype.type(step)), step


def _convolve(node: Conv2d, x: np.ndarray, tensors: list[np.ndarray]) -> np.ndarray:
    weight, *bias = tensors
    raw, unit = _coarse(x)
    taps, step = _coarse(weight)
    dtype = np.float32 if weight[0].size * LEVELS**2 <= EXACT_FLOAT32 else np.float64
    sums = correlate(
        raw, taps, stride=node.stride, padding=node.padding, dilation=node.dilation, groups=node.groups, dtype=dtype
    )
    out = sums.astype(np.float32) * np.float32(unit * step)
    return out + bias[0][:, None, None] if bias else out


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance per channel, summed as integers; a constant channel has a variance of 1."""
    scale = 2.0 ** (20 - np.ceil(np.log2(max(float(np.abs(x).max()), 1e-30))))
    raw = np.rint(x * np.float32(scale)).astype(np.int64).reshape(x.shape[0], -1)
    count = raw.shape[1]
    mean = raw.sum(axis=1) / count
    var = (raw * raw).sum(axis=1) / count - mean**2
    var[var <= 0.25] = scale**2
    return mean / scale, var / scale**2
