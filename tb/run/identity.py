"""The fingerprint of a run: finished launches are kept as long as it stays the same."""

from __future__ import annotations

import hashlib

from golden.int8.fallback import runtime_identity
from scheduler.plan.program import HostStep, Plan, Step
from tb.model.build import HDL_DIR, Design
from tb.model.cache import content_key
from tb.run.options import RunOptions
from tb.run.workload import Workload

__all__ = ["fingerprint"]


def fingerprint(options: RunOptions, workload: Workload, plan: Plan, design: Design) -> str:
    """Digest of all that determines the results of the launches.

    The chip is in it as its Verilog: a parameter that is new, and that it does not use, makes no other run of it.
    """
    launches = [_identity(step) for step in plan.steps]
    tensors = sorted((name, place.addr, place.nbytes) for name, place in plan.tensors.items())
    texts = [options.sim, repr(options.settings), repr(launches), repr(tensors)]
    data = [(segment.addr, hashlib.sha256(segment.data.data).hexdigest()) for segment in plan.segments]
    model = [*design.sources, *sorted(HDL_DIR.iterdir())]
    return content_key([*texts, repr(data), *(image.tobytes() for image in workload.images), *model])


def _identity(step: Step) -> tuple[object, ...]:
    """What determines the work of a step, apart from the contents of memory."""
    if isinstance(step, HostStep):
        part = step.node.part
        work = hashlib.sha256(part.model).hexdigest(), part.inputs, part.output, step.node.scales
        return step.name, step.nodes, *work, *runtime_identity()
    return step.name, step.nodes, step.program_base, step.program_stride
