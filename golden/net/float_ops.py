"""Float layer mathematics: the network before quantisation, in float32."""

from collections.abc import Iterator, Mapping

import numpy as np

from golden.errors import ImageError
from golden.net.evaluate import evaluate
from golden.net.graph import Graph, Shape
from golden.net.weights import check

__all__ = ["check_image", "iterate_float", "run_float"]

Weights = Mapping[str, np.ndarray]


def check_image(image: np.ndarray, shape: Shape, dtype: type) -> None:
    """Refuse an image of the wrong shape or type."""
    if image.shape != shape or image.dtype != dtype:
        raise ImageError(
            f"image is {image.dtype}{image.shape}; the network takes {np.dtype(dtype)}{shape}, see golden.net.inputs"
        )


def run_float(graph: Graph, weights: Weights, image: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of the network for one image.

    Parameters
    ----------
    weights : dict of str to float32 array
        By the names of ``graph.tensors``.
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
        tensors = [weights[key] for key in graph.node_tensors(node)]
        live[node.name] = evaluate(node, [live[name] for name in node.inputs], tensors)
        yield node.name, live[node.name]
        for name in [name for name in live if last_use.get(name, -1) <= index]:
            del live[name]
