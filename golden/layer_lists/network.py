"""A network of layers of which some read each other, and others inputs of their own."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from golden.int8.fallback import HostPart, Port
from golden.net.graph import Graph, Host, Node, Shape
from golden.net.inputs import INPUT_SEED

__all__ = ["Grower", "ListedNetwork"]


@dataclass(frozen=True, eq=False)
class ListedNetwork:
    """A float network out of a list of layers.

    Attributes
    ----------
    graph : Graph
        Its input is that of the first layer; further inputs are nodes that the host writes.
    note : str
        What the user should know of how the list was read, in one line.
    """

    graph: Graph
    note: str

    def feeds(self, picture: int) -> dict[str, np.ndarray]:
        """Seeded values float32 of the further inputs, as ONNX sees them, by name; another `picture`, other values."""
        ports = [node.part.output for node in self.graph.nodes if isinstance(node, Host)]
        return {port.name: _values(port.name, port.shape, picture) for port in ports}

    def image(self, picture: int) -> np.ndarray:
        """Seeded values float32[C, H, W] of the graph's input."""
        return _values(self.graph.input, self.graph.input_shape, picture)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in the order of the list."""
        return [node.name for node in self.graph.nodes if not isinstance(node, Host)]

    def only(self, names: Collection[str]) -> ListedNetwork:
        """These of its layers; what others would make are inputs."""
        grower = Grower(self.graph.name)
        for node in self.graph.nodes:
            if node.name in names:
                for read in node.inputs:
                    grower.fresh(self.graph.shapes[read], read)
                grower.add(node)
        return grower.finish(self.note)


@dataclass
class Grower:
    """Grows a network layer by layer."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    """Of every value so far."""
    source: str = ""
    """The graph's input: the first value that no layer makes."""

    def unique(self, name: str) -> str:
        """A name that no value has yet: as given, or with a number behind it."""
        clean = "".join(c if c.isprintable() and c not in "@," else "_" for c in name.strip()) or "layer"
        taken, made, number = self.shapes, clean, 2
        while made in taken:
            made, number = f"{clean}_{number}", number + 1
        return made

    def fresh(self, shape: Shape, name: str) -> str:
        """An input of its own for the next layer; its name."""
        if name in self.shapes:
            return name
        self.shapes[name] = shape
        if not self.source:
            self.source = name
            return name
        port = Port(name, (1, *shape), "float32")
        self.nodes.append(Host(name, (), HostPart(name, ("Input",), b"", (), port, (name,))))
        return name

    def add(self, node: Node) -> Shape:
        """Append a layer; the shape that it puts out.

        Raises
        ------
        GraphError
            If it does not fit what it reads.
        """
        shape = node.infer(*(self.shapes[name] for name in node.inputs))
        self.shapes[node.name] = shape
        self.nodes.append(node)
        return shape

    def finish(self, note: str) -> ListedNetwork:
        """The network; what nothing reads is put out."""
        used = {name for node in self.nodes for name in node.inputs}
        loose = tuple(node.name for node in self.nodes if node.name not in used)
        return ListedNetwork(Graph(self.name, self.source, self.shapes[self.source], tuple(self.nodes), loose), note)


def _values(name: str, shape: tuple[int, ...], picture: int) -> np.ndarray:
    rng = np.random.default_rng([INPUT_SEED, picture, zlib.crc32(name.encode())])
    return rng.normal(size=shape).astype(np.float32)
