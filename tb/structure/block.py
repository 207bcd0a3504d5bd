"""Block of a netlist: registers and memory of its own, and what is inside it; the formulas of the smallest ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtl.contract.params import CoreParams

__all__ = ["Block", "Ports", "fifo", "index_bits", "ram", "tag_bits"]

Ports = Mapping[str, tuple[str, int]]
"""Port name to direction (`input` or `output`) and width."""


@dataclass(frozen=True)
class Block:
    """One instance: registers and memory of its own, and what is inside it."""

    kind: str
    flipflops: int = 0
    memory: int = 0
    inside: Mapping[str, Block] = field(default_factory=dict)
    """By instance name."""
    module: str | None = None
    """Name of the Verilog module, if it is one that several instances share."""
    ports: Ports | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> tuple[int, int]:
        """Flip-flops and memory bits with everything inside."""
        parts = [(self.flipflops, self.memory), *(block.total for block in self.inside.values())]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)


def index_bits(count: int) -> int:
    """Of a register that counts 0 .. count - 1."""
    return (count - 1).bit_length()


def tag_bits(core: CoreParams) -> int:
    """Address of an accumulator entry, overwrite, is_max, last."""
    return index_bits(core.acc_entries) + 3


def fifo(width: int, depth: int) -> Block:
    """Power-of-two depths: two pointers with a wrap bit. Others: two pointers and a level. One: a word and a bit."""
    if depth == 1:
        return Block("Fifo", width + 1)
    if depth & (depth - 1) == 0:
        return Block("Fifo", 2 * (index_bits(depth) + 1), width * depth)
    return Block("Fifo", 2 * index_bits(depth) + depth.bit_length(), width * depth)


def ram(width: int, depth: int, granularity: int | None = None) -> Block:
    """A synchronous RAM: the words, and the word last read."""
    parameters = {
        "WIDTH": width,
        "DEPTH": depth,
        "GRANULARITY": granularity or width,
        "ADDR_BITS": max(1, index_bits(depth)),
    }
    ram = Block("systomesh_ram", width, width * depth, module="systomesh_ram", parameters=parameters)
    return Block("Ram", inside={"ram": ram})
