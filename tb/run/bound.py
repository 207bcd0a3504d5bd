"""The least time in which a plan's launches can be done, whatever their programs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from estimator import MemoryTiming
from golden.int8.qnodes import QConv
from scheduler.plan.program import Launch, Plan

__all__ = ["lower_bound_cycles"]


def lower_bound_cycles(plan: Plan, memory: MemoryTiming) -> float:
    """Cycles that no programs of the same launches can beat.

    The sum over launches with convolutions and fully connected layers of the longest of: their MACs / PEs; the bytes of
    their weights, and of inputs and outputs that are not kept on the chip, at the bandwidth of all memory nodes; those
    that are read, and those that are written, at what the ports carry one way. Other launches add nothing.

    A sparse engine leaves products out, but takes a cycle for R activations of C filters at least; and its weights have
    no zeros, so that those of a chip with such an engine count without.
    """
    return sum(_bound(plan, launch, memory) for launch in plan.launches)


def _bound(plan: Plan, launch: Launch, memory: MemoryTiming) -> float:
    names = set(launch.nodes)
    layers = [node for node in plan.graph.nodes if node.name in names and isinstance(node, QConv)]
    chip, nodes = plan.chip, len(plan.chip.memory_nodes)
    both, one_way = nodes * memory.rate(chip.link_bytes), nodes * memory.one_way(chip.link_bytes)
    lists = any("sparse" in core.engines for core in chip.cores)
    weights = {  # pictures of a launch may share them
        id(node.weight): int(np.count_nonzero(node.weight)) if lists else node.weight.size for node in layers
    }
    read = sum(weights.values()) + _size(plan, launch, [node.input for node in layers])
    written = _size(plan, launch, [node.output for node in layers])
    macs = sum(node.macs for node in layers)
    return max(macs / chip.pes, (read + written) / both, read / one_way, written / one_way)


def _size(plan: Plan, launch: Launch, tensors: Sequence[str]) -> int:
    """Elements of those that cross the memory nodes: in a launch of one part all of them."""
    kept = set(plan.graph.tensors) - set(plan.tensors) if len(launch.parts) > 1 else set[str]()
    return sum(int(np.prod(plan.graph.tensors[name].shape)) for name in dict.fromkeys(tensors) if name not in kept)
