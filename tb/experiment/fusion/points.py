"""The points of the experiment on fused schedules.

Rates are those of each memory node; the chips of 4 cores have two.
"""

from __future__ import annotations

from itertools import product

from golden.zoo import ZOO
from tb.experiment.point import Point

__all__ = [
    "BATCH", "CURVE_RATES", "GROUPS", "HEADLINE_RATE", "KINDS", "NETS", "ZOO_NETS", "cores16", "default", "headline",
    "small",
]  # fmt: skip

NETS = (
    "resnet50", "resnet18", "googlenet", "squeezenet1_1", "mobilenet_v1", "mobilenet_v2", "vgg16", "vgg11", "alexnet"
)  # fmt: skip
ZOO_NETS = (*NETS, *sorted(set(ZOO) - set(NETS)))
KINDS = ("apart", "layers", "fused")
HEADLINE_RATE = 2
CURVE_RATES = (16, 8, 4, 2, 1)
BATCH = 4


def headline(net: str, schedule: str, *, overlap: bool = True, rate: float = HEADLINE_RATE, batch: int = 1) -> Point:
    """On the chip with 512 KB of activations a core."""
    return Point(net, "headline", schedule, rate, overlap, batch)


def default(net: str, schedule: str) -> Point:
    """On the preset of 4 cores."""
    return Point(net, "default", schedule)


def small(net: str, schedule: str) -> Point:
    """On the preset of 4 cores, whose scratchpads are half as large as the headline chip's, at that chip's rate."""
    return Point(net, "default", schedule, HEADLINE_RATE)


def cores16(net: str, schedule: str) -> Point:
    """On the preset of 16 cores."""
    return Point(net, "cores16", schedule)


def _curve(net: str) -> list[Point]:
    return [headline(net, kind, rate=rate) for rate, kind in product(CURVE_RATES, KINDS)]


GROUPS = {
    "resnet50": [headline("resnet50", kind) for kind in KINDS],
    "serial50": [headline("resnet50", kind, overlap=False) for kind in KINDS],
    "headline": [headline(net, kind, overlap=overlap) for net, kind, overlap in product(NETS, KINDS, (True, False))],
    "default": [default(net, kind) for net, kind in product(NETS, ("layers", "fused"))],
    "small": [small("resnet50", kind) for kind in KINDS],
    "batch": [headline("resnet50", kind, batch=BATCH) for kind in ("apart", "fused")],
    "curve50": _curve("resnet50"),
    "cores16": [cores16(net, kind) for net, kind in product(ZOO_NETS, ("layers", "fused"))],
    "curve": [point for net in NETS for point in _curve(net)],
}
