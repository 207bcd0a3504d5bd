"""Apart: a launch for each operator and all tensors in DRAM, sums and maximum pools too; the baseline of all fusion."""

from __future__ import annotations

from dataclasses import dataclass, field

from estimator import MemoryTiming
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv
from rtl.contract.params import ChipParams
from scheduler.choose import Policy
from scheduler.errors import PlanError
from scheduler.kinds.layers import Layers, PoolFusion
from scheduler.plan.program import Plan
from scheduler.work.options import SparseOptions

__all__ = ["Apart"]


@dataclass(frozen=True)
class Apart:
    """The kind of schedule, for graphs whose sums are nodes of their own.

    Attributes
    ----------
    policy : Policy
        How many mappings are compared.
    overlap : bool
        Whether the units of a core work at the same time (`scheduler.code.serial`).
    sparse : SparseOptions
        For sparse engines.
    """

    policy: Policy = field(default_factory=Policy)
    overlap: bool = True
    sparse: SparseOptions = field(default_factory=SparseOptions)

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; a PlanError too for a sum that is part of a convolution."""
        for node in graph.nodes:
            if isinstance(node, QConv) and node.residual is not None:
                raise PlanError(
                    f"node {node.name!r} adds {node.residual.input!r} to its sums, and apart takes one operator a "
                    "launch; quantise with fold_sums=False, or take SCHEDULE=layers"
                )
        layers = Layers(PoolFusion.NEVER, self.policy, overlap=self.overlap, sparse=self.sparse)
        return layers.plan(graph, chip, memory, batch)
