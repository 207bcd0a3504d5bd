"""Float layer graph: a network as its authors describe it, before quantisation."""

import math
from dataclasses import dataclass, field, replace

from golden.errors import GraphError
from golden.int8.fallback import Feeds
from golden.net.nodes import (
    Add,
    AvgPool,
    BatchNorm,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Gate,
    GlobalAvgPool,
    Host,
    Linear,
    MaxPool,
    Move,
    Node,
    Relu,
    Shape,
)

__all__ = [
    "Add", "AvgPool", "BatchNorm", "Clip", "Concat", "Conv2d", "Flatten", "Gate", "GlobalAvgPool", "Graph",
    "GraphError", "Host", "Linear", "MaxPool", "Move", "Node", "Relu", "Shape",
]  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """A network of one image input.

    Attributes
    ----------
    input : str
        Name of the input value, of shape `input_shape`.
    nodes : tuple of Node
        In topological order. A node's value carries the node's name.
    outputs : tuple of str
        Values the network returns; empty means the last node's.
    shapes : dict of str to (C, H, W)
        Shape of every value, inferred.

    Raises
    ------
    GraphError
        For duplicate or unknown names, shapes that do not fit, or a value that nothing reads.
    """

    name: str
    input: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()
    shapes: dict[str, Shape] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise GraphError(f"graph {self.name!r} has no nodes; give at least one")
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise GraphError(f"input shape of {self.name!r} is {self.input_shape}; give (C, H, W), all at least 1")
        if not self.outputs:
            object.__setattr__(self, "outputs", (self.nodes[-1].name,))
        object.__setattr__(self, "shapes", self._infer())
        self._check_uses()
        self._check_parameters()

    @property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every learned tensor of the network."""
        return {key: shape for node in self.nodes for key, shape in node.parameters(*self._in(node)).items()}

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of everything that a weights file holds: parameters, and statistics of normalisations."""
        return {key: shape for node in self.nodes for key, shape in self.node_tensors(node).items()}

    def node_tensors(self, node: Node) -> dict[str, tuple[int, ...]]:
        """Name and shape of the parameters and statistics of one node."""
        shapes = self._in(node)
        return node.parameters(*shapes) | node.statistics(*shapes)

    def node_params(self, node: Node) -> int:
        """Number of learned values of one node."""
        return sum(math.prod(shape) for shape in node.parameters(*self._in(node)).values())

    def node_macs(self, node: Node) -> int:
        """Multiply-accumulates of one node per image."""
        return node.macs(*self._in(node))

    @property
    def params(self) -> int:
        """Number of learned values of the network; running statistics are not learned."""
        return sum(math.prod(shape) for shape in self.parameters.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network per image (convolutions and fully connected layers)."""
        return sum(self.node_macs(node) for node in self.nodes)

    def consumers(self, value: str) -> tuple[Node, ...]:
        """Nodes that read a value."""
        return tuple(node for node in self.nodes if value in node.inputs)

    def fed(self, feeds: Feeds) -> "Graph":
        """The same, its nodes for the host given these inputs of the model."""
        nodes = tuple(
            replace(node, feeds={name: feeds[name] for name in node.part.given}) if isinstance(node, Host) else node
            for node in self.nodes
        )
        return replace(self, nodes=nodes)

    def _in(self, node: Node) -> list[Shape]:
        return [self.shapes[name] for name in node.inputs]

    def _infer(self) -> dict[str, Shape]:
        shapes = {self.input: self.input_shape}
        for node in self.nodes:
            if node.name in shapes:
                node.fail("its name is already taken", "give every node and the input their own name")
            for name in node.inputs:
                if name not in shapes:
                    later = any(other.name == name for other in self.nodes)
                    node.fail(
                        f"input {name!r} is {'produced later' if later else 'unknown'}",
                        "list nodes in topological order" if later else f"known so far: {', '.join(shapes)}",
                    )
            shapes[node.name] = node.infer(*(shapes[name] for name in node.inputs))
        if len(set(self.outputs)) < len(self.outputs):
            raise GraphError(f"outputs of graph {self.name!r} are {self.outputs}; name each value once")
        for name in self.outputs:
            if name not in shapes:
                raise GraphError(f"output {name!r} of graph {self.name!r} is unknown; known: {', '.join(shapes)}")
        return shapes

    def _check_uses(self) -> None:
        used = {name for node in self.nodes for name in node.inputs} | set(self.outputs)
        for name in self.shapes:
            if name not in used:
                raise GraphError(
                    f"value {name!r} of graph {self.name!r} is never read; drop it or list it among the outputs"
                )

    def _check_parameters(self) -> None:
        owners: dict[str, str] = {}
        for node in self.nodes:
            for key in self.node_tensors(node):
                if key in owners:
                    node.fail(f"parameter {key!r} already belongs to {owners[key]!r}", "set another `param`")
                owners[key] = node.name
