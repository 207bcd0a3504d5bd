"""How a simulation model is compiled: the one place where that is chosen, and why.

    flat          one piece of C++, across all borders of blocks: the fastest model of a small chip. Its code grows with
                  the cores, until the processor spends its time fetching it.
    by blocks     each distinct core is compiled once (Verilator's --hierarchical) and its code shared by all equal
                  cores, at the price of glue at its border.
    profile       compiled twice: the first model runs a small network and records what is taken how often.

README, "Simulation speed", has what each gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Recipe", "choose_recipe"]

FLAT_CORES = 8
"""Most equal cores of a chip that is compiled in one piece: faster for four, half as fast as by blocks for sixteen.

The border between them has not been measured.
"""
FLAT_BYTES = 6_000_000
"""Most Verilog of equal cores that is compiled in one piece: somewhat more than that of so many dense cores. Cores with
the sparse engine have three times as much each.
"""
PROFILE_PAYS_CYCLES = 300_000_000
"""Simulated cycles from which the second compilation takes less time than it saves, about 90 s against a tenth."""


@dataclass(frozen=True)
class Recipe:
    """How a model is compiled."""

    flat: bool = True
    optimise: bool = True
    """Off: compiles in half the time and runs at a third of the speed, for runs of a few thousand cycles."""
    profile: bool = False
    why: str = ""

    def describe(self) -> str:
        """The recipe in words, with the reason."""
        words = ["flat" if self.flat else "by blocks", *(["with profile"] if self.profile else [])]
        words += [] if self.optimise else ["hardly optimised"]
        return ", ".join(words) + (f" ({self.why})" if self.why else "")


def choose_recipe(
    equal_cores: int,
    *,
    core_bytes: int = 0,
    optimise: bool = True,
    seen: bool = False,
    cycles: float = 0,
    profile: bool = False,
    can_profile: Callable[[], bool] = lambda: True,
) -> Recipe:
    """The recipe for a chip of which so many cores, of so much Verilog each, are equal, and a run of so many cycles.

    `seen`: the bench looks at (waves, coverage) or changes the inside, which only a flat model shows. `profile` asks
    for a profile whatever the length of the run; `can_profile` is asked where a long run gains by one.
    """
    if seen:
        return Recipe(True, optimise, why="its inside is seen")
    if not optimise:
        return Recipe(equal_cores < 2, optimise, why="for a short run")
    pays = cycles >= PROFILE_PAYS_CYCLES and can_profile()
    reasons = ["asked for" if profile else f"{cycles / 1e6:.0f} M cycles pay for it"] if profile or pays else []
    flat = equal_cores < 2 or (equal_cores <= FLAT_CORES and equal_cores * core_bytes <= FLAT_BYTES)
    large = "large " if equal_cores <= FLAT_CORES else ""
    reasons = [*([] if flat else [f"{equal_cores} equal {large}cores"]), *reasons]
    return Recipe(flat, profile=profile or pays, why=", ".join(reasons))
