"""The dense twin of a chip with sparse engines: as many multipliers in an array, and the same memories and links.

What a sparse engine gains is told against it: its cycles are the estimator's, of plans that are searched for it alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from golden.int8.qnodes import QConv
from rtl.contract.params import ChipParams, CoreParams
from scheduler.plan.program import HostStep
from scheduler.work.options import SparseOptions
from tb.run.options import RunOptions
from tb.run.preparation import schedule_workload
from tb.run.workload import Workload

__all__ = ["dense_twin", "twin_cycles"]


def dense_twin(chip: ChipParams) -> ChipParams | None:
    """The chip with an array in place of each sparse engine; None of a chip without any."""
    if not any("sparse" in core.engines for core in chip.cores):
        return None
    return replace(chip, cores=tuple(map(_dense, chip.cores)))


def _dense(core: CoreParams) -> CoreParams:
    """A core with as many multipliers in an array as square as that goes, and accumulators of as many bytes."""
    if "sparse" not in core.engines:
        return core
    bits = (core.sparse_lanes * core.sparse_columns).bit_length() - 1
    rows, cols = 1 << (bits + 1) // 2, 1 << bits // 2
    engines = tuple({"array", *core.engines} - {"sparse"})
    return replace(core, rows=rows, cols=cols, acc_entries=core.acc_entries * core.cols // cols, engines=engines)


def twin_cycles(workload: Workload, options: RunOptions) -> dict[str, float]:
    """Estimated cycles on the dense twin of the chip of a run, by the layer with weights that they are spent on.

    A part of a launch, perhaps with a pool, goes to its layer; those of several strips of a layer are added up. Layers
    without weights are left out; nothing of a chip without a twin.
    """
    twin = dense_twin(options.chip)
    if twin is None:
        return {}
    scheduled = schedule_workload(workload, replace(options, chip=twin, sparse=SparseOptions()))
    layers = {node.name for node in scheduled.plan.graph.nodes if isinstance(node, QConv)}
    found: dict[str, float] = defaultdict(float)
    for step, estimate in zip(scheduled.plan.steps, scheduled.estimates, strict=True):
        if isinstance(step, HostStep) or estimate is None:
            continue
        cycles_of = estimate.part_cycles if len(step.parts) > 1 else [estimate.cycles]
        for part, cycles in zip(step.parts, cycles_of, strict=True):
            for name in layers.intersection(part.works_on):
                found[name] += cycles
    return dict(found)
