"""Who runs what: launches handed out to several simulator processes, each of which goes on where it is.

A *unit* is a launch, or several that belong together (the copies of a concatenation). A process takes the unit behind
the one that it has just done, so that launches follow each other on the same chip as in one process; another process
starts in the middle of what is left. Towards the end it is the longest unit first, so that all end together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Share", "Shares"]

_LARGE = 2
"""The longest unit comes first once it is more than 1 in so many of what is left for one process."""


@dataclass(frozen=True)
class Share:
    """One unit for one process."""

    unit: range
    """Numbers of its steps in the plan."""
    follows: bool
    """The process has just done the unit before it, so its inputs are in memory."""


class Shares:
    """The units that are still to be run, with the cycles that they are expected to take."""

    def __init__(self, cycles: Mapping[range, float], processes: int) -> None:
        self._left = {unit: cycles[unit] for unit in sorted(cycles, key=lambda unit: unit.start)}
        self._processes = processes
        self._busy: dict[int, range] = {}

    def take(self, process: int) -> Share | None:
        """The next unit of a process that has nothing to do; None when none is left."""
        behind = self._busy.pop(process, None)
        if not self._left:
            return None
        longest = max(self._left, key=lambda unit: self._left[unit])
        if self._processes > 1 and _LARGE * self._processes * self._left[longest] > sum(self._left.values()):
            unit = longest
        else:
            unit = self._following(behind) or self._middle()
        del self._left[unit]
        self._busy[process] = unit
        return Share(unit, behind is not None and behind.stop == unit.start)

    def _following(self, unit: range | None) -> range | None:
        return next((other for other in self._left if unit is not None and other.start == unit.stop), None)

    def _middle(self) -> range:
        """A unit of the longest stretch: its first, or, if a process is on its way through it, the one at half."""
        stretch = max(self._stretches(), key=lambda units: sum(self._left[unit] for unit in units))
        if not any(unit.stop == stretch[0].start for unit in self._busy.values()):
            return stretch[0]
        half, done = sum(self._left[unit] for unit in stretch) / 2, 0.0
        for unit in stretch:
            done += self._left[unit]
            if done >= half:
                return unit
        raise AssertionError("half of a sum of positive numbers is reached")

    def _stretches(self) -> Sequence[list[range]]:
        """Units that follow each other, as they are left."""
        found: list[list[range]] = []
        for unit in self._left:
            if found and found[-1][-1].stop == unit.start:
                found[-1].append(unit)
            else:
                found.append([unit])
        return found
