"""Densities of a quantised network: how many weights and activations are not zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from golden.int8.batch import of_picture
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv

__all__ = ["Density", "densities"]


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


def densities(graph: QGraph, tensors: Mapping[str, np.ndarray], batch: int = 1) -> dict[str, Density]:
    """Densities of every convolution and fully connected layer, by its name.

    Parameters
    ----------
    tensors : dict of str to int8[C, H, W]
        At least what these layers read, by the names of `golden.int8.batch`.
    """
    found = {}
    for node in graph.nodes:
        if isinstance(node, QConv):
            maps = [tensors[of_picture(node.input, picture, batch)] for picture in range(1, batch + 1)]
            live = sum(int(np.count_nonzero(each != node.pad_value)) for each in maps)
            found[node.name] = Density(
                np.count_nonzero(node.weight) / node.weight.size, live / sum(each.size for each in maps),
                node.weight.size, node.macs,
            )  # fmt: skip
    return found
