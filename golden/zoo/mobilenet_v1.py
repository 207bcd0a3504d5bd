"""MobileNet version 1, width 1.0, 224 x 224.

Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017, table 1, with
the classifier as a fully connected layer and plain ReLU as the paper draws it. torchvision has no such network;
parameter names are those of the common PyTorch port (``model.<layer>.<part>``, ``fc``).
"""

from golden.net.graph import Graph
from golden.zoo.build import Builder

__all__ = ["mobilenet_v1"]

LAYERS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
"""(output channels, stride of the depthwise convolution) of the separable layers. The paper's table gives the last a
stride of 2 and an unchanged size, which contradict each other; every implementation has 1."""


def mobilenet_v1() -> Graph:
    """MobileNet-v1 for 3 x 224 x 224 images and 1000 classes."""
    net = Builder("mobilenet_v1")
    net.conv("model.0.0", 32, 3, 2, 1, bias=False)
    net.norm("model.0.1")
    net.relu("model.0.2")
    channels = 32
    for number, (out, stride) in enumerate(LAYERS, start=1):
        path = f"model.{number}"
        net.conv(f"{path}.0", channels, 3, stride, 1, groups=channels, bias=False)
        net.norm(f"{path}.1")
        net.relu(f"{path}.2")
        net.conv(f"{path}.3", out, 1, bias=False)
        net.norm(f"{path}.4")
        net.relu(f"{path}.5")
        channels = out
    net.global_average("model.14")
    net.flatten("flatten")
    net.linear("fc", 1000)
    return net.finish()
