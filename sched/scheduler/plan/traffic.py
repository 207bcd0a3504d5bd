"""DRAM traffic of parts of a launch, counted from their instructions."""

from __future__ import annotations

from collections.abc import Iterable

from rtl.contract.activity import by_class
from rtl.contract.codec import decode, opcode_of
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Space, TrafficClass
from scheduler.plan.program import Launch

__all__ = ["part_bytes", "weight_bytes"]


def part_bytes(launch: Launch, part: int, link_bytes: int) -> dict[str, int]:
    """Reads and writes of all memory nodes, by traffic class.

    Of programs, the instructions alone: what the fetch units read ahead of END belongs to no part.
    """
    counts = [0] * len(TrafficClass)
    for word in launch.of_part(part):
        counts[TrafficClass.PROGRAM] += INSTRUCTION_BYTES
        if opcode_of(word) not in (Opcode.LOAD, Opcode.STORE):
            continue
        opcode, fields = decode(word)
        if opcode == Opcode.LOAD:
            flits = fields["runs"] * fields["run_flits"]
        else:
            flits = 0 if fields["to_core"] else fields["groups"] * fields["pixels"]
        counts[fields["traffic"]] += flits * link_bytes
    return by_class(counts)


def weight_bytes(launch: Launch, parts: Iterable[int], link_bytes: int) -> int:
    """Bytes of DRAM that some parts read into weight scratchpads, each counted once however often it is read."""
    runs = set[tuple[int, int]]()
    for word in {word for part in parts for word in launch.of_part(part) if opcode_of(word) == Opcode.LOAD}:
        fields = decode(word)[1]
        if fields["space"] == Space.WEIGHT:
            first, stride, flits = fields["dram_addr"] // link_bytes, fields["dram_stride"], fields["run_flits"]
            runs.update((first + run * stride, first + run * stride + flits) for run in range(fields["runs"]))
    total = behind = 0
    for first, end in sorted(runs):
        total += max(0, end - max(first, behind))
        behind = max(behind, end)
    return total * link_bytes
