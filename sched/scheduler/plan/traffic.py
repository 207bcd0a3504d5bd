"""DRAM traffic of a part of a launch, counted from its instructions."""

from __future__ import annotations

from rtl.contract.codec import decode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, TrafficClass
from scheduler.plan.program import Launch

__all__ = ["part_bytes"]


def part_bytes(launch: Launch, part: int, link_bytes: int) -> dict[str, int]:
    """Reads and writes of all memory nodes, by traffic class.

    Of programs, the instructions alone: what the fetch units read ahead of END belongs to no part.
    """
    counts = {traffic.name.lower(): 0 for traffic in TrafficClass}
    for word in launch.of_part(part):
        counts["program"] += INSTRUCTION_BYTES
        if word[0] & 15 not in (Opcode.LOAD, Opcode.STORE):
            continue
        opcode, fields = decode(word)
        if opcode == Opcode.LOAD:
            flits = fields["runs"] * fields["run_flits"]
        else:
            flits = 0 if fields["to_core"] else fields["groups"] * fields["pixels"]
        counts[TrafficClass(fields["traffic"]).name.lower()] += flits * link_bytes
    return counts
