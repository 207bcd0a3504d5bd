"""Masks of layers: as runs have them, and drawn ones that are as dense."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from golden.int8.qnodes import QConv
from tb.run.workload import load_workload

__all__ = ["LAYERS", "MASKS", "Layer", "bernoulli", "correlated", "masks_of", "real_layers"]

NET, PRUNE = "alexnet", "han2015"
LAYERS = ("features.3", "features.6", "features.8", "features.10")
"""Convolutions of AlexNet whose inputs come from a ReLU, pruned by han2015."""
MASKS = ("Bernoulli", "correlated", "real")
FILTER_SPREAD, CHANNEL_SPREAD = 0.3, 0.4
"""Of correlated weights: standard deviations of the logarithms of the densities of filters and of channels."""
BETA_SPREAD = 0.6
"""Of correlated activations: variance of the channels' densities, of all that their mean allows."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution's masks: kept bool[O, C, Kh, Kw], live bool[C, H, W]."""

    kept: np.ndarray
    live: np.ndarray
    padding: tuple[int, int, int, int]


@cache
def real_layers() -> dict[str, Layer]:
    """Masks of the layers as a run has them."""
    workload = load_workload(NET, prune=PRUNE)
    return {
        node.name: Layer(node.weight != 0, workload.expected[node.input] != node.pad_value, node.padding)
        for node in workload.graph.nodes
        if isinstance(node, QConv) and node.name in LAYERS
    }


def bernoulli(layer: Layer, rng: np.random.Generator) -> Layer:
    """As dense, each zero drawn for itself."""
    kept, live = (rng.random(mask.shape) < mask.mean() for mask in (layer.kept, layer.live))
    return Layer(kept, live, layer.padding)


def correlated(layer: Layer, rng: np.random.Generator) -> Layer:
    """As dense in the mean; filters and channels differ, and activations are smooth blobs."""
    filters, channels = layer.kept.shape[:2]
    of_filters, of_channels = (
        np.exp(rng.normal(0, spread, count)) for spread, count in ((FILTER_SPREAD, filters), (CHANNEL_SPREAD, channels))
    )
    densities = of_filters[:, None] * of_channels
    densities = np.clip(densities * (layer.kept.mean() / densities.mean()), 0, 1)
    kept = rng.random(layer.kept.shape) < densities[:, :, None, None]
    mean, concentration = layer.live.mean(), 1 / BETA_SPREAD - 1
    of_maps = rng.beta(mean * concentration, (1 - mean) * concentration, channels)
    blobs = rng.normal(size=layer.live.shape)
    for axis in (1, 2):
        blobs = np.roll(blobs, -1, axis) + blobs + np.roll(blobs, 1, axis)
    ranks = blobs.reshape(channels, -1).argsort(axis=1).argsort(axis=1).reshape(blobs.shape)
    live = ranks < (of_maps * blobs[0].size)[:, None, None]
    return Layer(kept, live, layer.padding)


def masks_of(kind: str, layer: str) -> Layer:
    real = real_layers()[layer]
    if kind == "real":
        return real
    rng = np.random.default_rng(LAYERS.index(layer))
    return bernoulli(real, rng) if kind == "Bernoulli" else correlated(real, rng)
