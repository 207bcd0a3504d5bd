"""What a user may ask of the sparse engine beside a network: for arms of comparisons, all on one build of the chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rtl.contract.params import ChipParams, CoreParams
from scheduler.alike import UNMAPPED
from scheduler.errors import PlanError
from scheduler.work.activations import ACTIVATIONS, Activations, Detail

__all__ = ["BALANCES", "SKIPS", "SparseOptions"]

SKIPS = ("both", "weights", "activations")
"""Whose zeros are left out. With `activations` alone every weight is listed, zeros too."""
BALANCES = ("pairing", "none")
"""`pairing`: heavy and light filters share a column of PEs, in fully connected layers a block, too
(`golden.int8.dealing`); `none`: filters stay in their order. The rotation of lanes is in the hardware: part of both."""
RUN_AHEAD = 4
"""Beyond, little is won: what is left are lists of unequal length."""


@dataclass(frozen=True)
class SparseOptions:
    """How layers are done on sparse engines.

    Attributes
    ----------
    run_ahead : int, optional
        Items that a PE may be ahead of the slowest one, 0 for lockstep; otherwise `RUN_AHEAD`, or as many as the
        engine has slots for.
    skip : str
        One of `SKIPS`.
    balance : str
        One of `BALANCES`.
    detail : str
        One of `scheduler.work.activations.ACTIVATIONS`: what predictions may know of the activations.
    activations : Activations, optional
        What they know; without, they assume a density.
    """

    run_ahead: int | None = None
    skip: str = SKIPS[0]
    balance: str = BALANCES[0]
    detail: Detail = ACTIVATIONS[0]
    activations: Annotated[Activations | None, UNMAPPED] = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("SKIP", self.skip, SKIPS), ("BALANCE", self.balance, BALANCES), ("ACTIVATIONS", self.detail, ACTIVATIONS),
        ):  # fmt: skip
            if value not in known:
                raise PlanError(f"{name}={value}: use {', '.join(known)}")
        if self.run_ahead is not None and self.run_ahead < 0:
            raise PlanError(f"RUN_AHEAD={self.run_ahead}: give items by which PEs may be ahead, 0 or more")

    @property
    def words(self) -> list[str]:
        """What is not as usual, in words."""
        found = [] if self.run_ahead is None else [f"ahead{self.run_ahead}"]
        found += [] if self.skip == SKIPS[0] else [f"skip-{self.skip}"]
        found += [] if self.balance == BALANCES[0] else ["unbalanced"]
        return found + ([] if self.detail == ACTIVATIONS[0] else [f"by-{self.detail}"])

    def ahead(self, core: CoreParams) -> int:
        """Items that PEs of a core may be ahead."""
        return min(RUN_AHEAD, core.sparse_slots - 1) if self.run_ahead is None else self.run_ahead

    def check(self, chip: ChipParams) -> None:
        """Refuse what a chip cannot do.

        Raises
        ------
        PlanError
            For options of sparse engines on a chip without one, and for more items ahead than one has slots for.
        """
        cores = [core for core in chip.cores if "sparse" in core.engines]
        if not cores and self.words:
            raise PlanError("the chip has no sparse engine: leave RUN_AHEAD, SKIP, BALANCE and ACTIVATIONS out")
        slots = min((core.sparse_slots for core in cores), default=0)
        if cores and self.run_ahead is not None and self.run_ahead >= slots:
            raise PlanError(f"RUN_AHEAD={self.run_ahead}: the engine has {slots} slots, so at most {slots - 1}")
