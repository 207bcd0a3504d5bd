"""Layer by layer: one launch for each, all tensors in DRAM; a convolution may take the maximum pool behind it along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf

from estimator import MemoryTiming, estimate
from golden.int8.batch import batched
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QAdd, QConcat, QConv, QGate, QHost, QMove, QPool
from rtl.contract.params import ChipParams
from scheduler.choose import Chooser, Policy, Search
from scheduler.code.draft import Draft
from scheduler.errors import PlanError
from scheduler.group import Pools, pool_candidates
from scheduler.map.search import best_mappings
from scheduler.place import place_tensors
from scheduler.plan.bump import Bump
from scheduler.plan.program import FETCH_SLACK, Launch, Part, Placement, Plan, Segment, Step
from scheduler.rounds import host_steps, name_of, nodes_of, pictures_at_once, require_batch, rounds, tensors_of
from scheduler.work.options import SparseOptions
from scheduler.work.sink import MemorySink
from scheduler.work.task import Task, copies_of

__all__ = ["Layers", "PoolFusion"]

Tensors = dict[str, Placement]
Layer = QConv | QPool | QAdd | QGate | QConcat | QMove


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
    sparse : SparseOptions
        For sparse engines.
    """

    pools: PoolFusion = PoolFusion.FASTER
    policy: Policy = field(default_factory=Policy)
    search: Search = best_mappings
    overlap: bool = True
    sparse: SparseOptions = field(default_factory=SparseOptions)

    def plan(self, graph: QGraph, chip: ChipParams, memory: MemoryTiming, batch: int = 1) -> Plan:
        """As `ScheduleKind.plan`; of a batch, each layer in as many pictures at once as the estimator finds fastest."""
        require_batch(batch)
        layers = _Batch(graph, Chooser(chip, memory, self.policy, self.search), batch, self.overlap, self.sparse)
        pools = self._pools(layers)
        tensors, end = place_tensors(graph, chip, pools, batch=batch)
        whole = batched(graph, batch)
        fused = {pool.name for pool in pools.values()}
        bump = Bump(end)
        segments: list[Segment] = []
        steps: list[Step] = []
        for node in graph.nodes:
            if isinstance(node, QHost):
                steps += host_steps(node, (node,), whole)
                continue
            if node.name in fused:
                continue
            pool = pools.get(node.name)
            tasks = layers.tasks(node, tensors, pool)
            if not tasks:  # a concatenation whose inputs already lie in place
                steps[-1] = steps[-1].completing(*nodes_of((node,), range(1, batch + 1), batch))
            for launch, needed in layers.launches((node,) if pool is None else (node, pool), tasks, bump):
                steps.append(launch)
                segments += needed
        lie = tensors_of(tensors, batch)
        return Plan(chip, whole, tuple(steps), tuple(segments), lie, bump.top + FETCH_SLACK)

    def _pools(self, layers: _Batch) -> Pools:
        """Pools that join the convolution in front of them."""
        graph, chooser = layers.graph, layers.chooser
        candidates = list(pool_candidates(graph))
        if self.pools is PoolFusion.NEVER or not candidates:
            return {}
        if self.pools is PoolFusion.ALWAYS:
            return {node.name: pool for node, pool in candidates}
        tensors, _ = place_tensors(graph, chooser.chip, {}, batch=layers.batch)
        return {
            node.name: pool
            for node, pool in candidates
            if layers.cycles(node, tensors, pool) < layers.cycles(node, tensors) + layers.cycles(pool, tensors)
        }


@dataclass(frozen=True, eq=False)
class _Batch:
    """The layers of a network for so many pictures, each with as many at once as is fastest by the estimator."""

    graph: QGraph
    chooser: Chooser
    batch: int
    overlap: bool
    sparse: SparseOptions

    def tasks(self, node: Layer, tensors: Tensors, pool: QPool | None = None) -> list[Task]:
        """Tasks of a node, one after the other, for the pictures of a round.

        Raises
        ------
        PlanError
            If one fits in no way, not even for a single picture.
        """
        counts = pictures_at_once(self.batch, self.chooser.chip)
        options = [
            [replace(task, sparse=self.sparse) for task in _tasks(self.graph, node, _first(tensors, count), pool)]
            for count in counts
        ]
        if len(options) == 1 or not options[0]:
            return options[0]
        return min(options, key=self._cycles)

    def launches(
        self, done: Sequence[Layer], tasks: Sequence[Task], bump: Bump
    ) -> Iterator[tuple[Launch, list[Segment]]]:
        """Launches of tasks that complete these nodes, round by round; later rounds use the constants of the first."""
        chip, batch, drafts = self.chooser.chip, self.batch, dict[int, Draft]()
        for pictures in rounds(batch, tasks[0].sink.pictures) if tasks else ():
            for number, task in enumerate(tasks):
                if number in drafts:
                    draft = drafts[number].moved(pictures.start - 1, chip, bump.top)
                else:
                    draft = drafts[number] = self.chooser.choose(task, bump.top)
                name = task.name if len(tasks) == 1 else f"{task.name}.{number}"
                nodes = done if number == len(tasks) - 1 else ()
                macs = sum(node.macs for node in nodes) * len(pictures)
                part = Part(nodes_of(nodes, pictures, batch), task.op, draft.described(0), macs)
                draft = draft if self.overlap else draft.serial(chip, bump.top)
                yield draft.place(name_of(name, pictures, batch), (part,), bump)

    def cycles(self, node: Layer, tensors: Tensors, pool: QPool | None = None) -> float:
        """Estimated, of all rounds; infinite for what fits in no way."""
        return self._cycles(self.tasks(node, tensors, pool))

    def _cycles(self, tasks: Sequence[Task]) -> float:
        chip, memory = self.chooser.chip, self.chooser.memory
        try:
            drafts = (self.chooser.choose(task, 0) for task in tasks)
            once = sum(estimate(draft, chip, memory).cycles for draft in drafts)
        except PlanError:
            return inf
        return once * self.batch / tasks[0].sink.pictures if tasks else 0.0


def _first(tensors: Tensors, pictures: int) -> Tensors:
    """The first so many pictures of every tensor."""
    return {name: placement.some(pictures) for name, placement in tensors.items()}


def _tasks(graph: QGraph, node: Layer, tensors: Tensors, pool: QPool | None = None) -> Iterator[Task]:
    """Tasks of a node, one after the other."""
    output = tensors[node.output if pool is None else pool.output]
    match node:
        case QConv():
            residual = None if node.residual is None else tensors[node.residual.input]
            yield Task(node=node, inputs=(tensors[node.input],), residual=residual, pool=pool, sink=MemorySink(output))
        case QPool() | QAdd() | QGate():
            yield Task(node=node, inputs=tuple(tensors[name] for name in node.inputs), sink=MemorySink(output))
        case QConcat() | QMove():
            for copy, name in copies_of(node, graph.tensors):
                if not output.holds(tensors[name]):
                    yield Task(node=copy, inputs=(tensors[name],), sink=MemorySink(output))
