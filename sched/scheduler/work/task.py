"""What is to be computed, before any engine has bid for it: nodes of the graph, and where their tensors lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from golden.int8.qgraph import QTensor
from golden.int8.qnodes import QAdd, QConcat, QConv, QGate, QMove, QPool
from golden.net.pieces import Piece, joined
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.options import SparseOptions
from scheduler.work.sink import Sink

__all__ = ["Copy", "Task", "copies_of"]


@dataclass(frozen=True)
class Copy:
    """A rectangle of a tensor that goes to a rectangle of another, from `channel` on.

    Attributes
    ----------
    piece : Piece
    view : (H, W)
        Size as which the piece sees the output's map.
    fill : int
        What it reads where its source has no pixel.
    own : bool
        Whether both are seen in the sizes that their maps have.
    """

    name: str
    op: str
    piece: Piece
    view: tuple[int, int]
    fill: int = 0
    own: bool = True

    @property
    def channel(self) -> int:
        """First one of the output."""
        return self.piece.to[0]

    @property
    def plain(self) -> bool:
        """Whether it takes whole maps as they are, so that source and output may be anywhere."""
        piece = self.piece
        return self.own and piece.view == piece.size == self.view and piece.start == (0, 0) and piece.step == (1, 1)


def copies_of(node: QConcat | QMove, tensors: Mapping[str, QTensor]) -> Iterator[tuple[Copy, str]]:
    """The copies that a node is made of, each with the tensor that it reads."""
    if isinstance(node, QMove):
        for piece in node.pieces:
            source = node.inputs[piece.source]
            own = (tensors[source].shape[1:], tensors[node.output].shape[1:]) == (piece.view, node.view)
            yield Copy(node.name, node.op, piece, node.view, node.fill, own), source
        return
    pieces, shape = joined([tensors[name].shape for name in node.inputs], 0)
    for piece in pieces:
        yield Copy(node.name, node.op, piece, shape[1:]), node.inputs[piece.source]


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """A node, with what joins it in the same part of a launch.

    Attributes
    ----------
    node : QConv, QPool, QAdd, QGate or Copy
    inputs : tuple of Placement or Residence
        The node's own tensors, in its order.
    residual : Placement or Residence, optional
        The tensor that a convolution adds.
    pool : QPool, optional
        The maximum pool behind a convolution.
    sink : Sink
        Where the output goes: the pool's, if there is one.
    sparse : SparseOptions
        For sparse engines.
    """

    node: QConv | QPool | QAdd | QGate | Copy
    inputs: tuple[Placement | Residence, ...]
    residual: Placement | Residence | None = None
    pool: QPool | None = None
    sink: Sink
    sparse: SparseOptions = field(default_factory=SparseOptions)

    @property
    def name(self) -> str:
        return self.node.name if self.pool is None else f"{self.node.name}+{self.pool.name}"

    @property
    def op(self) -> str:
        """For reports."""
        return self.node.op if self.pool is None else f"{self.node.op}+{self.pool.op}"
