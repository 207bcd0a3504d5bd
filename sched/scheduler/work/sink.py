"""Where the output of a work goes, and the STOREs that bring it there.

`MemorySink`
    A blocked tensor in DRAM.
`ScratchpadSink`
    A tensor that stays in the scratchpads of the cores that read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import ClassVar, NamedTuple

from rtl.contract.codec import encode_fields
from rtl.contract.isa import Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams, CoreParams
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

    def runs(self, tile: Tile) -> Iterator[Rows]:
        """Rows [first, end) of a tile that lie one behind the other, so that a STORE can take them together."""
        whole = tile.store_width == self.shape[2]
        for first in [tile.store_y[0]] if whole else range(*tile.store_y):
            yield first, tile.store_y[1] if whole else first + 1

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        """STOREs by which a core puts a run of rows, from a column on, where it belongs."""
        raise NotImplementedError

    def copies(self, rows: Rows, sender: CoreParams) -> float:
        """STOREs of such a core that such rows take, for each of them: 1 for a single destination."""
        return 1.0

    def crowded(self, together: tuple[Rows, ...]) -> int:
        """Rows that come to one core, at most, where cores store these at the same time."""
        return 0


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
        yield Target(fields, self.address(block, pixel))

    def address(self, block: OutBlock, pixel: int) -> int:
        return self.placement.addr + (block.channel // self.block * self.plane + pixel) * self.block


@dataclass(frozen=True)
class ScratchpadSink(Sink):
    """A tensor on the chip: every core stores each row to all cores that hold it, itself perhaps one of them.

    With `CoreParams.multicast` a STORE goes at once to all cores that follow each other and hold the same rows, so that
    a pixel has the same address on each.
    """

    in_memory: ClassVar[bool] = False
    residence: Residence

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.residence.shape

    @property
    def block(self) -> int:
        return self.residence.layout.block

    def runs(self, tile: Tile) -> Iterator[Rows]:
        """Cut also where the rows of a core begin and end."""
        edges = {edge for _, first, end in self.residence.rows for edge in (first, end)}
        for first, end in super().runs(tile):
            cuts = [first, *sorted(edge for edge in edges if first < edge < end), end]
            yield from pairwise(cuts)

    def targets(self, chip: ChipParams, core: int, block: OutBlock, rows: Rows, column: int) -> Iterator[Target]:
        residence, number = self.residence, block.channel // self.block
        for cores, first, end in self._holders(chip.cores[core]):
            if not first <= rows[0] < end:
                continue
            target = cores[0]
            groups = chip.cores[target].act_groups(self.block)
            assert groups == residence.groups, f"core {target} keeps {groups} blocks a word, not {residence.groups}"
            if groups > 1 and number % groups + block.groups > groups:  # a STORE has one distance for all its groups
                raise PlanError(
                    f"an output block of {block.groups * self.block} channels would go to several scratchpad words of "
                    f"{groups * self.block} bytes each; keep the tensor in DRAM, or lower core.cols"
                )
            # Blocks of a word lie beside each other; from word to word it is a plane.
            stride = residence.plane if groups == 1 else 1
            yield Target(_to_cores(cores, stride), residence.flit(target, number, rows[0], column), cores)

    def copies(self, rows: Rows, sender: CoreParams) -> float:
        return _mean(rows, [(first, end) for _, first, end in self._holders(sender)])

    def crowded(self, together: tuple[Rows, ...]) -> int:
        return _crowded(together, frozenset((first, end) for _, first, end in self.residence.rows))

    def _holders(self, sender: CoreParams) -> list[tuple[range, int, int]]:
        """Cores that take the same STOREs of a core, and the rows that they hold."""
        holders: list[tuple[range, int, int]] = []
        for core, first, end in self.residence.rows:
            before, *rows = holders[-1] if holders else (range(0), 0, 0)
            if sender.multicast and before.stop == core and rows == [first, end]:
                holders[-1] = range(before.start, core + 1), first, end
            else:
                holders.append((range(core, core + 1), first, end))
        return holders


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
