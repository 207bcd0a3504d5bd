"""Comparison of runs under several sets of constants: a ratio whose sign depends on the set is undecided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Verdict", "compare"]


@dataclass(frozen=True)
class Verdict:
    """What all sets say of one run against another.

    Attributes
    ----------
    ratios : dict of str to float
        Of each set: the run's figure over that of the other.
    """

    ratios: Mapping[str, float]

    @property
    def decided(self) -> bool:
        """Whether all sets agree on which is less."""
        return all(ratio < 1 for ratio in self.ratios.values()) or all(ratio > 1 for ratio in self.ratios.values())

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest relative change."""
        return min(self.ratios.values()) - 1, max(self.ratios.values()) - 1

    def __str__(self) -> str:
        """'-31.2 ... -12.0 %', with 'undecided' in front where the sets disagree on the sign."""
        low, high = (f"{100 * value:+.1f}" for value in self.range)
        text = f"{low} %" if low == high else f"{low} ... {high} %"
        return text if self.decided else f"undecided ({text})"


def compare(run: Mapping[str, float], other: Mapping[str, float]) -> Verdict:
    """One run against another, under the sets that both have figures of.

    Parameters
    ----------
    run, other : dict of str to float
        Energy, or energy-delay product, by set.

    Raises
    ------
    ValueError
        If they have no set in common.
    """
    common = [name for name in run if name in other]
    if not common:
        raise ValueError(f"no set of constants for both: {', '.join(run)} and {', '.join(other)}")
    return Verdict({name: run[name] / other[name] for name in common})
