"""Observation of an estimate: begin and end of every instruction, told to whoever asks.

The timeline knows nothing of it: a traced one is a timeline of its own kind, so that others pay nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, Protocol

from estimator.instructions import Instruction, Load, Store
from estimator.network import Transfer
from estimator.timeline import Timeline, UnitState
from rtl.contract.isa import Opcode, Unit

__all__ = ["Trace", "TracedTimeline"]


class Trace(Protocol):
    """Observer of an estimate; calls come in the order of time."""

    def begin(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        """An instruction, which is `number` in its stream, has its tokens and starts."""
        ...

    def end(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        """Its last pixel has streamed, its last flit has arrived, its last accumulator has drained, or it is over."""
        ...


class TracedTimeline(Timeline):
    """A timeline that tells a `Trace`; cycles and traffic are those of any other."""

    def __init__(self, trace: Trace, *args: Any) -> None:
        super().__init__(*args)
        self.trace = trace
        self.stores: defaultdict[int, deque[int]] = defaultdict(deque)
        """Numbers of the STOREs of each core that have begun and not ended."""

    def execute(self, unit: UnitState, instruction: Instruction) -> None:
        number = unit.index - 1
        self.trace.begin(unit.core, unit.unit, number, instruction.opcode, self.now)
        if isinstance(instruction, Store):
            self.stores[unit.core].append(number)
        super().execute(unit, instruction)
        if not isinstance(instruction, Load | Store):
            self.at(max(self.now, unit.free), self.tell_end, unit, number)

    def request(self, unit: UnitState, node: int, transfer: Transfer, asks: float, *, program: bool = False) -> None:
        if not program:
            number, done = unit.index - 1, transfer.arrived
            load = unit.program[number]
            assert isinstance(load, Load)
            assert done is not None
            left = load.cores

            def told(when: float, cores: int) -> None:
                nonlocal left
                done(when, cores)
                left &= ~cores
                if not left:
                    self.at(when + load.way, self.tell_end, unit, number)

            transfer.arrived = told
        super().request(unit, node, transfer, asks, program=program)

    def stored(self, unit: UnitState, instruction: Store) -> None:
        self.tell_end(unit, self.stores[unit.core].popleft())
        super().stored(unit, instruction)

    def tell_end(self, unit: UnitState, number: int) -> None:
        self.trace.end(unit.core, unit.unit, number, unit.program[number].opcode, self.now)
