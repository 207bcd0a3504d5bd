"""The points of the experiment on sparse engines.

The dense twin of a chip has an array of as many multipliers, and the same memories and links: `default` is that of
`sparse4`, `dense1` that of `sparse1`. Both compute the same pruned network; cycles of the dense one do not depend on
that.
"""

from __future__ import annotations

from itertools import product

from golden.zoo import ZOO
from scheduler.work.options import BALANCES, SKIPS, SparseOptions
from tb.experiment.point import Point

__all__ = [
    "AHEADS", "CONVOLUTIONS", "DENSITIES", "DEPTHS", "GRID_LAYER", "GROUPS", "ITEMS", "NETS", "SETS", "USUAL_AHEAD",
    "dense", "grid", "sparse", "unpruned", "varied",
]  # fmt: skip

NETS = {"vgg16": "han2015", "alexnet": "han2015", "resnet50": "distiller2019"}
"""Networks and the tables of densities by which they are pruned."""
USUAL_AHEAD = 4
AHEADS = (0, 1, 2, 4, 8)
CONVOLUTIONS = {"alexnet": "features.0..features.12", "vgg16": "conv4_2"}
"""What curves are of: all convolutions of AlexNet, with their pools, and conv4_2 of VGG-16."""
GRID_LAYER = "features.8"
"""Of AlexNet: 3 x 3, 384 channels, 256 filters."""
DENSITIES = ((1.0, 0.5, 0.25, 0.1), (1.0, 0.5, 0.25))
"""Of weights, and of activations."""
DEPTHS = (32, 64, 96, 128)
"""Weights of a pass that a PE holds."""
ITEMS = (1, 2, 3, 16)
"""Kernel positions of a pass, at most; a 3 x 3 kernel has 9."""
SETS = "narrow", "relative", "wide"
"""Constants for energies."""


def sparse(
    net: str, *, ahead: int = USUAL_AHEAD, layers: str | None = None, prune: str | None = "", skip: str = SKIPS[0],
    balance: str = BALANCES[0], schedule: str = "fused",
) -> Point:  # fmt: skip
    """On four sparse cores; pruned by the network's own table if nothing else is said."""
    options = SparseOptions(ahead, skip, balance)
    return Point(net, "sparse4", schedule, layers=layers, prune=NETS[net] if prune == "" else prune, sparse=options)


def dense(net: str, *, layers: str | None = None, schedule: str = "fused") -> Point:
    """On the dense twin of `sparse`."""
    return Point(net, "default", schedule, layers=layers, prune=NETS[net])


def unpruned(net: str) -> tuple[Point, Point]:
    """A network as it is, on the dense twin and on four sparse cores."""
    return Point(net, "default", "fused"), sparse(net, prune=None)


def grid(weights: float, acts: float, ahead: int) -> Point:
    """One layer, of given densities."""
    return sparse("alexnet", ahead=ahead, layers=GRID_LAYER, prune=f"{weights:g},{acts:g}", schedule="layers")


def varied(chip: str) -> Point:
    """The layer of the grid as it is pruned, on a single core of some build."""
    options = SparseOptions() if chip == "dense1" else SparseOptions(USUAL_AHEAD)
    return Point("alexnet", chip, "layers", layers=GRID_LAYER, prune=NETS["alexnet"], sparse=options)


BUILDS = (
    "dense1", "sparse1", *(f"sparse1_depth{depth}" for depth in DEPTHS if depth != 96),
    *(f"sparse1_items{items}" for items in ITEMS if items != 16),
)  # fmt: skip
"""Chips of one core: a dense one, and engines with other stores."""

GROUPS = {
    "headline": [point for net in ("alexnet", "vgg16", "resnet50") for point in (sparse(net), dense(net))],
    "runahead": [
        point
        for net, layers in CONVOLUTIONS.items()
        for point in (dense(net, layers=layers), *(sparse(net, layers=layers, ahead=ahead) for ahead in AHEADS))
    ],
    "ones": [
        point
        for net, layers in CONVOLUTIONS.items()
        for point in (dense(net, layers=layers), sparse(net, layers=layers, prune=None, skip="weights"))
    ],
    "onesided": [
        point
        for net, layers in CONVOLUTIONS.items()
        for point in (sparse(net, layers=layers, skip="weights"), sparse(net, layers=layers, skip="activations"))
    ],
    "balance": [sparse(net, layers=layers, balance="none") for net, layers in CONVOLUTIONS.items()],
    "depth": [varied(chip) for chip in BUILDS],
    "grid": [
        dense("alexnet", layers=GRID_LAYER, schedule="layers"),
        *(grid(kept, live, ahead) for ahead, kept, live in product((USUAL_AHEAD, 0), *DENSITIES)),
    ],
    "zoo": [point for net in ZOO for point in unpruned(net)],
    "lockstep": [sparse(net, ahead=0) for net in ("alexnet", "resnet50", "vgg16")],
    "idle": [sparse("alexnet", schedule="layers"), sparse("alexnet", schedule="layers", ahead=0)],
}
