"""From a quantised graph and a chip to a plan."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from estimator import Coefficients, MemoryTiming, estimate, fastest
from golden.int8.quant import QAdd, QConcat, QConv, QGraph, QHost, QPool
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams, CoreParams
from scheduler.code.emit import Streams, emit
from scheduler.code.image import build_params, build_weights, residual_offsets
from scheduler.errors import PlanError
from scheduler.group import Pools, pool_candidates
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings, predict
from scheduler.map.split import split_channels, split_rows
from scheduler.place import Bump, place_tensors
from scheduler.plan.program import HostStep, Launch, Placement, Plan, Segment, Step
from scheduler.work.lower import lower_add, lower_conv, lower_copy, lower_pool, lower_pooled_conv
from scheduler.work.work import Work

__all__ = ["schedule"]

FETCH_SLACK = 4096
"""Bytes behind the last program that the fetch units may read ahead."""

CANDIDATES = 3
"""Mappings of a layer that the estimator compares."""
FEW_INSTRUCTIONS, MORE_CANDIDATES = 1500, 6
"""Short launches are estimated quickly and lose more by a wrong choice; so do those that wait for a slow memory."""
POOLED_CANDIDATES, POOLED_PER_SPLIT = 100, 4
"""With a fused pool, tiles of many shapes promise nearly the same: the first few of every split are compared."""
POOLED_INSTRUCTIONS = 12_000
"""Of all of these together."""
MANY_INSTRUCTIONS = 6000
"""Of a launch; with more, the closed form decides alone."""

QNode = QConv | QPool | QAdd | QConcat
Job = Callable[[CoreParams], Work]
Known = dict[Hashable, Mapping]
"""Mappings found, by kind of work: networks repeat their layers."""


def schedule(graph: QGraph, chip: ChipParams, memory: MemoryTiming | None = None, *, fuse: bool = True) -> Plan:
    """Split, tile, place and program every layer, for the shortest time with such a memory; cut at nodes of the host.

    With `fuse`, a convolution computes the maximum pool behind it in the same launch, where that is faster.

    Raises
    ------
    PlanError
        If a layer fits in no way; names it, what is too big, and the parameter to raise.
    """
    memory = memory or MemoryTiming()
    known: Known = {}
    pools = _choose_pools(graph, chip, memory, known) if fuse else {}
    placements, end = place_tensors(graph, chip, pools)
    bump = Bump(end)
    segments: list[Segment] = []
    steps: list[Step] = []
    fused = {pool.name for pool in pools.values()}
    for node in graph.nodes:
        if isinstance(node, QHost):
            steps.append(HostStep(node.name, (node.name,), node))
            continue
        if node.name in fused:
            continue
        if isinstance(node, QConv) and node.name in pools:
            pool = pools[node.name]
            draft = _choose(_pooled_job(node, pool, placements), chip, bump.top, memory, known)
            steps.append(_place(draft.name, (node.name, pool.name), draft, chip, bump, segments))
            continue
        jobs = _jobs(graph, node, placements)
        if not jobs:  # a concatenation whose inputs already lie in place
            steps[-1] = replace(steps[-1], nodes=(*steps[-1].nodes, node.name))
        for number, job in enumerate(jobs):
            name = node.name if len(jobs) == 1 else f"{node.name}.{number}"
            nodes = (node.name,) if number == len(jobs) - 1 else ()
            draft = _choose(job, chip, bump.top, memory, known)
            steps.append(_place(name, nodes, draft, chip, bump, segments))
    return Plan(chip, graph, tuple(steps), tuple(segments), placements, bump.top + FETCH_SLACK)


def _choose_pools(graph: QGraph, chip: ChipParams, memory: MemoryTiming, known: Known) -> Pools:
    """Pools whose launch together with the convolution is predicted to take less than two launches."""
    placements, end = place_tensors(graph, chip, {})

    def cycles(*jobs: Job) -> float:
        try:
            return sum(estimate(_choose(job, chip, end, memory, known), chip, memory).cycles for job in jobs)
        except PlanError:
            return inf

    return {
        node.name: pool
        for node, pool in pool_candidates(graph)
        if cycles(_pooled_job(node, pool, placements))
        < cycles(*_jobs(graph, node, placements), *_jobs(graph, pool, placements))
    }


def _pooled_job(node: QConv, pool: QPool, placements: dict[str, Placement]) -> Job:
    return lambda core: lower_pooled_conv(node, pool, core, placements[node.input], placements[pool.output])


def _jobs(graph: QGraph, node: QNode, placements: dict[str, Placement]) -> list[Job]:
    """Launches of a node, each as a function from the kind of core to its work."""
    output = placements[node.output]
    match node:
        case QConv():
            residual = placements[node.residual.input] if node.residual is not None else None
            return [lambda core: lower_conv(node, core, placements[node.input], output, residual)]
        case QPool():
            return [lambda core: lower_pool(node, core, placements[node.input], output)]
        case QAdd():
            a, b = (placements[name] for name in node.inputs)
            return [lambda core: lower_add(node, core, (a, b), output)]
    jobs: list[Job] = []
    channel = 0
    for name in node.inputs:
        source = placements[name]
        if not output.holds(source):
            jobs.append(lambda core, c=channel, s=source: lower_copy(node.name, core, s, output, c))
        channel += graph.tensors[name].shape[0]
    return jobs


@dataclass(frozen=True, eq=False)
class _Draft:
    """Mappings of one launch, each on cores of its own, with the streams for constants from a certain address on."""

    mappings: tuple[Mapping, ...]
    streams: Streams

    @property
    def name(self) -> str:
        return self.mappings[0].work.name

    @property
    def instructions(self) -> int:
        return sum(map(len, self.streams.values()))


def _choose(job: Job, chip: ChipParams, top: int, memory: MemoryTiming, known: Known) -> _Draft:
    """The best draft; on a chip of equal cores, that of an earlier work of the same kind."""
    kinds: dict[CoreParams, list[int]] = {}
    for index, core in enumerate(chip.cores):
        kinds.setdefault(core, []).append(index)
    if len(kinds) > 1:
        return _compare(job, kinds, chip, top, memory)
    work = job(chip.cores[0])
    if work.kind in known:
        return _draft((known[work.kind].of(work),), chip, top)
    draft = _compare(job, kinds, chip, top, memory)
    known[work.kind] = draft.mappings[0]
    return draft


def _compare(job: Job, kinds: dict[CoreParams, list[int]], chip: ChipParams, top: int, memory: MemoryTiming) -> _Draft:
    """The closed form's best mappings, compared by the estimator; equal cores alone, or all kinds of cores together."""
    coefficients = Coefficients.load()
    found: list[tuple[float, tuple[Mapping, ...]]] = []
    errors: list[PlanError] = []
    speeds: dict[CoreParams, float] = {}
    for core, indices in kinds.items():
        try:
            work = job(core)
            count = MORE_CANDIDATES if work.pool is None else POOLED_CANDIDATES
            mappings = best_mappings(work, tuple(indices), chip, memory, count)
            if work.pool is not None:
                mappings = _of_every_split(mappings)
        except PlanError as error:
            errors.append(error)
            continue
        found += [(predict(mapping, chip, memory, coefficients), (mapping,)) for mapping in mappings]
        speeds[core] = 1 / found[-len(mappings)][0]
    if not found:
        raise errors[0]
    found.sort(key=lambda item: item[0])
    drafts = [_draft(found[0][1], chip, top)]
    if drafts[0].instructions > MANY_INSTRUCTIONS:
        return drafts[0]
    drafts += [_draft(mappings, chip, top) for _, mappings in found[1:CANDIDATES]]
    if found[0][1][0].work.pool is not None:
        for _, mappings in found[CANDIDATES:]:
            if sum(draft.instructions for draft in drafts) > POOLED_INSTRUCTIONS:
                break
            drafts.append(_draft(mappings, chip, top))
    elif drafts[0].instructions <= FEW_INSTRUCTIONS or memory.one_way(chip.link_bytes) < chip.link_bytes:
        drafts += [_draft(mappings, chip, top) for _, mappings in found[CANDIDATES:MORE_CANDIDATES]]
    if len(speeds) > 1:
        works = {core: job(core) for core in speeds}
        for parts in (split_rows(works, speeds), split_channels(works, speeds)):
            try:
                mappings = [best_mappings(part, tuple(kinds[core]), chip, memory)[0] for core, part in parts.items()]
            except PlanError:
                continue
            if len(mappings) > 1:
                drafts.append(_draft(tuple(mappings), chip, top))
    return drafts[fastest(drafts, chip, memory, coefficients)] if len(drafts) > 1 else drafts[0]


