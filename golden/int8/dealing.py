"""Filters of fully connected layers in an order that suits blocks of them: an exact change of the quantised graph.

An engine that lists the weights of a block of filters takes as long, and reads as much, as the longest list says, so a
heavy filter makes its whole block heavy. Where only layers with weights read what a layer puts out, its filters may
change places: these layers' weights follow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv

__all__ = ["dealt_filters"]


def dealt_filters(graph: QGraph, lanes: int) -> QGraph:
    """The graph with filters dealt to blocks of so many, heavy ones with light ones.

    The heaviest goes with the lightest, the second with the second lightest, so that such pairs become lighter one by
    one; blocks take them in turn. So all pairs of a block are about as heavy. Blocks are put in an order in which
    every half, quarter and so on of them is about as heavy as the others.

    Tensors hold the same values as before; those between the layers in another order of channels.

    Parameters
    ----------
    lanes : int
        Filters of a block, an even number.
    """
    nodes = list(graph.nodes)
    for number, node in enumerate(nodes):
        if not isinstance(node, QConv) or not _may_change(graph, node):
            continue
        order = _order(np.count_nonzero(node.weight.reshape(len(node.bias), -1), axis=1), lanes)
        requant = replace(node.requant, multiplier=node.requant.multiplier[order], shift=node.requant.shift[order])
        nodes[number] = replace(node, weight=node.weight[order], bias=node.bias[order], requant=requant)
        for later, reader in enumerate(nodes):
            if isinstance(reader, QConv) and reader.input == node.output:
                nodes[later] = replace(reader, weight=np.ascontiguousarray(reader.weight[:, order]))
    return replace(graph, nodes=tuple(nodes))


def _may_change(graph: QGraph, node: QConv) -> bool:
    """A layer with one pixel, whose output fully connected layers alone read."""
    if node.out_hw != (1, 1) or node.groups > 1 or node.residual is not None or node.output in graph.outputs:
        return False
    readers = [other for other in graph.nodes if node.output in other.inputs]
    return bool(readers) and all(
        isinstance(other, QConv) and other.groups == 1 and other.residual is None for other in readers
    )


def _order(weights: np.ndarray, lanes: int) -> np.ndarray:
    """Of filters with so many weights, int[O]: which filter comes in each place."""
    falling = np.argsort(-weights, kind="stable")
    half = len(falling) // 2
    paired = np.stack([falling[:half], falling[::-1][:half]], axis=1).reshape(-1)
    paired = np.concatenate([paired, falling[half : len(falling) - half]])
    whole = len(paired) // lanes
    bits = max(1, (whole - 1).bit_length())
    mirrored = (int(f"{block:0{bits}b}"[::-1], 2) for block in range(1 << bits))
    turn = [block for block in mirrored if block < whole]
    blocks = paired[: whole * lanes].reshape(whole, lanes)[turn]
    return np.concatenate([blocks.reshape(-1), paired[whole * lanes :]])
