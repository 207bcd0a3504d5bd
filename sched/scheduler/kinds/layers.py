"""Layer by layer: one launch for each, all tensors in DRAM; a convolution may take the maximum pool behind it along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from estimator import MemoryTiming, estimate
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConcat, QConv, QHost, QPool
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser, Policy, Search
from scheduler.errors import PlanError
from scheduler.group import Pools, pool_candidates
from scheduler.map.search import best_mappings
from scheduler.place import place_tensors
from scheduler.plan.bump import Bump
from scheduler.plan.program import HostStep, Part, Placement, Plan, Segment, Step
from scheduler.work.sink import MemorySink
from scheduler.work.task import Copy, Task

__all__ = ["Layers", "PoolFusion"]

FETCH_SLACK = 4096
"""Bytes behind the last program that the fetch units may read ahead."""

Tensors = dict[str, Placement]


class PoolFusion(Enum):
    """Which maximum pools join the convolution in front of them, of those that can."""

    NEVER = "never"
    FASTER = "where one launch is estimated to be faster than two"
    ALWAYS = "always"


@dataclass(frozen=True)
class Layers:
    """The kind of schedule.

    Attributes
    ----------
    pools : PoolFusion
    policy : Policy
        How many mappings are compared.
    search : Search
        Where mappings come from.
    overlap : bool
        Whether the units of a core work at the same time (`scheduler.code.serial`); mappings are the same.
    """

    pools: PoolFusion = PoolFusion.FASTER
    policy: Policy = field(default_factory=Policy)
    search: Search = best_mappings
    overlap: bool = True

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming) -> Plan:
        """As `ScheduleKind.plan`."""
        chooser = Chooser(chip, memory, self.policy, self.search)
        pools = self._pools(graph, chooser)
        tensors, end = place_tensors(graph, chip, pools)
        fused = {pool.name for pool in pools.values()}
        bump = Bump(end)
        segments: list[Segment] = []
        steps: list[Step] = []
        for node in graph.nodes:
            if isinstance(node, QHost):
                steps.append(HostStep(node.name, (node.name,), node))
                continue
            if node.name in fused:
                continue
            pool = pools.get(node.name)
            tasks = list(_tasks(graph, node, tensors, pool))
            if not tasks:  # a concatenation whose inputs already lie in place
                steps[-1] = steps[-1].completing(node.name)
            done = (node,) if pool is None else (node, pool)
            for number, task in enumerate(tasks):
                name = task.name if len(tasks) == 1 else f"{task.name}.{number}"
                nodes = done if number == len(tasks) - 1 else ()
                draft = chooser.choose(task, bump.top)
                macs = sum(node.macs for node in nodes)
                part = Part(tuple(node.name for node in nodes), task.op, draft.described(0), macs)
                draft = draft if self.overlap else draft.serial(chip, bump.top)
                launch, needed = draft.place(name, (part,), bump)
                steps.append(launch)
                segments += needed
        return Plan(chip, graph, tuple(steps), tuple(segments), tensors, bump.top + FETCH_SLACK)

    def _pools(self, graph: QGraph, chooser: Chooser) -> Pools:
        """Pools that join the convolution in front of them."""
        candidates = list(pool_candidates(graph))
        if self.pools is PoolFusion.NEVER or not candidates:
            return {}
        if self.pools is PoolFusion.ALWAYS:
            return {node.name: pool for node, pool in candidates}
        tensors, end = place_tensors(graph, chooser.chip, {})

        def cycles(*tasks: Task) -> float:
            try:
                drafts = (chooser.choose(task, end) for task in tasks)
                return sum(estimate(draft, chooser.chip, chooser.memory).cycles for draft in drafts)
            except PlanError:
                return inf

        return {
            node.name: pool
            for node, pool in candidates
            if cycles(*_tasks(graph, node, tensors, pool))
            < cycles(*_tasks(graph, node, tensors), *_tasks(graph, pool, tensors))
        }


def _tasks(
    graph: QGraph, node: QConv | QPool | QAdd | QConcat, tensors: Tensors, pool: QPool | None = None
) -> Iterator[Task]:
    """Tasks of a node, one after the other."""
    output = tensors[node.output if pool is None else pool.output]
    match node:
        case QConv():
            residual = None if node.residual is None else tensors[node.residual.input]
            yield Task(node=node, inputs=(tensors[node.input],), residual=residual, pool=pool, sink=MemorySink(output))
        case QPool() | QAdd():
            yield Task(node=node, inputs=tuple(tensors[name] for name in node.inputs), sink=MemorySink(output))
        case QConcat():
            channel = 0
            for name in node.inputs:
                if not output.holds(tensors[name]):
                    copy = Copy(node.name, channel)
                    yield Task(node=copy, inputs=(tensors[name],), sink=MemorySink(output))
                channel += graph.tensors[name].shape[0]
