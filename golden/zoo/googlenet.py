"""GoogLeNet (Inception v1) with batch normalisation as in torchvision, without the auxiliary heads.

Szegedy et al., "Going deeper with convolutions", 2015, table 1. As in torchvision, the "5x5" branch has a 3x3 kernel.
Layer and parameter names are torchvision's; arrays of its ``aux1`` and ``aux2`` are passed over. torchvision's trained
weights want pixels in -1..1 (``transform_input``), not ImageNet's normalisation.
"""

from golden.net.graph import Graph
from golden.zoo.build import Builder

__all__ = ["googlenet"]

EPS = 0.001

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""(#1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj) of table 1."""


def googlenet() -> Graph:
    """GoogLeNet for 3 x 224 x 224 images and 1000 classes."""
    net = Builder("googlenet")
    _layer(net, "conv1", 64, 7, 2)
    net.maxpool("maxpool1", 3, 2, ceil=True)
    _layer(net, "conv2", 64, 1)
    _layer(net, "conv3", 192, 3)
    net.maxpool("maxpool2", 3, 2, ceil=True)
    for name, sizes in INCEPTIONS.items():
        _inception(net, f"inception{name}", *sizes)
        if name == "3b":
            net.maxpool("maxpool3", 3, 2, ceil=True)
        elif name == "4e":
            net.maxpool("maxpool4", 2, 2, ceil=True)
    net.global_average("avgpool")
    net.flatten("flatten")
    net.linear("fc", 1000)
    return net.finish()


def _layer(net: Builder, path: str, channels: int, kernel: int, stride: int = 1, source: str = "") -> str:
    net.conv(f"{path}.conv", channels, kernel, stride, kernel // 2, bias=False, source=source)
    net.norm(f"{path}.bn", EPS)
    return net.relu(f"{path}.relu")


def _inception(net: Builder, path: str, one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> None:
    source = net.value
    first = _layer(net, f"{path}.branch1", one, 1, source=source)
    _layer(net, f"{path}.branch2.0", reduce3, 1, source=source)
    second = _layer(net, f"{path}.branch2.1", three, 3)
    _layer(net, f"{path}.branch3.0", reduce5, 1, source=source)
    third = _layer(net, f"{path}.branch3.1", five, 3)
    net.maxpool(f"{path}.branch4.0", 3, 1, 1, ceil=True, source=source)
    fourth = _layer(net, f"{path}.branch4.1", pool, 1)
    net.concat(path, first, second, third, fourth)
