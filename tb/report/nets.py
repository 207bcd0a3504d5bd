"""The zoo as a table: what each network is, in figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from golden.int8.fuse import fuse
from golden.net.graph import Concat, Conv2d, Graph, Linear
from golden.zoo import ZOO

__all__ = ["NetSize", "print_nets", "zoo_sizes"]


@dataclass(frozen=True)
class NetSize:
    """Figures of one network.

    Attributes
    ----------
    macs : int
        Multiply-accumulates of convolutions and fully connected layers; padding counts, as in published figures.
    params : int
        Learned values; running statistics of batch normalisations are not.
    activations : int
        Elements of all tensors that layers compute, activation functions, normalisations and residual additions
        fused; concatenations compute none.
    layers : int
        Convolutions and fully connected layers.
    """

    name: str
    input_shape: tuple[int, int, int]
    macs: int
    params: int
    activations: int
    layers: int

    @classmethod
    def of(cls, graph: Graph) -> NetSize:
        """Measure a network."""
        plan = fuse(graph)
        return cls(
            graph.name,
            graph.input_shape,
            graph.macs,
            graph.params,
            sum(math.prod(plan.shapes[step.output]) for step in plan.steps if not isinstance(step.node, Concat)),
            sum(isinstance(node, Conv2d | Linear) for node in graph.nodes),
        )


def zoo_sizes() -> list[NetSize]:
    """All networks of the zoo, least work first."""
    return sorted((NetSize.of(make()) for make in ZOO.values()), key=lambda size: size.macs)


def print_nets(sizes: Iterable[NetSize], console: Console) -> None:
    """One row for each network."""
    table = Table(title="networks", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True)
    table.add_column("input", no_wrap=True)
    for name in ("M MACs", "parameters", "activations", "layers"):
        table.add_column(name, justify="right", no_wrap=True)
    for size in sizes:
        table.add_row(
            size.name,
            " x ".join(map(str, size.input_shape)),
            f"{size.macs / 1e6:,.1f}",
            f"{size.params:,}",
            f"{size.activations:,}",
            str(size.layers),
        )
    console.print(table)
    console.print("layers: convolutions and fully connected; parameters: all that is learned;\n"
                  "activations: elements that layers compute, with normalisations, residuals and clamps fused",
                  highlight=False)  # fmt: skip
