"""Densities of a quantised network: how many weights and activations are not zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from golden.int8.batch import of_picture
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv

__all__ = ["Density", "densities", "live_inputs"]


@dataclass(frozen=True)
class Density:
    """Of one layer with weights.

    Attributes
    ----------
    weights : float
        The part of the weights that is not 0.
    inputs : float
        The part of the elements of its input that is not at the layer's zero point, padding apart; over all pictures.
    n_weights, macs : int
        Number of weights, and of multiply-accumulates of a picture, padding among them.
    """

    weights: float
    inputs: float
    n_weights: int
    macs: int


def live_inputs(
    graph: QGraph, tensors: Mapping[str, np.ndarray], batch: int = 1
) -> Iterator[tuple[QConv, list[np.ndarray]]]:
    """Every convolution and fully connected layer, with where its input is not at its zero point: bool[C, H, W] of
    each picture.

    Parameters
    ----------
    tensors : dict of str to int8[C, H, W]
        At least what these layers read, by the names of `golden.int8.batch`.
    """
    for node in graph.nodes:
        if isinstance(node, QConv):
            names = (of_picture(node.input, picture, batch) for picture in range(1, batch + 1))
            yield node, [tensors[name] != node.pad_value for name in names]


def densities(graph: QGraph, tensors: Mapping[str, np.ndarray], batch: int = 1) -> dict[str, Density]:
    """Densities of every convolution and fully connected layer, by its name.

    Parameters
    ----------
    tensors : dict of str to int8[C, H, W]
        As of `live_inputs`.
    """
    found = {}
    for node, maps in live_inputs(graph, tensors, batch):
        live = sum(int(np.count_nonzero(each)) for each in maps)
        found[node.name] = Density(
            np.count_nonzero(node.weight) / node.weight.size, live / sum(each.size for each in maps),
            node.weight.size, node.macs,
        )  # fmt: skip
    return found
