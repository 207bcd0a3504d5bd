"""VGG networks: VGG-11 (configuration A) and VGG-16 (configuration D), as in torchvision.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, table 1.
Layer names are the paper's (conv1_1 ... fc8), parameter names torchvision's (features.0 ... classifier.6),
so torchvision's weights load unchanged. Dropout does nothing at inference and is left out.
"""

from golden.net.graph import Conv2d, Flatten, Graph, Linear, MaxPool, Node, Relu

__all__ = ["vgg11", "vgg16"]

BLOCKS_11 = ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))
BLOCKS_16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(output channels, convolutions) of each block; a 2x2 maximum pooling ends every block."""

CLASSIFIER = ((6, 4096, 0), (7, 4096, 3), (8, 1000, 6))
"""(number in the paper, output features, index in torchvision's ``classifier``)."""


def vgg11() -> Graph:
    """VGG-11 for 3 x 224 x 224 images and 1000 classes."""
    return _vgg("vgg11", BLOCKS_11)


def vgg16() -> Graph:
    """VGG-16 for 3 x 224 x 224 images and 1000 classes."""
    return _vgg("vgg16", BLOCKS_16)


def _vgg(name: str, blocks: tuple[tuple[int, int], ...]) -> Graph:
    nodes: list[Node] = []
    value, index = "image", 0  # index counts torchvision's ``features``, where ReLU and pool count too
    for block, (channels, convs) in enumerate(blocks, start=1):
        for number in range(1, convs + 1):
            layer = f"conv{block}_{number}"
            nodes.append(Conv2d(layer, value, channels, (3, 3), padding=(1, 1, 1, 1), param=f"features.{index}"))
            nodes.append(Relu(value := f"relu{block}_{number}", layer))
            index += 2
        nodes.append(MaxPool(f"pool{block}", value, (2, 2), (2, 2)))
        value = f"pool{block}"
        index += 1
    nodes.append(Flatten(value := "flatten", "pool5"))
    for number, features, slot in CLASSIFIER:
        nodes.append(Linear(f"fc{number}", value, features, param=f"classifier.{slot}"))
        if number != CLASSIFIER[-1][0]:
            nodes.append(Relu(value := f"relu{number}", f"fc{number}"))
    return Graph(name, "image", (3, 224, 224), tuple(nodes))
