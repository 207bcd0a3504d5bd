"""Networks by name. A zoo entry is a function that returns a fresh :class:`~golden.net.graph.Graph`."""

from collections.abc import Callable

from golden.errors import UnknownNetworkError
from golden.net.graph import Graph
from golden.zoo.alexnet import alexnet
from golden.zoo.googlenet import googlenet
from golden.zoo.lenet5 import lenet5
from golden.zoo.mobilenet_v1 import mobilenet_v1
from golden.zoo.mobilenet_v2 import mobilenet_v2
from golden.zoo.resnet import resnet18, resnet50
from golden.zoo.squeezenet import squeezenet1_1
from golden.zoo.vgg import vgg11, vgg16

__all__ = ["ZOO", "load"]

ZOO: dict[str, Callable[[], Graph]] = {
    "lenet5": lenet5,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "googlenet": googlenet,
    "squeezenet1_1": squeezenet1_1,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}


def load(name: str) -> Graph:
    """Build a network of the zoo.

    Raises
    ------
    UnknownNetworkError
        If the zoo has no such name; the message lists those it has.
    """
    if name not in ZOO:
        raise UnknownNetworkError(f"unknown network {name!r}; choose one of: {', '.join(sorted(ZOO))}")
    return ZOO[name]()
