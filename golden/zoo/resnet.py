"""Residual networks as in torchvision.

He et al., "Deep residual learning for image recognition", 2016. ResNet-50 is torchvision's "v1.5": the 3x3 convolution
of a bottleneck carries the stride, not the first 1x1. Layer and parameter names are torchvision's.
"""

from golden.net.graph import Graph
from golden.zoo.build import Builder

__all__ = ["resnet18", "resnet50"]

EXPANSION = 4
"""Output channels of a bottleneck over its inner ones."""


def resnet18() -> Graph:
    """ResNet-18 for 3 x 224 x 224 images and 1000 classes."""
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet50() -> Graph:
    """ResNet-50 v1.5 for 3 x 224 x 224 images and 1000 classes."""
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def _resnet(name: str, blocks: tuple[int, ...], *, bottleneck: bool) -> Graph:
    net = Builder(name)
    net.conv("conv1", 64, 7, 2, 3, bias=False)
    net.norm("bn1")
    net.relu("relu")
    net.maxpool("maxpool", 3, 2, 1)
    channels = 64
    for stage, count in enumerate(blocks, start=1):
        inner = 64 << stage - 1
        for number in range(count):
            stride = 2 if stage > 1 and number == 0 else 1
            channels = _block(net, f"layer{stage}.{number}", channels, inner, stride, bottleneck=bottleneck)
    net.global_average("avgpool")
    net.flatten("flatten")
    net.linear("fc", 1000)
    return net.finish()


def _block(net: Builder, path: str, channels: int, inner: int, stride: int, *, bottleneck: bool) -> int:
    """Convolutions, and the identity or a 1x1 convolution beside them; returns the output channels."""
    trunk = net.value
    if bottleneck:
        out = inner * EXPANSION
        layers = [(inner, 1, 1), (inner, 3, stride), (out, 1, 1)]
    else:
        out = inner
        layers = [(inner, 3, stride), (out, 3, 1)]
    for number, (filters, kernel, step) in enumerate(layers, start=1):
        net.conv(f"{path}.conv{number}", filters, kernel, step, kernel // 2, bias=False)
        branch = net.norm(f"{path}.bn{number}")
        if number < len(layers):
            net.relu(f"{path}.relu{number}")
    if stride > 1 or channels != out:
        net.conv(f"{path}.downsample.0", out, 1, stride, bias=False, source=trunk)
        trunk = net.norm(f"{path}.downsample.1")
    net.sum(f"{path}.add", branch, trunk)
    net.relu(f"{path}.relu")
    return out
