"""Float layer mathematics: the network before quantisation, in float32."""

from collections.abc import Iterator, Mapping

import numpy as np

from golden.errors import ImageError
from golden.graph import (
    Add,
    AvgPool,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Graph,
    Linear,
    MaxPool,
    Node,
    Relu,
    Shape,
)
from golden.weights import check
from golden.window import correlate, pad, windows

__all__ = ["check_image", "iterate_float", "run_float"]

Weights = Mapping[str, np.ndarray]


def check_image(image: np.ndarray, shape: Shape, dtype: type) -> None:
    """Refuse an image of the wrong shape or type."""
    if image.shape != shape or image.dtype != dtype:
        raise ImageError(
            f"image is {image.dtype}{image.shape}; the network takes {np.dtype(dtype)}{shape}, see golden.inputs"
        )


def run_float(graph: Graph, weights: Weights, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of the network for one image.

    Parameters
    ----------
    weights : dict of str to float32 array
        By the names of ``graph.parameters``.
    image : float32[C, H, W]

    Returns
    -------
    dict of str to float32[C, H, W]
        By value name, the input included.
    """
    return dict(iterate_float(graph, weights, image))


def iterate_float(graph: Graph, weights: Weights, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, value) in order, and forget each value after its last use."""
    check(graph, weights)
    check_image(image, graph.input_shape, np.float32)
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    live = {graph.input: image}
    yield graph.input, image
    for index, node in enumerate(graph.nodes):
        live[node.name] = _evaluate(node, [live[name] for name in node.inputs], graph, weights)
        yield node.name, live[node.name]
        for name in [name for name in live if last_use.get(name, -1) <= index]:
            del live[name]


def _evaluate(node: Node, values: list[np.ndarray], graph: Graph, weights: Weights) -> np.ndarray:
    x = values[0]
    match node:
        case Conv2d():
            weight, *bias = (weights[key] for key in node.parameters(*(graph.shapes[name] for name in node.inputs)))
            out = correlate(
                x, weight, stride=node.stride, padding=node.padding, dilation=node.dilation, groups=node.groups
            )
            return out + bias[0][:, None, None] if bias else out
        case Linear():
            weight, *bias = (weights[key] for key in node.parameters(*(graph.shapes[name] for name in node.inputs)))
            out = weight @ x.reshape(-1)
            return (out + bias[0] if bias else out).reshape(-1, 1, 1)
        case MaxPool():
            return windows(pad(x, node.padding, -np.inf), node.kernel, node.stride).max(axis=(1, 2))
        case AvgPool():
            return windows(pad(x, node.padding, 0), node.kernel, node.stride).mean(axis=(1, 2))
        case GlobalAvgPool():
            return x.mean(axis=(1, 2), keepdims=True)
        case Add():
            return values[0] + values[1]
        case Concat():
            return np.concatenate(values)
        case Relu():
            return np.maximum(x, 0)
        case Clip():
            return np.clip(x, np.float32(node.lo), np.float32(node.hi))
        case Flatten():
            return x.reshape(-1, 1, 1)
    raise NotImplementedError(f"float evaluation of {type(node).__name__}")
