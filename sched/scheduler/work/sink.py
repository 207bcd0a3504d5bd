"""Where the output of a work goes, and the STOREs that bring it there.

`MemorySink`
    A blocked tensor in DRAM.
`ScratchpadSink`
    A tensor that stays in the scratchpads of the cores that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import ClassVar, NamedTuple, Self

from rtl.contract.codec import encode_fields
from rtl.contract.isa import Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams
from scheduler.errors import PlanError
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.passes import OutBlock
from scheduler.work.source import Tile

__all__ = ["MemorySink", "ScratchpadSink", "Sink", "Target", "sink_of"]

Rows = tuple[int, int]


class Target(NamedTuple):
    """One STORE of an output block, without what the accumulators say.

    Attributes
    ----------
    fields : int
        Encoded.
    addr : int
    core : int, optional
        To which it goes, if to a core.
    """

    fields: int
    addr: int
    core: int | None = None


@dataclass(frozen=True)
class Sink:
    """Common part: the output's shape, int8[C, H, W], in blocks of so many channels."""

    in_memory: ClassVar[bool] = True
    """It goes to DRAM."""

    @property
    def shape(self) -> tuple[int, int, int]:
        raise NotImplementedError

    @property
    def block(self) -> int:
        raise NotImplementedError

    @property
    def pictures(self) -> int:
        """Pictures that are computed together."""
        raise NotImplementedError

    def runs(self, tile: Tile) -> Iterator[Rows]:
        """Rows [first, end) of a tile that lie one behind the other, so that a STORE can take them together."""
        whole = tile.store_width == self.shape[2]
        for first in [tile.store_y[0]] if whole else range(*tile.store_y):
            yield first, tile.store_y[1] if whole else first + 1

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        """STOREs by which a core puts a run of rows, from a column on, where it belongs."""
        raise NotImplementedError

    def copies(self, rows: Rows) -> float:
        """STOREs that such rows take, for each of them: 1 for a single destination."""
        return 1.0

    def moved(self, pictures: int) -> Self:
        """The same for pictures so many behind; what stays on the chip lies in the same place."""
        return self


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

    def moved(self, pictures: int) -> Self:
        return replace(self, placement=self.placement.moved(pictures))

    @property
    def pictures(self) -> int:
        return self.placement.pictures

    @property
    def plane(self) -> int:
        """Flits of a channel block."""
        assert isinstance(self.placement.layout, Blocked)
        return self.placement.layout.plane_flits

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        fields = _to_memory(chip.home_memory[core], self.plane)
        pixel = rows[0] * self.shape[2] + column
        yield Target(fields, self.address(block, pixel))

    def address(self, block: OutBlock, pixel: int) -> int:
        return self.placement.addr + (block.channel // self.block * self.plane + pixel) * self.block


@dataclass(frozen=True)
class ScratchpadSink(Sink):
    """A tensor on the chip: every core stores each row to all cores that hold it, itself perhaps one of them.

    Of several pictures each is between the cores that it belongs to.
    """

    in_memory: ClassVar[bool] = False
    residence: Residence

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.residence.shape

    @property
    def block(self) -> int:
        return self.residence.layout.block

    @property
    def pictures(self) -> int:
        return self.residence.pictures

    def runs(self, tile: Tile) -> Iterator[Rows]:
        """Cut also where the rows of a core begin and end."""
        edges = {edge for _, first, end in self.residence.rows for edge in (first, end)}
        for first, end in super().runs(tile):
            cuts = [first, *sorted(edge for edge in edges if first < edge < end), end]
            yield from pairwise(cuts)

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        residence, number = self.residence, block.channel // self.block
        for target, first, end in residence.rows_beside(core):
            if not first <= rows[0] < end:
                continue
            groups = chip.cores[target].act_groups(self.block)
            assert groups == residence.groups, f"core {target} keeps {groups} blocks a word, not {residence.groups}"
            if groups > 1 and number % groups + block.groups > groups:  # a STORE has one distance for all its groups
                raise PlanError(
                    f"an output block of {block.groups * self.block} channels would go to several scratchpad words of "
                    f"{groups * self.block} bytes each; keep the tensor in DRAM, or lower core.cols"
                )
            # Blocks of a word lie beside each other; from word to word it is a plane.
            stride = residence.plane if groups == 1 else 1
            yield Target(_to_core(target, stride), residence.flit(target, number, rows[0], column), target)

    def copies(self, rows: Rows) -> float:
        holders = self.residence.rows_beside(self.residence.rows[0][0])
        stored = sum(max(0, min(rows[1], end) - max(rows[0], first)) for _, first, end in holders)
        return stored / max(1, rows[1] - rows[0])


def sink_of(tensor: Placement | Residence) -> MemorySink | ScratchpadSink:
    """The sink of a tensor, wherever it lies."""
    return MemorySink(tensor) if isinstance(tensor, Placement) else ScratchpadSink(tensor)


@cache
def _to_core(core: int, group_stride: int) -> int:
    return encode_fields(
        Opcode.STORE, to_core=1, core=core, space=Space.ACT, planar=1, group_stride=group_stride,
        traffic=TrafficClass.OFMAP,
    )  # fmt: skip


@cache
def _to_memory(memory: int, group_stride: int) -> int:
    return encode_fields(Opcode.STORE, memory=memory, group_stride=group_stride, traffic=TrafficClass.OFMAP)
