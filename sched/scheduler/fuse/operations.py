"""The operations of a network, one a part of a launch, and the tensors between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConcat, QConv, QGate, QHost, QMove, QNode, QPool
from rtl.contract.params import ChipParams
from scheduler.group import Pools
from scheduler.place import Parents, root_of
from scheduler.work.task import Copy, copies_of

__all__ = ["Operation", "Tensors", "operations", "word_channels"]


@dataclass(frozen=True, eq=False)
class Operation:
    """What a part of a launch computes, or the host does.

    Attributes
    ----------
    name : str
    node : QConv, QPool, QAdd, QGate, Copy or QHost
    pool : QPool, optional
        The maximum pool behind a convolution.
    inputs : tuple of str
        Tensors of the node, without a residual.
    residual : str, optional
    output : str
    done : tuple of QNode
        Nodes that are complete behind it.
    """

    name: str
    node: QConv | QPool | QAdd | QGate | Copy | QHost
    inputs: tuple[str, ...]
    output: str
    done: tuple[QNode, ...]
    pool: QPool | None = None
    residual: str | None = None

    @property
    def in_memory(self) -> tuple[str, ...]:
        """Tensors that it must find in DRAM, or leave there."""
        match self.node:
            case Copy():
                return () if self.node.plain else (*self.inputs, self.output)
            case QGate():
                return self.inputs[1:]
            case QHost():
                return (*self.inputs, self.output)
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        return self.inputs if self.residual is None else (*self.inputs, self.residual)

    @property
    def label(self) -> str:
        """Unique, for plans that people read."""
        if isinstance(self.node, Copy):
            return f"{self.name}[{','.join(map(str, self.node.piece.to[: 1 if self.node.plain else 3]))}]"
        return self.name if self.pool is None else f"{self.name}+{self.pool.name}"

    @property
    def macs(self) -> int:
        return sum(node.macs for node in self.done)


def operations(graph: QGraph, pools: Pools, parents: Parents) -> list[Operation]:
    """In the order of the graph; a concatenation whose inputs are computed in their place is none of its own."""
    found: list[Operation] = []
    fused = {pool.name for pool in pools.values()}
    for node in graph.nodes:
        if node.name in fused:
            continue
        added = list(_of_node(graph, node, pools.get(node.name), parents))
        if not added:
            found[-1] = replace(found[-1], done=(*found[-1].done, node))
        found += added
    return found


def _of_node(graph: QGraph, node: QNode, pool: QPool | None, parents: Parents) -> Iterator[Operation]:
    match node:
        case QConv():
            residual = None if node.residual is None else node.residual.input
            output, done = (node.output, (node,)) if pool is None else (pool.output, (node, pool))
            yield Operation(node.name, node, (node.input,), output, done, pool, residual)
        case QConcat() | QMove():
            copies = [
                Operation(node.name, copy, (name,), node.output, ())
                for copy, name in copies_of(node, graph.tensors)
                if parents.get(name) != (node.output, copy.channel)
            ]
            if copies:
                yield from copies[:-1]
                yield replace(copies[-1], done=(node,))
        case _:
            yield Operation(node.name, node, node.inputs, node.output, (node,))


class Tensors:
    """Tensors of a network by the one inside which they lie, and between which operations each is needed.

    Attributes
    ----------
    roots : dict of str to (str, int)
        Of every tensor, the one inside which it lies at last, and its first channel there.
    first, written, last : dict of str to int
        Of every root, number of the operation that writes it first (-1 for the network's input), of the last that
        does, and of the last that reads it (behind all for outputs).
    """

    def __init__(self, graph: QGraph, steps: list[Operation], parents: Parents) -> None:
        self.graph = graph
        self.roots = {name: root_of(name, parents) for name in graph.tensors}
        self.first = {self.root(graph.input): -1}
        self.written = dict(self.first)
        self.last: dict[str, int] = {}
        self.readers: dict[str, list[int]] = {}
        for number, step in enumerate(steps):
            for name in step.reads:
                self.last[self.root(name)] = number
                self.readers.setdefault(self.root(name), []).append(number)
            self.first.setdefault(self.root(step.output), number)
            self.written[self.root(step.output)] = number
            self.last.setdefault(self.root(step.output), number)
        for name in graph.outputs:
            self.last[self.root(name)] = len(steps)

    def root(self, name: str) -> str:
        return self.roots[name][0]

    def shape(self, name: str) -> tuple[int, int, int]:
        return self.graph.tensors[name].shape


def word_channels(chip: ChipParams) -> int:
    """Channels at which a tensor inside another may begin, so that it does at a word of every scratchpad."""
    return max(core.act_word_bytes(chip.link_bytes) for core in chip.cores)
