"""Compares what the chip wrote with what golden.int8.ops computed, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

__all__ = ["Difference", "Scoreboard", "compare"]


@dataclass(frozen=True)
class Difference:
    """The first element that differs, in the order channel, row, column, and how many do.

    `layer` is the launch's name; `inside` says which of its layers, and of its pictures, where it has several.
    """

    layer: str
    channel: int
    row: int
    column: int
    got: int
    expected: int
    count: int
    size: int
    inside: str = ""

    def __str__(self) -> str:
        inside = f", {self.inside}" if self.inside else ""
        return (
            f"{self.layer}{inside}: channel {self.channel}, row {self.row}, column {self.column}: got {self.got}, "
            f"expected {self.expected} ({self.count} of {self.size} values differ)"
        )


def compare(layer: str, got: np.ndarray, expected: np.ndarray) -> Difference | None:
    """The first difference of two int8[C, H, W], or None."""
    if got.shape != expected.shape:
        raise ValueError(f"{layer}: shapes {got.shape} and {expected.shape} cannot be compared")
    wrong = got != expected
    count = int(np.count_nonzero(wrong))
    if not count:
        return None
    channel, row, column = (int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return Difference(
        layer, channel, row, column, int(got[channel, row, column]), int(expected[channel, row, column]),
        count, wrong.size,
    )  # fmt: skip


@dataclass
class Scoreboard:
    """The verdict on every tensor."""

    expected: Mapping[str, np.ndarray]
    """What every tensor must be, by its name."""
    compared: int = 0
    """Values compared so far."""
    differences: list[Difference] = field(default_factory=list)
    """The differing tensors, in the order of the checks."""

    @property
    def mismatches(self) -> int:
        """Values that differ."""
        return sum(difference.count for difference in self.differences)

    def check(self, layer: str, tensor: str, got: np.ndarray, inside: str = "") -> bool:
        """Compare one tensor, of a layer inside a launch; True if every value is right."""
        difference = compare(layer, got, self.expected[tensor])
        self.compared += got.size
        if difference is not None:
            self.differences.append(replace(difference, inside=inside))
        return difference is None
