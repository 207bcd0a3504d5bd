"""The share of a core's memories and tokens that a part of a launch may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rtl.contract.params import ChipParams, CoreParams

__all__ = ["BOTH_BANKS", "Accumulators", "Barriers", "Budget", "Range"]

FEW_CORES = 6
"""As many cores each tell all others sooner than in two rounds."""


class Range(NamedTuple):
    """[first, end)."""

    first: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.first


class Accumulators(NamedTuple):
    """Banks that parts of a launch fill in turn.

    Attributes
    ----------
    banks : tuple of int
    token : int
        First of their two counters.
    """

    banks: tuple[int, ...] = (0, 1)
    token: int = 0

    @property
    def tokens(self) -> Range:
        """Counters of banks that are full, and of banks that are free."""
        return Range(self.token, self.token + 2)


BOTH_BANKS = Accumulators()


class Barriers(NamedTuple):
    """Counters by which the cores tell each other about the parts of a launch.

    On a chip of several rows and more than `FEW_CORES` cores, a core tells its row, and then for the row its column:
    counters and signals grow with the sides of the mesh. Elsewhere it tells all cores, with no round before.

    Attributes
    ----------
    idle : Range
        A single one: the compute unit has come to a part in which the core computes nothing. For the store unit.
    done : Range
        A single one: the compute unit has come past the end of a part. For the load unit.
    data : Range
        Of every core: what it stored to this one has arrived. Such tokens come with the data.
    row : Range
        Of every core of the row by its column, none where no row is told: it is done with a part. For the store unit.
    computed : Range
        Of every row, or every core: its cores have computed a part. For the compute unit.
    written : Range
        The same, of parts whose output in DRAM later ones read: it is there. For the load unit.
    """

    idle: Range
    done: Range
    data: Range
    row: Range
    computed: Range
    written: Range

    @staticmethod
    def of(chip: ChipParams) -> Barriers:
        """Of a launch of several parts: the last counters."""
        row = chip.mesh_width if Barriers.by_rows(chip) else 0
        told = chip.mesh_height if row else chip.n_cores
        ranges: list[Range] = []
        end = chip.tokens
        for size in (told, told, row, chip.n_cores, 1, 1):
            ranges.append(Range(end - size, end))
            end -= size
        return Barriers(*ranges[::-1])

    @staticmethod
    def by_rows(chip: ChipParams) -> bool:
        """Whether a core tells its row first."""
        return chip.mesh_height > 1 and chip.mesh_width > 1 and chip.n_cores > FEW_CORES

    @property
    def first(self) -> int:
        """First counter of all."""
        return self.idle.first


@dataclass(frozen=True)
class Budget:
    """Parts of a launch whose budgets do not overlap need not wait for each other's memory.

    Accumulators are the exception: parts that share them go on with the turns of those before, so that each waits for
    its bank as within a part.

    Attributes
    ----------
    tokens : Range
        Counters, the same on every core of the part.
    act, weight : Range
        Bytes of the scratchpads, from whole words on.
    params : Range
        Blocks of the parameter memory.
    acc : Accumulators
        Shared with the parts that have the same.
    """

    tokens: Range
    act: Range
    weight: Range
    params: Range
    acc: Accumulators = BOTH_BANKS

    @staticmethod
    def whole(core: CoreParams, chip: ChipParams) -> Budget:
        """All of a core, for a launch of one part."""
        return Budget(
            Range(BOTH_BANKS.tokens.end, chip.tokens), Range(0, core.act_bytes), Range(0, core.weight_bytes),
            Range(0, core.param_blocks),
        )  # fmt: skip

    def check(self, core: CoreParams, chip: ChipParams) -> None:
        """Raise a ValueError if the budget is not a part of the core."""
        act, weight = core.act_word_bytes(chip.link_bytes), max(core.cols, chip.link_bytes)
        for name, (first, end), limit, align in (
            ("tokens", self.tokens, chip.tokens, 1),
            ("act", self.act, core.act_bytes, act),
            ("weight", self.weight, core.weight_bytes, weight),
            ("params", self.params, core.param_blocks, 1),
        ):
            if not 0 <= first < end <= limit or first % align:
                rule = f"a range within 0..{limit}" + (f" from a multiple of {align} on" if align > 1 else "")
                raise ValueError(f"budget.{name} is {first}..{end}: it must be {rule}")
        if self.acc.banks not in ((0,), (1,), (0, 1)):
            raise ValueError(f"budget.acc.banks is {self.acc.banks}: it must be (0,), (1,) or (0, 1)")
        if self.acc.token < self.tokens.end and self.tokens.first < self.acc.tokens.end:
            raise ValueError(f"budget.acc has counters {self.acc.tokens}: none may lie in budget.tokens {self.tokens}")
