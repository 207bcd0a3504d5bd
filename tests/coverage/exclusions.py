"""Points that are not counted, each with its reason. One that matches nothing is reported, to be removed."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property

from tests.coverage.points import Point

__all__ = ["EXCLUSIONS", "Exclusion"]


@dataclass(frozen=True)
class Exclusion:
    """Regular expressions that must match a point's module, signal and detail as a whole.

    Attributes
    ----------
    copies : bool
        Only of signals a.b whose whole, a, is counted itself.
    """

    reason: str
    kinds: tuple[str, ...]
    module: str = ".*"
    name: str = ".*"
    detail: str = ".*"
    copies: bool = False

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return re.compile(self.module), re.compile(self.name), re.compile(self.detail)

    def matches(self, point: Point, counted: Container[tuple[str, str]] = frozenset()) -> bool:
        """`counted`: module and name of all signals whose toggles are counted."""
        module, name, detail = self._patterns
        if self.copies and not any((point.module, whole) in counted for whole in _wholes(point.name)):
            return False
        return (
            point.kind in self.kinds
            and name.fullmatch(point.name) is not None
            and module.fullmatch(point.module.partition("#")[0]) is not None
            and detail.fullmatch(point.detail) is not None
        )

    def describe(self) -> str:
        parts = [f"{' '.join(self.kinds)} of {self.name}", f"in {self.module}"]
        parts += [f"at {self.detail}"] if self.detail != ".*" else []
        parts += ["whose whole is counted"] if self.copies else []
        return " ".join(parts)


def _wholes(name: str) -> Iterator[str]:
    """The structures that a field lies in."""
    for at, letter in enumerate(name):
        if letter == ".":
            yield name[:at]


def _bits(first: int, last: int) -> str:
    """Pattern of both toggles of some bits."""
    return rf"\[({'|'.join(map(str, range(first, last + 1)))})\].*"


EXCLUSIONS: tuple[Exclusion, ...] = (
    Exclusion(
        "yosys writes this constant into always blocks so that simulators run them once; it is never true",
        ("line", "branch"),
        detail=r"\d+( if| else)?: if \(\$ \) begin end",
    ),
    Exclusion("the same constant", ("toggle",), name=r"\$auto\$verilog_backend\..*"),
    Exclusion(
        "no signal of the source, but a wire of yosys for an operator in an expression: the signals that it is made of "
        "and what it makes are counted",
        ("toggle",),
        name=r"\$(\d+|auto\$.*)",
    ),
    Exclusion(
        "a field of a structure, which Verilog has a second time as a wire: the whole is counted (of a whole of more "
        "than 256 bits, which Verilator leaves out, the fields are)",
        ("toggle",),
        name=r".*[^$].*\..*",
        copies=True,
    ),
    Exclusion(
        "a constant by its contract: where a block sits in the mesh, and what lies behind its ports (what was hit is "
        "its rise at time 0)",
        ("toggle",),
        name=r"(reach__\d+|capacity__\d+|sink|node|home)(\$\d+)?",
    ),
    Exclusion(
        "the register of a pixel has no activations: they join it at the scratchpad's output, behind the register",
        ("toggle",),
        module=r".*\.compute\.streamer",
        name=r"pixel\.act",
    ),
    Exclusion(
        "a packet that is a signal has no data: zero by construction (64 bits, the links of both covered cores)",
        ("toggle",),
        module=r".*\.logic\.signals",
        name="o__payload",
        detail=_bits(0, 63),
    ),
    Exclusion(
        "the same packet where it joins the others",
        ("toggle",),
        module=r".*\.logic(\.outbound)?",
        name="i__0__payload",
        detail=_bits(0, 63),
    ),
    Exclusion(
        "bits of a debug word behind the last of the chip's 64 tokens, or fewer",
        ("toggle",),
        name=r"debug\.TOKENS_NONZERO_HIGH",
        detail=_bits(16, 47),
    ),
    Exclusion(
        "bits of a debug word behind its two counts of 16 bits",
        ("toggle",),
        name=r"debug\.OUTSTANDING",
        detail=_bits(32, 47),
    ),
    Exclusion(
        "bits of a debug word between its fields: a unit has four states and three wait ranges",
        ("toggle",),
        name=r"debug\.(LOAD|COMPUTE|STORE)_STATE",
        detail=rf"{_bits(6, 7)}|{_bits(11, 15)}",
    ),
)