def _of_every_split(mappings: list[Mapping]) -> list[Mapping]:
    """The first few mappings of every split over the cores."""
    splits: dict[int, list[Mapping]] = {}
    for mapping in mappings:
        splits.setdefault(mapping.g_oc, []).append(mapping)
    chosen = {id(mapping) for group in splits.values() for mapping in group[:POOLED_PER_SPLIT]}
    return [mapping for mapping in mappings if id(mapping) in chosen]


def _draft(mappings: tuple[Mapping, ...], chip: ChipParams, top: int) -> _Draft:
    bump = Bump(top)
    streams = {(core, unit): [encode(Opcode.END)] for core in range(chip.n_cores) for unit in Unit}
    for mapping in mappings:
        weights_addr = bump.take(residual_offsets(mapping)[-1])
        params_addr = bump.take(build_params(mapping).size)
        streams |= emit(mapping, chip, weights_addr, params_addr)
    return _Draft(mappings, streams)


def _place(
    name: str, nodes: tuple[str, ...], draft: _Draft, chip: ChipParams, bump: Bump, segments: list[Segment]
) -> Launch:
    """Put constants and streams of a draft into DRAM."""
    for mapping in draft.mappings:  # in the order of _draft, so at the addresses in its streams
        weights, params = build_weights(mapping), build_params(mapping)
        weights_addr, params_addr = bump.take(weights.size), bump.take(params.size)
        if weights.size:
            segments.append(Segment(weights_addr, weights, f"{name} weights"))
        segments.append(Segment(params_addr, params, f"{name} parameters"))
    stride = Launch.stride_for(draft.streams)
    base = bump.take(3 * chip.n_cores * stride)
    described = "; ".join(mapping.describe() for mapping in draft.mappings)
    launch = Launch(name, nodes, draft.mappings[0].work.op, draft.streams, base, stride, described)
    program = np.zeros(3 * chip.n_cores * stride, np.uint8)
    for core, unit in draft.streams:
        addr, data = launch.program(core, unit)
        program[addr - base : addr - base + data.size] = data
    segments.append(Segment(base, program, f"{name} program"))
    return launch
