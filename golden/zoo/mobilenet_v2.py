"""MobileNet version 2, width 1.0, as in torchvision.

Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018, table 2. Layer and parameter names are
torchvision's.
"""

from golden.net.graph import Graph
from golden.zoo.build import Builder

__all__ = ["mobilenet_v2"]

SETTING = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""(expansion, output channels, repeats, stride of the first) of each stage: t, c, n, s in the paper."""


def mobilenet_v2() -> Graph:
    """MobileNet-v2 for 3 x 224 x 224 images and 1000 classes."""
    net = Builder("mobilenet_v2")
    _layer(net, "features.0", 32, 3, 2)
    channels, number = 32, 1
    for expansion, out, repeats, first_stride in SETTING:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            _bottleneck(net, f"features.{number}", channels, out, expansion, stride)
            channels, number = out, number + 1
    _layer(net, f"features.{number}", 1280, 1)
    net.global_average("avgpool")
    net.flatten("flatten")
    net.linear("classifier.1", 1000)
    return net.finish()


def _layer(net: Builder, path: str, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
    net.conv(f"{path}.0", channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    net.norm(f"{path}.1")
    net.relu6(f"{path}.2")


def _bottleneck(net: Builder, path: str, channels: int, out: int, expansion: int, stride: int) -> None:
    """Widen, filter each channel, narrow without an activation; the input is added where shapes allow."""
    trunk, inner, part = net.value, channels * expansion, 0
    if expansion > 1:
        _layer(net, f"{path}.conv.0", inner, 1)
        part = 1
    _layer(net, f"{path}.conv.{part}", inner, 3, stride, inner)
    net.conv(f"{path}.conv.{part + 1}", out, 1, bias=False)
    branch = net.norm(f"{path}.conv.{part + 2}")
    if stride == 1 and channels == out:
        net.sum(f"{path}.add", trunk, branch)
