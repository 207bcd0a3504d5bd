"""Which layers may share a launch: a convolution and the maximum pool behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv, QPool
from rtl.contract.isa import Opcode
from scheduler.plan.limits import largest
from scheduler.work.lower import is_depthwise, is_flat

__all__ = ["Pools", "pool_candidates"]

Pools = Mapping[str, QPool]
"""By the name of the convolution, the pool that its launch computes too."""

NEVER_WINS = -128
"""What a pool's padding must count: the drain leaves it out."""


def pool_candidates(graph: QGraph) -> Iterator[tuple[QConv, QPool]]:
    """Convolutions of the array whose only reader is a maximum pool within the reach of POOL."""
    for node in graph.nodes:
        if not isinstance(node, QConv) or node.output in graph.outputs:
            continue
        source = graph.tensors[node.input].shape
        depthwise = is_depthwise(node, source) and node.groups > 1
        readers = [other for other in graph.nodes if node.output in other.inputs]
        if depthwise or is_flat(node, source) or len(readers) != 1 or node.residual is not None:
            continue
        if node.requant.table is not None:  # it may fall: the largest accumulator need not give the largest output
            continue
        (pool,) = readers
        if isinstance(pool, QPool) and pool.op == "maxpool" and _fits(graph, pool):
            yield node, pool


def _fits(graph: QGraph, pool: QPool) -> bool:
    """The fields hold it, and every window has a position inside the map."""
    if pool.pad_value != NEVER_WINS:
        return False
    size, out = graph.tensors[pool.input].shape[1:], graph.tensors[pool.output].shape[1:]
    for axis, (kernel, stride, pad) in enumerate(
        (("kernel_h", "stride_h", "pad_top"), ("kernel_w", "stride_w", "pad_left"))
    ):
        step = pool.stride[axis] if out[axis] > 1 else 1
        for name, value in ((kernel, pool.kernel[axis]), (stride, step), (pad, pool.padding[axis])):
            if value > largest(Opcode.POOL, name):
                return False
        last = (out[axis] - 1) * step - pool.padding[axis]
        if pool.padding[axis] >= pool.kernel[axis] or last >= size[axis]:
            return False
    return True
