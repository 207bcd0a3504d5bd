"""Contract between the machine and an engine: what it is asked, and what it answers.

An engine knows the meaning of its own passes alone. Order, tokens, counting and the write into the accumulators are the
machine's, and how operands are read is `golden.machine.operands`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from golden.machine.checker import Checker
from golden.machine.operands import Fields
from golden.machine.state import CoreState

__all__ = ["EngineModel", "Sums"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Sums:
    """Accumulator update of all passes of a COMPUTE.

    Attributes
    ----------
    values : int32[pixels, lanes]
        Of the first lanes; those behind them are left undefined.
    combine : ufunc
        What an accumulating COMPUTE does with them and the accumulators' values.
    """

    values: np.ndarray
    combine: np.ufunc = np.add


class EngineModel(Protocol):
    """Meaning of one engine's instructions."""

    def check_setup(self, check: Checker, fields: Fields) -> None:
        """Rules of a SETUP that are the engine's own."""
        ...

    def extent(self, geometry: Fields, fields: Fields) -> tuple[int, int]:
        """Passes of a COMPUTE, and pixels that stream in each."""
        ...

    def run(self, core: CoreState, geometry: Fields, fields: Fields) -> Sums:
        """Read the operands of a COMPUTE whose fields are checked, and add them up.

        Parameters
        ----------
        geometry : dict
            Fields of the last SETUP.

        Raises
        ------
        Fault
            WEIGHT_RANGE or ACT_RANGE.
        """
        ...
