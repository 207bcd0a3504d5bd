"""The figures of a run's summary, out of its options, plan and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from golden.int8.qgraph import QGraph
from golden.int8.qnodes import QConv, QPool
from rtl.contract.activity import Activity
from rtl.contract.params import ChipParams
from scheduler.plan.program import HostStep, Part, Plan, Step
from tb.model.build import Model
from tb.report.summary import LayerSummary, PartSummary, Summary
from tb.run.ledger import Ledger
from tb.run.options import RunOptions
from tb.run.preparation import Scheduled
from tb.run.workload import Workload, lower_bound_cycles
from tb.sim.job import LaunchResult

__all__ = ["begin_summary", "describe_array", "describe_schedule", "fill_summary"]


def begin_summary(net: str, options: RunOptions, workload: Workload, scheduled: Scheduled, model: Model) -> Summary:
    """The summary of a run as far as it is known before the simulation."""
    chip, settings = options.chip, options.settings
    return Summary(
        net=net,
        cores=chip.n_cores,
        array=describe_array(chip),
        sim=options.sim,
        schedule=describe_schedule(scheduled.plan),
        seed=options.seed,
        pe_count=chip.pes,
        memory={
            "latency_cycles": settings.latency_cycles,
            "bytes_per_cycle": settings.rate(chip.link_bytes),
            "nodes": len(chip.memory_nodes),
        },
        lower_bound_cycles=lower_bound_cycles(workload.graph, chip, settings),
        model=model.made,
        build_s=model.build_s,
        schedule_s=scheduled.schedule_s,
        golden_s=workload.golden_s,
        quantisation_error=asdict(workload.error) if workload.error else None,
        nodes=len(scheduled.plan.graph.nodes),
        input_note=workload.note,
        outputs=[asdict(output) for output in workload.outputs],
        onnxruntime=asdict(workload.judgement) if workload.judgement else None,
    )


def fill_summary(summary: Summary, plan: Plan, ledger: Ledger, estimated_cycles: Sequence[int]) -> None:
    """Enter layers and verdict into a summary whose `failure` is known."""
    for index in sorted(ledger.results):
        result = ledger.results[index]
        if result.ok:
            step, exact = plan.steps[index], ledger.exact[index]
            summary.layers.append(_layer(plan, step, result, exact, estimated_cycles[index], summary.pe_count))
    summary.mismatches = ledger.mismatches
    summary.first_difference = ledger.first_difference()
    summary.bit_exact = summary.failure is None and ledger.good and len(summary.layers) == len(plan.steps)


def describe_schedule(plan: Plan) -> str:
    """How layers and launches go together, in words."""
    parts = sum(len(launch.parts) for launch in plan.launches)
    if parts > len(plan.launches):
        kept = len(plan.graph.tensors) - len(plan.tensors)
        return f"fused: {parts} layers in {len(plan.launches)} launches, {kept} tensors never in DRAM"
    pools = sum(_fuses_pool(plan.graph, part) for launch in plan.launches for part in launch.parts)
    if not pools:
        return "layer by layer"
    return f"layer by layer, max pools fused into {pools} convolution{'s' * (pools > 1)}"


def describe_array(chip: ChipParams) -> str:
    """The shape of the arrays: '16x16', or every distinct one of a mixed chip."""
    return "+".join(dict.fromkeys(f"{core.rows}x{core.cols}" for core in chip.cores))


def _layer(
    plan: Plan, step: Step, result: LaunchResult, exact: bool, estimated_cycles: int, pe_count: int
) -> LayerSummary:
    """The figures of a step, which are those of its parts together."""
    on_host = isinstance(step, HostStep)
    activity = None if on_host else Activity.from_counters(result.cycles, result.counters)
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
        on_host=on_host,
        parts=[PartSummary(part.op, part.macs, part.mapping) for part in step.parts],
    )


def _fuses_pool(graph: QGraph, part: Part) -> bool:
    """Whether a part computes a maximum pool in the drain of its convolution."""
    nodes = [node for node in graph.nodes if node.name in part.nodes]
    pools = any(isinstance(node, QPool) and node.op == "maxpool" for node in nodes)
    return pools and any(isinstance(node, QConv) for node in nodes)


def _moved_by_host(plan: Plan, step: Step) -> int:
    """Bytes that the host reads and writes in a step."""
    if not isinstance(step, HostStep):
        return 0
    return sum(plan.tensors[name].nbytes for name in (*step.node.inputs, step.node.output))
