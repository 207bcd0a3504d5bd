"""Shorthand in which the networks of the zoo are written: append a node, get its value's name."""

from golden.net.graph import (
    Add,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Graph,
    Linear,
    MaxPool,
    Node,
    Relu,
    Shape,
)
from golden.net.window import Padding, ceil_padding

__all__ = ["Builder"]


class Builder:
    """Grows a graph; square kernels, and PyTorch's way to say padding.

    Layers are named after their module in torchvision (`path`), activations after the layer before them, so parameter
    names and layer names are one.
    """

    def __init__(self, name: str, shape: Shape = (3, 224, 224)) -> None:
        self.name = name
        self.shape = shape
        self.nodes: list[Node] = []
        self.value = "image"
        """What the next node reads unless told otherwise."""

    def add(self, node: Node) -> str:
        """Append any node."""
        self.nodes.append(node)
        self.value = node.name
        return node.name

    def conv(
        self, path: str, channels: int, kernel: int, stride: int = 1, padding: int = 0, *, groups: int = 1,
        bias: bool = True, source: str = "",
    ) -> str:  # fmt: skip
        around: Padding = (padding, padding, padding, padding)
        window, step = (kernel, kernel), (stride, stride)
        return self.add(Conv2d(path, source or self.value, channels, window, step, around, (1, 1), groups, bias))

    def norm(self, path: str, eps: float = 1e-5) -> str:
        return self.add(BatchNorm(path, self.value, eps))

    def relu(self, path: str) -> str:
        return self.add(Relu(path, self.value))

    def relu6(self, path: str) -> str:
        return self.add(Clip(path, self.value, 0.0, 6.0))

    def maxpool(
        self, path: str, kernel: int, stride: int, padding: int = 0, *, ceil: bool = False, source: str = ""
    ) -> str:
        source = source or self.value
        around: Padding = (padding, padding, padding, padding)
        window, step = (kernel, kernel), (stride, stride)
        if ceil:
            _, *size = self.finish(source).shapes[source]
            around = ceil_padding((size[0], size[1]), window, step, around)
        return self.add(MaxPool(path, source, window, step, around))

    def sum(self, path: str, a: str, b: str) -> str:
        return self.add(Add(path, a, b))

    def concat(self, path: str, *parts: str) -> str:
        return self.add(Concat(path, parts))

    def global_average(self, path: str) -> str:
        return self.add(GlobalAvgPool(path, self.value))

    def flatten(self, path: str) -> str:
        return self.add(Flatten(path, self.value))

    def linear(self, path: str, features: int) -> str:
        return self.add(Linear(path, self.value, features))

    def finish(self, *outputs: str) -> Graph:
        """The graph so far."""
        used = {name for node in self.nodes for name in node.inputs}
        loose = tuple(node.name for node in self.nodes if node.name not in used and node.name not in outputs)
        return Graph(self.name, "image", self.shape, tuple(self.nodes), (*outputs, *loose))
