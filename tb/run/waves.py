"""Waves of a run: what the user asks for, and what of a failure they should show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scheduler.plan.program import Plan, Step
from tb.errors import BenchError
from tb.model.build import Design
from tb.model.units import Units
from tb.report.viewers import write_sessions
from tb.run.launches import label_of
from tb.sim.job import WRITTEN, Recording, when_written

__all__ = ["Waves", "first_wrong_cycle", "parse_waves", "window_around", "write_wave_sessions"]

BEFORE_CYCLES, BEHIND_CYCLES = 1000, 500
"""Cycles that a window around a failure has before and behind it."""
_WINDOW = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class Waves:
    """Which waves to record of every launch that is simulated.

    Attributes
    ----------
    first, last
        Cycles of a launch, both included; None: to its end.
    scopes
        Units, by the names that `tb.model.units` knows; none: the chip and its memory.
    memories
        The words of all RAMs, too.
    """

    first: int = 0
    last: int | None = None
    scopes: tuple[str, ...] = ()
    memories: bool = False

    def recording(self, design: Design) -> Recording:
        """What a simulator is asked to record, but for the file.

        Raises
        ------
        BenchError
            If the chip has no such unit.
        """
        units = Units(design.sources) if self.scopes else None
        scopes = [scope for name in self.scopes for scope in (units.find(name) if units else ())]
        return Recording(Path(), self.first, self.last, tuple(dict.fromkeys(scopes)))


def parse_waves(text: str | None, scope: str | None = None, *, memories: bool = False) -> Waves | None:
    """What WAVES=, SCOPE= and MEMORIES= ask for; None for no waves.

    Raises
    ------
    BenchError
        If it is not 0, 1 or two cycles, or SCOPE or MEMORIES stands without it.
    """
    if text is None or text == "0":
        for name, given in (("SCOPE", scope is not None), ("MEMORIES", memories)):
            if given:
                raise BenchError(f"{name}= says what of the waves to record: give WAVES=1 or WAVES=from..to with it")
        return None
    scopes = tuple(name.strip() for name in scope.split(",") if name.strip()) if scope else ()
    if text == "1":
        return Waves(scopes=scopes, memories=memories)
    window = _WINDOW.fullmatch(text)
    if window is None or int(window[1]) > int(window[2]):
        raise BenchError(f"WAVES={text}: give 1, or the first and the last cycle of a launch, such as 12000..13500")
    return Waves(int(window[1]), int(window[2]), scopes, memories)


def window_around(cycle: int | None) -> str:
    """What to give WAVES= to see a failure."""
    return "1" if cycle is None else f"{max(0, cycle - BEFORE_CYCLES)}..{cycle + BEHIND_CYCLES}"


def write_wave_sessions(
    dumps: Mapping[Path, tuple[int, int | None]], waves: Waves, design: Design
) -> None:
    """Write sessions for viewers beside dumps.

    Parameters
    ----------
    dumps : dict of Path to (int, int or None)
        Of each launch's dump the cycles that the launch took, and the cycle to be marked.
    """
    units = Units(design.sources).scopes
    for dump, (cycles, marker) in dumps.items():
        last = cycles if waves.last is None else min(cycles, waves.last)
        write_sessions(dump, units, (waves.first, last), marker)


def first_wrong_cycle(folder: Path, plan: Plan, step: Step, expected: Mapping[str, np.ndarray]) -> int | None:
    """The cycle of its launch in which the first wrong value of a step was written; None where nobody knows.

    Parameters
    ----------
    folder : Path
        Of the launch's result.
    """
    try:
        written = np.load(folder / f"{WRITTEN}.npy")
    except OSError:
        return None
    cycles = []
    for tensor in plan.written(step):
        place = plan.tensors[tensor]
        got = np.load(folder / f"{label_of(tensor)}.npy").view(np.uint8).reshape(-1)
        right = place.layout.pack(expected[tensor]).view(np.uint8).reshape(-1)
        lanes = place.layout.pack(np.ones_like(expected[tensor])).view(np.uint8).reshape(-1) != 0
        cycles.append(when_written(written, place.addr + np.flatnonzero((got != right) & lanes)))
    found = np.concatenate(cycles) if cycles else np.zeros(0, np.int32)
    return int(found.min()) if found.size else None
