"""AlexNet as in torchvision.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014: one tower, no local response
normalisation. Layer and parameter names are torchvision's. Its adaptive average pooling to 6x6 does nothing at
224 x 224, dropout nothing at inference; both are left out.
"""

from golden.net.graph import Graph
from golden.zoo.build import Builder

__all__ = ["alexnet"]


def alexnet() -> Graph:
    """AlexNet for 3 x 224 x 224 images and 1000 classes."""
    net = Builder("alexnet")
    net.conv("features.0", 64, 11, 4, 2)
    net.relu("features.1")
    net.maxpool("features.2", 3, 2)
    net.conv("features.3", 192, 5, 1, 2)
    net.relu("features.4")
    net.maxpool("features.5", 3, 2)
    for index, channels in ((6, 384), (8, 256), (10, 256)):
        net.conv(f"features.{index}", channels, 3, 1, 1)
        net.relu(f"features.{index + 1}")
    net.maxpool("features.12", 3, 2)
    net.flatten("flatten")
    for index in (1, 4):
        net.linear(f"classifier.{index}", 4096)
        net.relu(f"classifier.{index + 1}")
    net.linear("classifier.6", 1000)
    return net.finish()
