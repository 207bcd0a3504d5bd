"""What is to be computed, before any engine has bid for it: nodes of the graph, and where their tensors lie."""

from __future__ import annotations

from dataclasses import dataclass

from golden.int8.qnodes import QAdd, QConv, QPool
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import Sink

__all__ = ["Copy", "Task"]


@dataclass(frozen=True)
class Copy:
    """One input of a concatenation, which goes to the channels from `channel` on of the output."""

    name: str
    channel: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """A node, with what joins it in the same part of a launch.

    Attributes
    ----------
    node : QConv, QPool, QAdd or Copy
    inputs : tuple of Placement or Residence
        The node's own tensors, in its order.
    residual : Placement or Residence, optional
        The tensor that a convolution adds.
    pool : QPool, optional
        The maximum pool behind a convolution.
    sink : Sink
        Where the output goes: the pool's, if there is one.
    """

    node: QConv | QPool | QAdd | Copy
    inputs: tuple[Placement | Residence, ...]
    residual: Placement | Residence | None = None
    pool: QPool | None = None
    sink: Sink

    @property
    def name(self) -> str:
        return self.node.name if self.pool is None else f"{self.node.name}+{self.pool.name}"

    @property
    def op(self) -> str:
        """For reports."""
        own = "concat" if isinstance(self.node, Copy) else self.node.op
        return own if self.pool is None else f"{own}+{self.pool.op}"
