"""The figures of a run's summary, out of its options, plan and results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from estimator import Estimate, Provenance
from estimator.energy import Prices
from golden.int8.batch import of_picture, plain
from golden.int8.density import densities
from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv, QPool
from rtl.contract.activity import Activity
from rtl.contract.marks import Interval, intervals_of
from rtl.contract.params import ChipParams, CoreParams, chip_table
from scheduler.plan.program import HostStep, Launch, Part, Plan, Step
from scheduler.plan.repeated import repeated_macs
from scheduler.plan.traffic import part_bytes
from tb.model.build import Model
from tb.model.hardware import hardware_fingerprint
from tb.report.mesh import LaunchLoad, Mesh
from tb.report.summary import LayerSummary, PartSummary, Summary
from tb.run.bound import lower_bound_cycles
from tb.run.data_events import told_events
from tb.run.energies import energies_of, prices_of
from tb.run.ledger import Ledger
from tb.run.loads import launch_load, mesh_of
from tb.run.options import RunOptions
from tb.run.preparation import Scheduled
from tb.run.sparsity import sparse_figures
from tb.run.twin import twin_cycles
from tb.run.workload import HostEnd, Workload
from tb.sim.job import LaunchResult

__all__ = [
    "asked_facts", "begin_summary", "describe_array", "describe_schedule", "estimated_summary", "fill_summary",
]  # fmt: skip


def begin_summary(
    net: str, options: RunOptions, workload: Workload, scheduled: Scheduled, model: Model | None
) -> Summary:
    """The summary of a run as far as it is known before the simulation, or without one."""
    chip, settings = options.chip, options.settings
    return Summary(
        **asked_facts(options, scheduled.plan.batch),
        net=net,
        cores=chip.n_cores,
        array=describe_array(chip),
        schedule=_described(scheduled.plan, options),
        seed=options.seed,
        pe_count=chip.multipliers,
        lower_bound_cycles=lower_bound_cycles(scheduled.plan, settings),
        model=model.made if model else "",
        build_s=model.build_s if model else 0.0,
        schedule_s=scheduled.schedule_s,
        golden_s=workload.golden_s,
        quantisation_error=asdict(workload.error) if workload.error else None,
        nodes=len(scheduled.plan.graph.nodes),
        repeated_macs=repeated_macs(scheduled.plan),
        input_note=workload.note,
        outputs=[asdict(output) for output in workload.outputs],
        share=asdict(workload.share) if workload.share else None,
        ends=[_end(end, scheduled.plan) for end in workload.ends],
        onnxruntime=asdict(workload.judgement) if workload.judgement else None,
        pruning=workload.pruning.note if workload.pruning else "",
        densities=_densities(workload),
        predicted_by=scheduled.predicted_by,
        calibration_note=_calibration_note(),
    )


def _densities(workload: Workload) -> dict[str, dict[str, float]]:
    """Of every layer with weights: what they are, and what a pruning asked for."""
    found = {}
    for name, density in densities(workload.graph, workload.expected, len(workload.images)).items():
        found[name] = asdict(density)
        for what, asked in workload.pruning.asked(name).items() if workload.pruning else ():
            found[name][f"asked_{what}"] = asked
    return found


def asked_facts(options: RunOptions, batch: int) -> dict[str, Any]:
    """What a run was asked for, under the names of the summary: known before anything is computed."""
    chip, settings = options.chip, options.settings
    memory = {
        "latency_cycles": settings.latency_cycles,
        "bytes_per_cycle": settings.rate(chip.link_bytes),
        "nodes": len(chip.memory_nodes),
    }
    return {
        "name": options.name, "kind": options.described, "chip": chip_table(chip), "memory": memory,
        "sim": options.sim, "batch": batch,
    }  # fmt: skip


def _calibration_note() -> str:
    """What speaks against the estimator's coefficients, if anything does."""
    measured = Provenance.load().hardware
    if not measured:
        return "the estimator's coefficients were never fitted to the RTL; make calibrate KERNELS=full does that"
    if measured != hardware_fingerprint():
        return (
            f"the estimator was calibrated on another RTL ({measured}, now {hardware_fingerprint()}): make calibrate "
            "KERNELS=full fits it anew"
        )
    return ""


