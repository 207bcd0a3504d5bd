"""Where the output of a work goes, and the STOREs that bring it there.

`MemorySink`
    A blocked tensor in DRAM.
`RectangleSink`
    Some of its pixels.
`ScratchpadSink`
    A tensor that stays in the scratchpads of the cores that read it.
`StripSink`
    A strip of a tensor, which each core computes for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise
from typing import ClassVar, NamedTuple, Self

from rtl.contract.codec import encode_fields
from rtl.contract.isa import Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams, CoreParams
from scheduler.errors import PlanError
from scheduler.plan.layout import Blocked
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.passes import OutBlock
from scheduler.work.source import Tile

__all__ = ["MemorySink", "RectangleSink", "ScratchpadSink", "Sink", "StripSink", "Target", "sink_of"]

Rows = tuple[int, int]


class Target(NamedTuple):
    """One STORE of an output block, without what the accumulators say.

    Attributes
    ----------
    fields : int
        Encoded.
    addr : int
    cores : range
        To which it goes; none if to memory.
    """

    fields: int
    addr: int
    cores: range = range(0)


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
    def residences(self) -> tuple[Residence, ...]:
        """What it writes of the scratchpads."""
        return ()

    @property
    def pictures(self) -> int:
        """Pictures that are computed together."""
        raise NotImplementedError

    def runs(self, tile: Tile) -> Iterator[Rows]:
        """Rows [first, end) of a tile that lie one behind the other, so that a STORE can take them together."""
        edges = self.edges()
        whole = tile.store_width == self.shape[2]
        for first in [tile.store_y[0]] if whole else range(*tile.store_y):
            end = tile.store_y[1] if whole else first + 1
            yield from pairwise([first, *sorted(edge for edge in edges if first < edge < end), end])

    def edges(self) -> set[int]:
        """Rows at which others begin or end that go elsewhere."""
        return set()

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        """STOREs by which a core puts a run of rows, from a column on, where it belongs."""
        raise NotImplementedError

    def copies(self, rows: Rows, sender: CoreParams) -> float:
        """STOREs of such a core that such rows take, for each of them: 1 for a single destination."""
        return 1.0

    def crowded(self, together: Sequence[tuple[Rows, ...]]) -> list[int]:
        """Rows of a picture that come to one core, at most: for each of several sets that cores store together."""
        return [0] * len(together)

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
class RectangleSink(MemorySink):
    """A rectangle of the pixels of a tensor in DRAM, whose layout is that of the view in which it is one.

    Attributes
    ----------
    first : (row, column)
    size : (rows, columns)
    """

    first: tuple[int, int]
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.placement.shape[0], *self.size

    def runs(self, tile: Tile) -> Iterator[Rows]:
        if self.size[1] == self.placement.shape[2]:
            yield from super().runs(tile)
        else:
            yield from ((row, row + 1) for row in range(*tile.store_y))

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        fields = _to_memory(chip.home_memory[core], self.plane)
        pixel = (self.first[0] + rows[0]) * self.placement.shape[2] + self.first[1] + column
        yield Target(fields, self.address(block, pixel))


@dataclass(frozen=True)
class ScratchpadSink(Sink):
    """A tensor on the chip: every core stores each row to all cores that hold it, itself perhaps one of them.

    With `CoreParams.multicast` a STORE goes at once to all cores that follow each other and hold the same rows, so that
    a pixel has the same address on each. Of several pictures each is between the cores that it belongs to.
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
    def residences(self) -> tuple[Residence, ...]:
        return (self.residence,)

    @property
    def pictures(self) -> int:
        return self.residence.pictures

    def edges(self) -> set[int]:
        return {edge for _, first, end in self.residence.rows for edge in (first, end)}

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        for cores, first, end in self._holders(core, chip.cores[core]):
            if first <= rows[0] < end:
                yield _target(chip, self.residence, cores, block, rows[0], column)

    def copies(self, rows: Rows, sender: CoreParams) -> float:
        first_core = self.residence.rows[0][0]
        return _mean(rows, [(first, end) for _, first, end in self._holders(first_core, sender)])

    def crowded(self, together: Sequence[tuple[Rows, ...]]) -> list[int]:
        held = frozenset([(first, end) for _, first, end in self.residence.rows])
        return [_crowded(rows, held) for rows in together]

    def _holders(self, core: int, sender: CoreParams) -> list[tuple[range, int, int]]:
        """Cores that take the same STOREs of a core, one of the picture's, and the rows that they hold."""
        holders: list[tuple[range, int, int]] = []
        for target, first, end in self.residence.rows_beside(core):
            before, *rows = holders[-1] if holders else (range(0), 0, 0)
            if sender.multicast and before.stop == target and rows == [first, end]:
                holders[-1] = range(before.start, target + 1), first, end
            else:
                holders.append((range(target, target + 1), first, end))
        return holders


