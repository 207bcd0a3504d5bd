"""Where the output of a work goes, and the STOREs that bring it there.

`MemorySink`
    A blocked tensor in DRAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from rtl.contract.codec import encode_fields
from rtl.contract.isa import Opcode, TrafficClass
from rtl.contract.params import ChipParams
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.work.passes import OutBlock
from scheduler.work.source import Tile

__all__ = ["MemorySink", "Sink", "Target"]

Rows = tuple[int, int]


class Target(NamedTuple):
    """One STORE of an output block, without what the accumulators say.

    Attributes
    ----------
    fields : int
        Encoded.
    group, groups : int
        First group of the block, and how many.
    addr : int
    """

    fields: int
    group: int
    groups: int
    addr: int


@dataclass(frozen=True)
class Sink:
    """Common part: the output's shape, int8[C, H, W], in blocks of so many channels."""

    @property
    def shape(self) -> tuple[int, int, int]:
        raise NotImplementedError

    @property
    def block(self) -> int:
        raise NotImplementedError

    def runs(self, tile: Tile) -> Iterator[Rows]:
        """Rows [first, end) of a tile that lie one behind the other, so that a STORE can take them together."""
        whole = tile.store_width == self.shape[2]
        for first in [tile.store_y[0]] if whole else range(*tile.store_y):
            yield first, tile.store_y[1] if whole else first + 1

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        """STOREs by which a core puts a run of rows, from a column on, where it belongs."""
        raise NotImplementedError


@dataclass(frozen=True)
class MemorySink(Sink):
    """A tensor in DRAM; every core writes through its home memory node."""

    placement: Placement

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.placement.shape

    @property
    def block(self) -> int:
        return self.placement.layout.block

    @property
    def plane(self) -> int:
        """Flits of a channel block."""
        assert isinstance(self.placement.layout, Blocked)
        return self.placement.layout.plane_flits

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        fields = _to_memory(chip.home_memory[core], self.plane)
        pixel = rows[0] * self.shape[2] + column
        yield Target(fields, 0, block.groups, self.address(block, pixel))

    def address(self, block: OutBlock, pixel: int) -> int:
        return self.placement.addr + (block.channel // self.block * self.plane + pixel) * self.block


@cache
def _to_memory(memory: int, group_stride: int) -> int:
    return encode_fields(Opcode.STORE, memory=memory, group_stride=group_stride, traffic=TrafficClass.OFMAP)
