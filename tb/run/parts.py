"""The parts of a step: the layers that one launch computes, each with its nodes, mapping and work."""

from __future__ import annotations

from dataclasses import dataclass

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv, QPool
from scheduler.plan.program import Step

__all__ = ["Part", "fuses_pool", "parts_of"]


@dataclass(frozen=True)
class Part:
    """A layer of a launch, with what is fused into it."""

    nodes: tuple[str, ...]
    op: str
    mapping: str
    """How the work is split and tiled, for reports."""
    macs: int


def parts_of(graph: QGraph, step: Step) -> tuple[Part, ...]:
    """The parts of a step, in the order in which they are computed."""
    macs = sum(node.macs for node in graph.nodes if node.name in step.nodes)
    return (Part(step.nodes, step.op, step.mapping, macs),)


def fuses_pool(graph: QGraph, part: Part) -> bool:
    """Whether a part computes a maximum pool in the drain of its convolution."""
    nodes = [node for node in graph.nodes if node.name in part.nodes]
    pools = any(isinstance(node, QPool) and node.op == "maxpool" for node in nodes)
    return pools and any(isinstance(node, QConv) for node in nodes)
