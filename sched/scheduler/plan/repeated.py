"""Multiply-accumulates that a plan does more than once, counted from its instructions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from golden.int8.qnodes import QConv
from rtl.contract.codec import decode, opcode_of
from rtl.contract.isa import Opcode, Unit
from scheduler.plan.program import Launch, Plan

__all__ = ["repeated_macs"]


def repeated_macs(plan: Plan) -> float | None:
    """Multiply-accumulates beyond those of the graph: of rows that several cores or strips compute, and of windows that
    tiles share. What arrays do on lanes and rows without data is not among them.

    A convolution of O channels needs ceil(O / lanes) accumulators for each of its pixels; how many its programs begin
    is in their COMPUTEs. None where that says nothing: lanes that are no storage block, other groups than one channel
    each.
    """
    lanes = plan.chip.link_bytes
    nodes = {node.name: node for node in plan.graph.nodes if isinstance(node, QConv)}
    if any(core.cols != lanes for core in plan.chip.cores):
        return None
    if any(node.groups > 1 and node.op != "depthwise" for node in nodes.values()):
        return None
    total = 0.0
    for launch in plan.launches:
        begun: Counter[tuple[str, ...]] = Counter()
        for part, entries in zip(launch.parts, _begun(launch), strict=True):
            begun[part.works_on] += entries
        for names, entries in begun.items():
            convs = [nodes[name] for name in names if name in nodes]
            needed = sum(-(-len(conv.bias) // lanes) * conv.out_hw[0] * conv.out_hw[1] for conv in convs)
            total += sum(conv.macs for conv in convs) * (entries / needed - 1) if needed else 0.0
    return total


def _begun(launch: Launch) -> list[int]:
    """By part, accumulators of all cores that its COMPUTEs begin; each is one pixel of as many channels as lanes."""
    counts = [0] * len(launch.parts)
    for (core, unit), stream in launch.streams.items():
        if unit != Unit.COMPUTE:
            continue
        ends = launch.borders[core, unit] if len(launch.parts) > 1 else [len(stream)]
        for part, entries in _entries(stream, ends):
            counts[part] += entries
    return counts


def _entries(stream: Sequence[bytes], ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Part and accumulators of every COMPUTE that begins some."""
    width, part = 0, 0
    for number, word in enumerate(stream):
        while part + 1 < len(ends) and number >= ends[part]:
            part += 1
        opcode = opcode_of(word)
        if opcode == Opcode.SETUP:
            width = decode(word)[1]["out_w"]
        elif opcode == Opcode.COMPUTE:
            fields = decode(word)[1]
            if not fields["accumulate"]:
                yield part, fields["out_h"] * width
