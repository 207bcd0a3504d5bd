"""Result of a run of the machine."""

from dataclasses import dataclass

import numpy as np

from golden.machine.state import CoreState
from rtl.contract.activity import Activity, CoreActivity, by_class
from rtl.contract.isa import Opcode, Unit
from rtl.contract.regs import ErrorCode

__all__ = ["Blocked", "Result"]


@dataclass(frozen=True)
class Blocked:
    """A unit that waits for ever.

    Attributes
    ----------
    index : int
        Number of the instruction in its stream, from 0.
    tokens : tuple of int
        Counters that are zero and that it waits for.
    """

    core: int
    unit: Unit
    index: int
    opcode: Opcode
    tokens: tuple[int, ...]

    def __str__(self) -> str:
        tokens = ", ".join(str(token) for token in self.tokens)
        return f"core {self.core} {self.unit.name} #{self.index} {self.opcode.name} waits for token {tokens}"


@dataclass(frozen=True, eq=False)
class Result:
    """End of a run.

    Attributes
    ----------
    error : ErrorCode
        NONE, or the first error; WATCHDOG for a deadlock, with `blocked` filled in.
    node, unit : int or None, Unit or None
        Where the error is, as register ERROR tells it.
    cores : tuple of CoreState
        Final memories, token counters, event counts and marks passed.
    read_bytes, write_bytes : int64[memory nodes, traffic classes]
        Whole flits that programs moved from and to DRAM. The fetching of programs is not in them: how
        far a fetch runs ahead of END is the hardware's affair.
    """

    error: ErrorCode
    message: str
    node: int | None
    unit: Unit | None
    blocked: tuple[Blocked, ...]
    cores: tuple[CoreState, ...]
    read_bytes: np.ndarray
    write_bytes: np.ndarray

    @property
    def activity(self) -> Activity:
        """Activity of the run, without time."""
        return Activity(
            cycles=None,
            cores=tuple(CoreActivity.from_counts(core.counts, core.params.engines) for core in self.cores),
            read_bytes=by_class(self.read_bytes.sum(axis=0)),
            write_bytes=by_class(self.write_bytes.sum(axis=0)),
        )

    @property
    def ok(self) -> bool:
        return self.error == ErrorCode.NONE

    def __str__(self) -> str:
        return "done" if self.ok else f"{self.error.name}: {self.message}"
