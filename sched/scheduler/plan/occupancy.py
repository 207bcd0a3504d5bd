"""What takes the bytes of a core's activation scratchpad while a launch runs: tensors that stay, and what is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.plan.program import Launch

__all__ = ["Occupant", "occupants"]


@dataclass(frozen=True)
class Occupant:
    """Bytes [low, high) of an activation scratchpad, taken from the begin of a part of a launch to the end of another.

    Attributes
    ----------
    first, last : int
        Numbers of the parts within the launch.
    low, high : int
    tensor : str
        That stays there; '' for a ring through which a part loads tensors from DRAM.
    rows : (first, end), optional
        Of the tensor, that the core keeps.
    whole : bool
        Whether every core keeps all of it.
    """

    first: int
    last: int
    low: int
    high: int
    tensor: str = ""
    rows: tuple[int, int] | None = None
    whole: bool = False


def occupants(launch: Launch, core: int) -> Iterator[Occupant]:
    """Of a core, in the order of their first parts.

    Those of one part never overlap, but for the sum of a residual that takes the residual's place.
    """
    found = [
        Occupant(number, number, first, end)
        for number, part in enumerate(launch.parts)
        for owner, first, end in part.rings
        if owner == core and first < end
    ]
    for resident in launch.residents:
        place = resident.residence
        if core in place.rows_of:
            high, rows = place.addr + place.nbytes, place.rows_of[core]
            found.append(
                Occupant(resident.first, resident.last, place.addr, high, resident.tensor, rows, place.everywhere)
            )
    yield from sorted(found, key=lambda item: (item.first, item.low))