def estimated_summary(net: str, options: RunOptions, workload: Workload, scheduled: Scheduled) -> Summary:
    """The summary of a run that is not simulated: cycles of its layers are estimates alone."""
    summary = begin_summary(net, options, workload, scheduled, None)
    prices = prices_of(options.chip, options.energy)
    summary.energy_units = {each.name: each.unit for each in prices}
    twin = twin_cycles(workload, options)
    steps = zip(scheduled.plan.steps, scheduled.estimates, scheduled.intervals, strict=True)
    for index, (step, estimate, interval) in enumerate(steps):
        cycles, moved = (round(estimate.cycles), estimate.dram_bytes) if estimate else (0, {})
        computed = estimate.compute if estimate else {}
        done = LayerSummary(
            step.name, step.op, 0, cycles, step.macs, 0.0, moved, False, 0.0, computed, mapping=step.mapping,
            host_bytes=_moved_by_host(scheduled.plan, step), on_host=isinstance(step, HostStep),
            estimated_interval=interval, parts=_estimated_parts(scheduled.plan, step, estimate),
        )  # fmt: skip
        if not isinstance(step, HostStep):
            events = told_events(scheduled.plan, index, workload.expected)
            energy, _ = energies_of(events, prices, cycles)
            sparse, of_parts = sparse_figures(scheduled.plan, step, events, twin)
            parts = [replace(part, sparse=some) for part, some in zip(done.parts, of_parts, strict=False)]
            done = replace(done, energy=energy, sparse=sparse, parts=parts)
        summary.layers.append(done)
    return summary


def fill_summary(
    summary: Summary,
    plan: Plan,
    ledger: Ledger,
    estimated_cycles: Sequence[int],
    estimated_parts: Sequence[Sequence[float]] = (),
    prices: Sequence[Prices] = (),
    intervals: Sequence[tuple[float, float] | None] = (),
    twin: Mapping[str, float] | None = None,
) -> Mesh:
    """Enter layers and verdict into a summary whose `failure` is known; what the mesh did, layer by layer.

    Parameters
    ----------
    estimated_cycles : sequence of int
        Of each step.
    estimated_parts : sequence of sequence of float
        Of each step, cycles of its parts, as far as they are estimated apart.
    prices : sequence of Prices
        By which energies are told.
    intervals : sequence of (float, float) or None
        Of each step, cycles between which it is expected to lie.
    twin : dict of str to float
        Cycles of each layer on the dense twin of a sparse chip.
    """
    chip = plan.chip
    summary.energy_units = {each.name: each.unit for each in prices}
    loads: list[LaunchLoad | None] = []
    for index in sorted(ledger.results):
        result = ledger.results[index]
        if not result.ok:
            continue
        step, exact, load = plan.steps[index], ledger.exact[index], None
        activity = None if isinstance(step, HostStep) else Activity.from_counters(result.cycles, result.counters)
        layer = _layer(plan, step, result, activity, exact, estimated_cycles[index], summary.pe_count)
        marked = _marked(step, result, activity)
        parts = _parts(plan, step, activity, marked, estimated_parts[index] if estimated_parts else ())
        if not isinstance(step, HostStep):
            events = ledger.events[index]
            energy, apart = energies_of(events, prices, result.cycles, [part.cycles or 0 for part in parts])
            sparse, of_parts = sparse_figures(plan, step, events, twin or {}, result.counters, result.cycles)
            layer = replace(layer, energy=energy, sparse=sparse)
            parts = [
                replace(part, energy=some, sparse=of_part)
                for part, some, of_part in zip(parts, apart, of_parts, strict=True)
            ]
            load = launch_load(chip, result, events, marked)
        interval = intervals[index] if intervals else None
        summary.layers.append(replace(layer, parts=parts, estimated_interval=interval))
        loads.append(load)
    summary.mismatches = ledger.mismatches
    summary.first_difference = ledger.first_difference()
    if (failed := ledger.first_failed) is not None:
        summary.failed_launch, summary.failed_cycle = plan.steps[failed].name, ledger.failed_cycle(failed)
    summary.bit_exact = summary.failure is None and ledger.good and len(summary.layers) == len(plan.steps)
    return mesh_of(chip, loads)


def describe_schedule(plan: Plan) -> str:
    """How layers and launches go together, in words."""
    parts = [part for launch in plan.launches for part in launch.parts]
    batch = _pictures(plan)
    if len(parts) > len(plan.launches):
        kept = (len(plan.graph.tensors) - len(plan.tensors)) // plan.batch
        launches = f"{len(plan.launches)} launch{'es' * (len(plan.launches) > 1)}"
        layers = len({tuple(map(plain, part.nodes)) for part in parts if part.nodes}) if plan.batch > 1 else len(parts)
        return f"{batch}fused: {layers} layers in {launches}, {kept} tensors never in DRAM"
    pools = len({tuple(map(plain, part.nodes[:1])) for part in parts if _fuses_pool(plan.graph, part)})
    if not pools:
        return f"{batch}layer by layer"
    return f"{batch}layer by layer, max pools fused into {pools} convolution{'s' * (pools > 1)}"


def _described(plan: Plan, options: RunOptions) -> str:
    """The schedule of a run, in words."""
    kind = f"{_pictures(plan)}operator by operator" if options.schedule == "apart" else describe_schedule(plan)
    kind = kind if options.overlap else f"{kind}; load, compute and store one after the other"
    return "; ".join([kind, *options.sparse.words])


