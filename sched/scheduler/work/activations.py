"""What is known of a network's activations before it runs: which of them are zero, or how many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from golden.int8.density import live_inputs
from golden.int8.qgraph import QGraph

__all__ = ["ACTIVATIONS", "Activations", "Detail", "activations_of"]

Detail = Literal["masks", "channels", "mean"]
"""`masks`: each activation; `channels`: the density of each channel; `mean`: one density for each tensor."""
ACTIVATIONS: tuple[Detail, ...] = get_args(Detail)

_WORDS: dict[Detail, str] = {
    "masks": "which activations of these pictures are zero",
    "channels": "how many activations of each channel are zero",
    "mean": "how many activations of each tensor are zero",
}


@dataclass(frozen=True, eq=False)
class Activations:
    """Of every convolution's input, by the name of the tensor.

    Attributes
    ----------
    detail : Detail
    live : dict of str to array
        Which activations are not zero, bool[pictures, C, H, W]; or the part that is not, float[C] by channel or float[]
        of all.
    """

    detail: Detail
    live: Mapping[str, np.ndarray]

    @property
    def note(self) -> str:
        """What it is, in words."""
        return _WORDS[self.detail]


def activations_of(
    graph: QGraph, tensors: Mapping[str, np.ndarray], detail: Detail = "masks", batch: int = 1
) -> Activations:
    """What tensors show of the activations that convolutions and fully connected layers read.

    Parameters
    ----------
    tensors : dict of str to int8[C, H, W]
        As of `golden.int8.density.live_inputs`.
    """
    found = {}
    for node, maps in live_inputs(graph, tensors, batch):
        live = np.stack(maps)
        if detail == "channels":
            live = live.mean(axis=(0, 2, 3))
        elif detail == "mean":
            live = np.array(live.mean())
        found[node.input] = live
    return Activations(detail, found)
