"""Contract between the estimator and an engine: what a pass costs, and what a COMPUTE costs around its passes.

Each figure is stated once, in the engine's file; the timeline, and the scheduler before there are instructions, ask
for it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from estimator.coefficients import Coefficients, EngineCycles
from rtl.contract.params import CoreParams

__all__ = ["EngineTiming", "Fields", "Pass"]

Fields = dict[str, int]


class Pass(NamedTuple):
    """Shape of a pass: what streams in it.

    Attributes
    ----------
    height, width : int
        Output pixels.
    stride_w : int
        Input columns from one output column to the next; only engines with a window read it.
    columns : int
        Kernel columns that a window applies at once; 0 without one.
    weightless : bool
        It reads no weights, and so waits for none.
    items, rounds : int
        Kernel positions that each pixel brings one after the other, and rounds of the lists, of an engine whose passes
        are blocks.
    ahead : int
        Items that may be read before the slowest PE is done with the first of them.
    skips : bool
        Activations that are zero cost such an engine nothing.
    pixel_cycles : float
        From pixel to pixel of an engine whose cycles depend on values; 0 if nobody knows.
    """

    height: int
    width: int
    stride_w: int = 1
    columns: int = 0
    weightless: bool = False
    items: int = 1
    rounds: int = 0
    ahead: int = 0
    skips: bool = True
    pixel_cycles: float = 0.0

    @property
    def pixels(self) -> int:
        return self.height * self.width


class EngineTiming:
    """Cycles of one engine.

    Attributes
    ----------
    name : str
        By which its coefficients are found.
    setup_fields : frozenset of str
        Fields of a SETUP on which its cycles depend.
    valued : bool
        Its cycles depend on values of weights and activations.
    banked : bool
        A pass begins when all of its weights are in the engine; they come while the pass before it runs, into a bank of
        their own. Of other engines weights come in the passes' own time.
    cycles : EngineCycles, optional
        As read off its design, for an engine that the coefficient file does not have yet.
    """

    name: ClassVar[str]
    setup_fields: ClassVar[frozenset[str]]
    valued: ClassVar[bool] = False
    banked: ClassVar[bool] = False
    cycles: ClassVar[EngineCycles | None] = None

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        """Passes of a COMPUTE, and what streams in each."""
        raise NotImplementedError

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        """Cycles from the first pixel of a pass to that of the next."""
        raise NotImplementedError

    def last_cycles(self, core: CoreParams, streamed: Pass) -> int:
        """Cycles of the last pass of a COMPUTE: as many as of the others, if these do not wait for weights."""
        return self.pass_cycles(core, streamed)

    def lead_cycles(self, core: CoreParams, streamed: Pass) -> int:
        """Cycles from when the weights of a COMPUTE may come to its first pixel, of an engine with banks."""
        return 0

    def ahead_cycles(self, streamed: Pass) -> float:
        """Cycles by which the last pixel of a COMPUTE is read before its time is over."""
        return 0.0

    def pass_pixels(self, streamed: Pass) -> int:
        """Pixels that stream in a pass, as the engine's counter counts them."""
        return streamed.pixels

    def operations(self, setup: Fields, passes: int, streamed: Pass) -> Mapping[int, int]:
        """How often it does what its spec's `operations` count in so many passes, by number of counter."""
        return {}

    def way_cycles(self, core: CoreParams) -> int:
        """Cycles of a pixel's way through the engine that grow with its size."""
        return 0

    def start_cycles(self, c: Coefficients) -> float:
        """Cycles of a COMPUTE beyond its passes."""
        return c.of(self.name, self.cycles).start

    def drain_cycles(self, core: CoreParams, c: Coefficients) -> float:
        """Cycles from the last pixel to signal 2."""
        return self.way_cycles(core) + c.of(self.name, self.cycles).drain

    def idle_cycles(self, core: CoreParams, c: Coefficients) -> float:
        """Cycles from the last pixel to the first one that another engine may take."""
        return self.way_cycles(core) + c.of(self.name, self.cycles).idle
