"""DRAM traffic of a part of a launch, counted from its instructions."""

from __future__ import annotations

from rtl.contract.activity import by_class
from rtl.contract.codec import decode, opcode_of
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, TrafficClass
from scheduler.plan.program import Launch

__all__ = ["part_bytes"]


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
