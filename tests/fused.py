"""Max pools fused wherever that is possible, not only where it is faster: what is slow must be right too."""

from dataclasses import replace

from golden.int8.pools import pools_before_concats
from scheduler.kinds.layers import Layers, PoolFusion
from tests.cases import Case

__all__ = ["ALL_POOLS", "pools_in_front"]

ALL_POOLS = Layers(pools=PoolFusion.ALWAYS)


def pools_in_front(case: Case) -> Case:
    """The case with pools in front of concatenations, where the convolutions are."""
    return replace(case, graph=pools_before_concats(case.graph))