@dataclass(frozen=True)
class StripSink(Sink):
    """A strip of a tensor: every core stores what it computes to itself, and to the next strip what that needs as well.

    Attributes
    ----------
    strips : tuple of Residence
        This one, and the next if there is one.
    """

    in_memory: ClassVar[bool] = False
    strips: tuple[Residence, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.strips[0].shape

    @property
    def block(self) -> int:
        return self.strips[0].layout.block

    @property
    def residences(self) -> tuple[Residence, ...]:
        return self.strips

    @property
    def pictures(self) -> int:
        return self.strips[0].pictures

    def edges(self) -> set[int]:
        return {first for strip in self.strips[1:] for _, first, _ in strip.rows}

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        for strip in self.strips:
            first, end = strip.rows_of[core]
            if first <= rows[0] < end:
                yield _target(chip, strip, range(core, core + 1), block, rows[0], column)

    def copies(self, rows: Rows, sender: CoreParams) -> float:
        core = next((core for core, first, end in self.strips[0].rows if first <= rows[0] < end), None)
        if core is None:
            return 1.0
        return _mean(rows, [strip.rows_of[core] for strip in self.strips])


def _target(chip: ChipParams, residence: Residence, cores: range, block: OutBlock, row: int, column: int) -> Target:
    """The STORE of an output block, from a row and a column on, to what cores keep."""
    number, core = block.channel // residence.layout.block, cores[0]
    groups = chip.cores[core].act_groups(residence.layout.block)
    assert groups == residence.groups, f"core {core} keeps {groups} blocks a word, not {residence.groups}"
    if groups > 1 and number % groups + block.groups > groups:  # a STORE has one distance for all its groups
        raise PlanError(
            f"an output block of {block.groups * residence.layout.block} channels would go to several scratchpad words "
            f"of {groups * residence.layout.block} bytes each; keep the tensor in DRAM, or lower core.cols"
        )
    # Blocks of a word lie beside each other; from word to word it is a plane.
    stride = residence.plane if groups == 1 else 1
    return Target(_to_cores(cores, stride), residence.flit(core, number, row, column), cores)


def sink_of(tensor: Placement | Residence) -> MemorySink | ScratchpadSink:
    """The sink of a tensor, wherever it lies."""
    return MemorySink(tensor) if isinstance(tensor, Placement) else ScratchpadSink(tensor)


def _mean(rows: Rows, held: list[Rows]) -> float:
    """How many of these hold a row."""
    return sum(_shared(rows, some) for some in held) / max(1, rows[1] - rows[0])


@lru_cache(maxsize=1 << 16)
def _crowded(together: tuple[Rows, ...], held: frozenset[Rows]) -> int:
    return max(sum(_shared(rows, some) for rows in together) for some in held)


def _shared(a: Rows, b: Rows) -> int:
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


@cache
def _to_cores(cores: range, group_stride: int) -> int:
    return encode_fields(
        Opcode.STORE, to_core=1, core=cores[0], more=len(cores) - 1, space=Space.ACT, planar=1,
        group_stride=group_stride, traffic=TrafficClass.OFMAP,
    )  # fmt: skip


@cache
def _to_memory(memory: int, group_stride: int) -> int:
    return encode_fields(Opcode.STORE, memory=memory, group_stride=group_stride, traffic=TrafficClass.OFMAP)
