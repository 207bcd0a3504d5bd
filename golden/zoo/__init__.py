"""Networks by name. A zoo entry is a function that returns a fresh :class:`~golden.graph.Graph`."""

from collections.abc import Callable

from golden.errors import UnknownNetworkError
from golden.graph import Graph
from golden.zoo.lenet5 import lenet5
from golden.zoo.vgg16 import vgg16

__all__ = ["ZOO", "load"]

ZOO: dict[str, Callable[[], Graph]] = {"lenet5": lenet5, "vgg16": vgg16}


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
