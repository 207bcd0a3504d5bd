"""From a quantised graph and a chip to a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from golden.quant import QAdd, QConcat, QConv, QGraph, QPool
from estimator.coefficients import Coefficients
from rtl.isa import Opcode, Unit, encode
from rtl.params import ChipParams, CoreParams
from scheduler.emit import emit
from scheduler.errors import PlanError
from scheduler.image import build_constants
from scheduler.lower import lower_add, lower_conv, lower_copy, lower_pool
from scheduler.mapping import Mapping
from scheduler.memory import Bump, place_tensors
from scheduler.program import Launch, Placement, Plan, Segment
from scheduler.search import best_mappings, predict
from scheduler.work import Work

__all__ = ["schedule"]

FETCH_SLACK = 4096
"""Bytes behind the last program that the fetch units may read ahead."""

QNode = QConv | QPool | QAdd | QConcat
Job = Callable[[CoreParams], Work]


def schedule(graph: QGraph, chip: ChipParams) -> Plan:
    """Split, tile, place and program every layer.

    Raises
    ------
    PlanError
        If a layer fits in no way; names it, what is too big, and the parameter to raise.
    """
    placements, end = place_tensors(graph, chip)
    bump = Bump(end)
    segments: list[Segment] = []
    launches: list[Launch] = []
    for node in graph.nodes:
        jobs = _jobs(graph, node, placements)
        if not jobs:  # a concatenation whose inputs already lie in place
            launches[-1] = replace(launches[-1], nodes=(*launches[-1].nodes, node.name))
        for number, job in enumerate(jobs):
            name = node.name if len(jobs) == 1 else f"{node.name}.{number}"
            nodes = (node.name,) if number == len(jobs) - 1 else ()
            launches.append(_launch(name, nodes, _choose(job, chip), chip, bump, segments))
    return Plan(chip, graph, tuple(launches), tuple(segments), placements, bump.top + FETCH_SLACK)


def _jobs(graph: QGraph, node: QNode, placements: dict[str, Placement]) -> list[Job]:
    """Launches of a node, each as a function from the kind of core to its work."""
    output = placements[node.output]
    match node:
        case QConv():
            return [lambda core: lower_conv(node, core, placements[node.input], output)]
        case QPool():
            return [lambda core: lower_pool(node, core, placements[node.input], output)]
        case QAdd():
            a, b = (placements[name] for name in node.inputs)
            return [lambda core: lower_add(node, core, (a, b), output)]
    jobs: list[Job] = []
    channel = 0
    for name in node.inputs:
        source = placements[name]
        if not output.addr <= source.addr < output.end:
            jobs.append(lambda core, c=channel, s=source: lower_copy(node.name, core, s, output, c))
        channel += graph.tensors[name].shape[0]
    return jobs


def _choose(job: Job, chip: ChipParams) -> Mapping:
    """Best mapping over the kinds of cores; a launch uses one kind."""
    kinds: dict[CoreParams, list[int]] = {}
    for index, core in enumerate(chip.cores):
        kinds.setdefault(core, []).append(index)
    found: list[Mapping] = []
    errors: list[PlanError] = []
    for core, indices in kinds.items():
        try:
            found += best_mappings(job(core), tuple(indices), chip)
        except PlanError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return min(found, key=lambda mapping: predict(mapping, chip, Coefficients.load()))


def _launch(
    name: str, nodes: tuple[str, ...], mapping: Mapping, chip: ChipParams, bump: Bump, segments: list[Segment]
) -> Launch:
    """Pack constants, emit streams, and place both."""
    constants = build_constants(mapping)
    weights_addr, params_addr = bump.take(constants.weights.size), bump.take(constants.params.size)
    streams = {(core, unit): [encode(Opcode.END)] for core in range(chip.n_cores) for unit in Unit}
    streams |= emit(mapping, chip, constants, weights_addr, params_addr)
    stride = Launch.stride_for(streams)
    base = bump.take(3 * chip.n_cores * stride)
    launch = Launch(name, nodes, mapping.work.op, streams, base, stride, mapping.describe())
    if constants.weights.size:
        segments.append(Segment(weights_addr, constants.weights, f"{name} weights"))
    segments.append(Segment(params_addr, constants.params, f"{name} parameters"))
    program = np.zeros(3 * chip.n_cores * stride, np.uint8)
    for core, unit in streams:
        addr, data = launch.program(core, unit)
        program[addr - base : addr - base + data.size] = data
    segments.append(Segment(base, program, f"{name} program"))
    return launch