def _pictures(plan: Plan) -> str:
    """How many, of a batch."""
    return f"{plan.batch} pictures, " if plan.batch > 1 else ""


def describe_array(chip: ChipParams) -> str:
    """The shape of the arrays: '16x16', or every distinct one of a mixed chip; of sparse engines their PEs."""
    return "+".join(dict.fromkeys(map(_array, chip.cores)))


def _array(core: CoreParams) -> str:
    shape, sparse = f"{core.rows}x{core.cols}", f"sparse {core.sparse_lanes}x{core.sparse_columns}"
    if "sparse" not in core.engines:
        return shape
    return f"{shape} & {sparse}" if "array" in core.engines else sparse


def _layer(
    plan: Plan,
    step: Step,
    result: LaunchResult,
    activity: Activity | None,
    exact: bool,
    estimated_cycles: int,
    pe_count: int,
) -> LayerSummary:
    """The figures of a step, which are those of its parts together."""
    return LayerSummary(
        name=step.name,
        op=step.op,
        cycles=result.cycles,
        estimated_cycles=estimated_cycles,
        macs=step.macs,
        utilization=step.macs / (pe_count * result.cycles) if result.cycles else 0.0,
        dram_bytes=activity.dram_bytes if activity else {},
        host_bytes=_moved_by_host(plan, step),
        bit_exact=exact,
        sim_s=result.sim_s,
        compute_cycles=activity.compute_cycles if activity else {},
        mapping=step.mapping,
        on_host=isinstance(step, HostStep),
    )


def _marked(step: Step, result: LaunchResult, activity: Activity | None) -> Sequence[Interval]:
    """What the marks of all cores say of each part; nothing of one part alone, or where there are not marks for all."""
    if activity is None or len(step.parts) == 1 or not any(result.marks):
        return ()
    marked = intervals_of(activity, result.core_marks)
    return marked if len(marked) == len(step.parts) else ()


def _parts(
    plan: Plan, step: Step, activity: Activity | None, marked: Sequence[Interval], estimated: Sequence[float]
) -> list[PartSummary]:
    """What is known of each part: with the marks of all cores, where its cycles went."""
    parts = [PartSummary(part.name, part.op, part.macs, part.mapping) for part in step.parts]
    if isinstance(step, HostStep) or activity is None or len(parts) == 1:
        return parts
    bytes_of = _part_bytes(plan, step, activity.dram_bytes)
    parts = [replace(part, dram_bytes=some) for part, some in zip(parts, bytes_of, strict=True)]
    if not marked:
        return parts
    cycles = estimated or [0.0] * len(parts)
    return [
        replace(part, cycles=round(mark.cycles), estimated_cycles=round(count), compute_cycles=mark.compute_cycles)
        for part, mark, count in zip(parts, marked, cycles, strict=True)
    ]


def _part_bytes(plan: Plan, step: Launch, whole: Mapping[str, int]) -> list[dict[str, int]]:
    """DRAM bytes of each part by traffic class; they add up to those of the whole launch."""
    bytes_of = [part_bytes(step, number, plan.chip.link_bytes) for number in range(len(step.parts))]
    for traffic, count in whole.items():  # what fetch units read ahead goes to the last
        bytes_of[-1][traffic] += count - sum(some[traffic] for some in bytes_of)
    return bytes_of


def _estimated_parts(plan: Plan, step: Step, estimate: Estimate | None) -> list[PartSummary]:
    """What is expected of each part, as far as they are estimated apart."""
    if isinstance(step, HostStep) or estimate is None or len(estimate.part_cycles) != len(step.parts):
        return []
    bytes_of = _part_bytes(plan, step, estimate.dram_bytes)
    return [
        PartSummary(part.name, part.op, part.macs, part.mapping, None, round(cycles), moved)
        for part, cycles, moved in zip(step.parts, estimate.part_cycles, bytes_of, strict=True)
    ]


def _fuses_pool(graph: QGraph, part: Part) -> bool:
    """Whether a part computes a maximum pool in the drain of its convolution."""
    nodes = [node for node in graph.nodes if node.name in part.nodes]
    pools = any(isinstance(node, QPool) and node.op == "maxpool" for node in nodes)
    return pools and any(isinstance(node, QConv) for node in nodes)


def _end(end: HostEnd, plan: Plan) -> dict[str, object]:
    """The operators and bytes of what the host does at one end."""
    shapes = (plan.graph.tensors[of_picture(name, 1, plan.batch)].shape for name in end.tensors)
    return {"kinds": end.kinds, "bytes": plan.batch * sum(map(math.prod, shapes))}


def _moved_by_host(plan: Plan, step: Step) -> int:
    """Bytes that the host reads and writes in a step."""
    if not isinstance(step, HostStep):
        return 0
    return sum(plan.tensors[name].nbytes for name in (*step.node.inputs, step.node.output))
