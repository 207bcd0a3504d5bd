"""Several pictures as one graph: a copy of the network for each, so that every tensor has a name of its own.

Pictures count from 1: ``conv1@2`` is what ``conv1`` is in the second picture. A single picture keeps the plain names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby

import numpy as np

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConcat, QConv, QGate, QHost, QMove, QNode, QPool

__all__ = ["batched", "expected_of", "for_people", "of_picture", "plain", "single", "spoken"]

MARK = "@"


def of_picture(name: str, picture: int, batch: int) -> str:
    """Name of a node or tensor in a picture of so many."""
    return name if batch == 1 else f"{name}{MARK}{picture}"


def batched(graph: QGraph, batch: int) -> QGraph:
    """The network once for each picture; the copies share their weights, and nothing else."""
    if batch == 1:
        return graph
    pictures = range(1, batch + 1)
    first, *others = (of_picture(graph.input, picture, batch) for picture in pictures)
    tensors = {
        of_picture(name, picture, batch): replace(tensor, name=of_picture(name, picture, batch))
        for picture in pictures
        for name, tensor in graph.tensors.items()
    }
    outputs = tuple(of_picture(name, picture, batch) for picture in pictures for name in graph.outputs)
    nodes = tuple(_node(node, picture, batch) for picture in pictures for node in graph.nodes)
    return QGraph(graph.name, first, outputs, tensors, nodes, tuple(others))


def single(graph: QGraph, picture: int) -> QGraph:
    """The network as it is for one picture of a batch: its host reads that picture's inputs."""
    nodes = tuple(
        replace(node, feeds=node.feeds[picture - 1 : picture]) if isinstance(node, QHost) and node.feeds else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def expected_of(runs: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Every tensor of a batch, out of those of each picture."""
    known = list(runs)
    return {
        of_picture(name, picture, len(known)): value
        for picture, tensors in enumerate(known, 1)
        for name, value in tensors.items()
    }


def for_people(names: Iterable[str]) -> str:
    """Names of nodes in short, each with its pictures: ``conv1@1..4+pool1@1..4``."""
    pictures: dict[str, list[int]] = {}
    for name in names:
        of, picture = _split(name)
        pictures.setdefault(of, []).extend([picture] if picture else [])
    return "+".join(f"{name}{MARK}{_ranges(found)}" if found else name for name, found in pictures.items())


def plain(name: str) -> str:
    """Of a node or tensor of a batch, its name in the network."""
    return _split(name)[0]


def spoken(name: str) -> str:
    """A node of a batch in words: ``conv1 of picture 2``."""
    of, picture = _split(name)
    return f"{of} of picture {picture}" if picture else name


def _split(name: str) -> tuple[str, int]:
    """Name in the network, and the picture, or 0."""
    of, _, picture = name.rpartition(MARK)
    return (of, int(picture)) if of and picture.isdecimal() else (name, 0)


def _ranges(numbers: Iterable[int]) -> str:
    found = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda item: item[1] - item[0]):
        first, *rest = (number for _, number in run)
        found.append(f"{first}..{rest[-1]}" if rest else str(first))
    return ",".join(found)


def _node(node: QNode, picture: int, batch: int) -> QNode:
    def of(name: str) -> str:
        return of_picture(name, picture, batch)

    renamed = {"name": of(node.name), "output": of(node.output)}
    match node:
        case QConv():
            residual = None if node.residual is None else replace(node.residual, input=of(node.residual.input))
            return replace(node, input=of(node.input), residual=residual, **renamed)
        case QPool():
            return replace(node, input=of(node.input), **renamed)
        case QGate():
            return replace(node, inputs=(of(node.inputs[0]), of(node.inputs[1])), **renamed)
        case QAdd() | QConcat() | QMove():
            return replace(node, inputs=tuple(map(of, node.inputs)), **renamed)
        case QHost():
            return replace(node, inputs=tuple(map(of, node.inputs)), feeds=node.feeds[picture - 1 : picture], **renamed)
