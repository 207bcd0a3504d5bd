"""The share of a core's memories and tokens that a part of a launch may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rtl.contract.params import ChipParams, CoreParams

__all__ = ["BOTH_BANKS", "Accumulators", "Barriers", "Budget", "Range"]


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
    """Counters by which the cores tell each other about the parts of a launch; of each kind one for every core.

    Attributes
    ----------
    data : Range
        What a core stored to this one has arrived. Such tokens come with the data.
    computed : Range
        A core has computed a part: for the compute units.
    done : Range
        The same, for the load units.
    idle : Range
        A single one: the compute unit has come to a part in which the core computes nothing.
    """

    idle: Range
    data: Range
    computed: Range
    done: Range

    @staticmethod
    def of(chip: ChipParams) -> Barriers:
        """Of a launch of several parts: the last counters."""
        data, computed, done = (chip.tokens - number * chip.n_cores for number in (3, 2, 1))
        return Barriers(
            Range(data - 1, data), Range(data, computed), Range(computed, done), Range(done, chip.tokens)
        )

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
