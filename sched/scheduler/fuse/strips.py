"""Chains of operations that are done strip by strip, so that of what is between them only a strip is ever there.

Every core computes some rows of the chain's output. Strip by strip it computes what these need of each operation in
front and does not have yet, in order. Strips lie in two slots in turn: rows that the next one needs too are stored to
both. Rows that two cores need are computed by both, so nothing goes from core to core.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

from scheduler.errors import PlanError
from scheduler.fuse.stay import Rows, Stays
from scheduler.map.mapping import Tiling
from scheduler.plan.layout import Blocked, even_split
from scheduler.plan.program import Placement
from scheduler.plan.residence import Residence
from scheduler.work.sink import StripSink
from scheduler.work.source import ResidentSource, Source
from scheduler.work.work import Work

__all__ = ["Chain", "Strips", "strip_kind"]

S = TypeVar("S", bound=Source)


@dataclass(frozen=True)
class Chain:
    """Operations [first, end), each of which reads what the one before it puts out, and nobody else does.

    Attributes
    ----------
    first, end : int
    row_parts : int
        Cores over which the rows are split.
    strips : int
        Of each row part.
    """

    first: int
    end: int
    row_parts: int
    strips: int


@dataclass(frozen=True)
class Strips:
    """What of each tensor a chain takes at a time."""

    stays: Stays
    chain: Chain

    @cached_property
    def outputs(self) -> list[tuple[Rows, ...]]:
        """By strip, the rows of the chain's output that each row part computes."""
        height = self.stays.tensors.shape(self.stays.steps[self.chain.end - 1].output)[1]
        parts = [
            [(start + low, start + high) for low, high in even_split(end - start, self.chain.strips)]
            for start, end in even_split(height, self.chain.row_parts)
        ]
        return list(zip(*parts, strict=True))

    @cached_property
    def held(self) -> dict[int, list[tuple[Rows, ...]]]:
        """By operation but the last, and by strip: the rows of its output that are there."""
        return self._rows[0]

    @cached_property
    def computed(self) -> dict[int, list[tuple[Rows, ...]]]:
        """By operation and strip: the rows of its output that each row part computes."""
        return self._rows[1]

    @cached_property
    def _rows(self) -> tuple[dict[int, list[tuple[Rows, ...]]], dict[int, list[tuple[Rows, ...]]]]:
        held: dict[int, list[tuple[Rows, ...]]] = {}
        computed = {self.chain.end - 1: self.outputs}
        for number in range(self.chain.end - 2, self.chain.first - 1, -1):
            name = self.stays.steps[number].output
            held[number] = [self.stays.reads(number + 1, name, parts) for parts in computed[number + 1]]
            reached, computed[number] = [0] * self.chain.row_parts, []
            for parts in held[number]:
                computed[number].append(
                    tuple((max(low, at), high) for (low, high), at in zip(parts, reached, strict=True))
                )
                reached = [high for _, high in parts]
        return held, computed

    def require_possible(self) -> None:
        """Raise a PlanError if strips are so low that one has nothing to do, or needs rows of the last but one."""
        for number, strips in self.held.items():
            for strip, parts in enumerate(self.computed[number]):
                behind = strips[strip + 1] if strip + 1 < len(strips) else parts
                for (first, end), (needed, _) in zip(parts, behind, strict=True):
                    if first >= end or needed < first:
                        label = self.stays.steps[number].label
                        raise PlanError(f"strips of {label!r} are too low; use fewer than {self.chain.strips}")

    @property
    def recomputed(self) -> float:
        """Multiply-accumulates that more than one core does."""
        steps, shape = self.stays.steps, self.stays.tensors.shape
        total = 0.0
        for number in self.held:
            parts = [(strips[0][0], strips[-1][1]) for strips in zip(*self.computed[number], strict=True)]
            twice = sum(max(0, above[1] - below[0]) for above, below in pairwise(parts))
            total += steps[number].macs * twice / shape(steps[number].output)[1]
        return total

    def inside(self, name: str) -> int | None:
        """The operation that puts out a tensor of which only strips are there."""
        return next((number for number in self.held if self.stays.steps[number].output == name), None)

    def works(self, number: int, strip: int, of: Callable[[str], Placement | Residence], at: int) -> list[Work]:
        """Bids for a strip of an operation.

        Parameters
        ----------
        of : callable
            Where tensors are; of those that are there strip by strip, the strip.
        at : int
            Scratchpad byte of the strips that it puts out.
        """
        rows = self.computed[number][strip]
        works = [replace(work, row_parts=rows) for work in self.stays.works(number, of)]
        if number not in self.held:
            return works
        strips = range(strip, min(strip + 2, self.chain.strips) if self.slots(number) > 1 else strip + 1)
        sink = StripSink(tuple(self.tensor(number, strip, at) for strip in strips))
        return [replace(work, sink=sink) for work in works]

    def tensor(self, number: int, strip: int, at: int) -> Residence:
        """A strip of what an operation puts out, in slots from a byte of the scratchpads on."""
        stays, parts = self.stays, self.held[number][strip]
        rows = tuple(
            (picture * stays.team + core, *part) for picture in range(stays.pictures) for core, part in enumerate(parts)
        )
        addr = at + strip % self.slots(number) * self._slot_bytes[number]
        return Residence(self._layout(number), addr, stays.groups, rows, stays.team if stays.pictures > 1 else None)

    def nbytes(self, number: int) -> int:
        """Scratchpad that the strips of what an operation puts out take on every core."""
        return self.slots(number) * self._slot_bytes[number]

    def slots(self, number: int) -> int:
        """Two if strips have rows in common."""
        return self._slots[number]

    @cached_property
    def _slots(self) -> dict[int, int]:
        return {number: self._slots_of(number) for number in self.held}

    def _slots_of(self, number: int) -> int:
        above = (high for parts in self.held[number][:-1] for _, high in parts)
        below = (low for parts in self.held[number][1:] for low, _ in parts)
        return 2 if any(low < high for low, high in zip(below, above, strict=True)) else 1

    @cached_property
    def _slot_bytes(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for number, strips in self.held.items():
            rows = max(high - low for parts in strips for low, high in parts)
            found[number] = Residence(self._layout(number), 0, self.stays.groups, ((0, 0, rows),)).nbytes
        return found

    def _layout(self, number: int) -> Blocked:
        return Blocked(self.stays.tensors.shape(self.stays.steps[number].output), self.stays.chip.link_bytes)


def strip_kind(work: Work) -> Hashable:
    """Equal for strips that are mapped alike: as `Work.kind`, but for where on the map the rows lie."""
    assert work.row_parts is not None
    tiling = Tiling(work.source, work.row_parts, work.out_hw[1], 1, 1, work.pool)
    shapes = tuple(
        (end - first, bottom - top, high - low, offset)
        for (((top, bottom), (low, high), offset, (first, end)),) in tiling.rows
    )
    kept = replace(work, row_parts=None, source=_anywhere(work.source))
    stored: list[Rows] = []
    if isinstance(work.sink, StripSink):
        for strip in work.sink.strips:
            pairs = zip(strip.rows[: len(work.row_parts)], work.row_parts, strict=True)  # of the first picture
            stored += [(first - start, end - start) for (_, first, end), (start, _) in pairs]
        kept = replace(kept, sink=StripSink(tuple(_moved(strip) for strip in work.sink.strips)))
    if work.residual is not None:
        kept = replace(kept, residual=replace(work.residual, source=_anywhere(work.residual.source)))
    return kept.kind, shapes, tuple(stored)


def _anywhere(source: S) -> S:
    """The same with what stays on the chip moved to the first rows."""
    return replace(source, residence=_moved(source.residence)) if isinstance(source, ResidentSource) else source


def _moved(residence: Residence) -> Residence:
    return replace(residence, rows=((0, 0, residence.height),))
