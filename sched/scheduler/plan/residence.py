"""A tensor that stays on the chip: rows of it in the activation scratchpads of several cores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

from scheduler.alike import UNMAPPED
from scheduler.plan.layout import Blocked, ceil_div

__all__ = ["Residence", "Resident"]


@dataclass(frozen=True)
class Residence:
    """A blocked tensor in activation scratchpads, all of its channels and columns, and on each core some rows.

    Its planes are those of a COMPUTE's input: channel block k of row y, column x lies on a core whose first row is f at
    flit ``((k // groups * height + y - f) * W + x) * groups + k % groups`` from `addr` on, `height` being the rows of
    the fullest core.

    Attributes
    ----------
    layout : Blocked
    addr : int
        Byte of the scratchpads, at a whole word.
    groups : int
        Channel blocks of a scratchpad word.
    rows : tuple of (core, first, end)
        What each core holds.
    team : int, optional
        So many cores hold one picture, the next so many another's, at the same address. Without, all hold one.
    """

    layout: Blocked
    addr: Annotated[int, UNMAPPED]
    groups: int
    rows: tuple[tuple[int, int, int], ...]
    team: int | None = None

    @property
    def pictures(self) -> int:
        """How many are held."""
        return 1 if self.team is None else len({core // self.team for core, _, _ in self.rows})

    def rows_beside(self, core: int) -> Iterator[tuple[int, int, int]]:
        """(core, first, end) of the cores that hold the same picture as a core, itself perhaps among them."""
        for row in self.rows:
            if self.team is None or row[0] // self.team == core // self.team:
                yield row

    def each(self) -> Iterator[Residence]:
        """Those of the single pictures."""
        if self.team is None:
            yield self
            return
        for team in dict.fromkeys(core // self.team for core, _, _ in self.rows):
            own = tuple(row for row in self.rows if row[0] // self.team == team)
            yield replace(self, rows=own, team=None)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.layout.shape

    @cached_property
    def rows_of(self) -> Mapping[int, tuple[int, int]]:
        """By core."""
        return {core: (first, end) for core, first, end in self.rows}

    @property
    def everywhere(self) -> bool:
        """Whether each of its cores holds all rows."""
        return all(end - first == self.shape[1] for _, first, end in self.rows)

    @cached_property
    def height(self) -> int:
        """Rows of a plane: as many as the fullest core holds."""
        return max(end - first for _, first, end in self.rows)

    @property
    def plane(self) -> int:
        """Pixels of a plane."""
        return self.height * self.shape[2]

    @property
    def words(self) -> int:
        """Planes."""
        return ceil_div(self.layout.blocks, self.groups)

    @property
    def nbytes(self) -> int:
        """Of every core's scratchpad."""
        return self.words * self.plane * self.groups * self.layout.block

    def channels(self, first: int, count: int) -> Residence:
        """The part of it that holds some of its channels, from the first of a scratchpad word on."""
        number, inside = divmod(first, self.groups * self.layout.block)
        assert not inside, f"channel {first} lies inside a word of {self.groups * self.layout.block}"
        addr = self.addr + number * self.plane * self.groups * self.layout.block
        return replace(self, layout=replace(self.layout, shape=(count, *self.shape[1:])), addr=addr)

    def flit(self, core: int, channel_block: int, row: int, column: int) -> int:
        """Scratchpad flit of a pixel."""
        word, lane = divmod(channel_block, self.groups)
        pixel = (row - self.rows_of[core][0]) * self.shape[2] + column
        return self.addr // self.layout.block + (word * self.plane + pixel) * self.groups + lane


@dataclass(frozen=True)
class Resident:
    """A tensor that stays on the chip during some parts of a launch.

    Attributes
    ----------
    tensor : str
    residence : Residence
    first, last : int
        Numbers of the part that writes it first, and of the last that reads it.
    """

    tensor: str
    residence: Residence
    first: int
    last: int
