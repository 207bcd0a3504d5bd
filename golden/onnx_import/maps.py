"""Values of float models while they are imported: maps of the layer graph as ONNX sees them, and functions of one."""

from dataclasses import dataclass

import numpy as np

from golden.net.activations import Term
from golden.net.graph import Shape
from golden.net.window import Padding

__all__ = ["Function", "Map"]


@dataclass(frozen=True)
class Map:
    """A value of the layer graph, seen through a view, with padding that the next layer has to add."""

    name: str
    chw: Shape
    shape: tuple[int, ...]
    padding: Padding = (0, 0, 0, 0)
    function: "Function | None" = None
    """What it is of another map."""
    hosted: bool = False
    """Whether the host has it too, and more exactly."""
    last: bool = False
    """Whether the channels are the last dimension that ONNX sees, not the first: it then sees [H, W, C] flattened."""

    def seen(self, value: np.ndarray) -> np.ndarray:
        """The ONNX value of any[C, H, W]."""
        return (value.transpose(1, 2, 0) if self.last else value).reshape(self.shape)


@dataclass(frozen=True)
class Function:
    """An element-wise function of a map; it becomes a layer once something else reads it."""

    name: str
    base: Map
    terms: tuple[Term, ...]
