"""SqueezeNet 1.1 as in torchvision.

Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016, and the authors' release 1.1.
Layer and parameter names are torchvision's. Dropout does nothing at inference and is left out.
"""

from golden.net.graph import Graph
from golden.zoo.build import Builder

__all__ = ["squeezenet1_1"]

FIRES = ((3, 16, 64), (4, 16, 64), (6, 32, 128), (7, 32, 128), (9, 48, 192), (10, 48, 192), (11, 64, 256),
         (12, 64, 256))  # fmt: skip
"""(index in ``features``, squeeze channels, channels of each expansion); a maximum pooling fills each gap."""


def squeezenet1_1() -> Graph:
    """SqueezeNet 1.1 for 3 x 224 x 224 images and 1000 classes."""
    net = Builder("squeezenet1_1")
    net.conv("features.0", 64, 3, 2)
    net.relu("features.1")
    index = 2
    for number, squeeze, expand in FIRES:
        if number != index:
            net.maxpool(f"features.{index}", 3, 2, ceil=True)
        path = f"features.{number}"
        net.conv(f"{path}.squeeze", squeeze, 1)
        squeezed = net.relu(f"{path}.squeeze_activation")
        net.conv(f"{path}.expand1x1", expand, 1, source=squeezed)
        narrow = net.relu(f"{path}.expand1x1_activation")
        net.conv(f"{path}.expand3x3", expand, 3, 1, 1, source=squeezed)
        wide = net.relu(f"{path}.expand3x3_activation")
        net.concat(path, narrow, wide)
        index = number + 1
    net.conv("classifier.1", 1000, 1)
    net.relu("classifier.2")
    net.global_average("classifier.3")
    return net.finish()
