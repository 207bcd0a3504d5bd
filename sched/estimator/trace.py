"""Observation of an estimate: what each unit does and waits for, told to whoever asks.

The timeline knows nothing of it: a traced one is a timeline of its own kind, so that others pay nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Protocol

from estimator.instructions import Compute, Instruction, Load, Store, Tokens
from estimator.network import Transfer
from estimator.timeline import Timeline, UnitState
from rtl.contract.isa import Opcode, Unit

__all__ = ["Place", "Trace", "TracedTimeline"]

Place = tuple[int, Unit, int]
"""An instruction: core, unit, and its number in their stream."""


class Trace(Protocol):
    """Observer of an estimate; calls come in the order of time. Who derives from it hears what it asks for alone."""

    def begin(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        """An instruction, which is `number` in its stream, has its tokens and starts."""

    def end(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        """Its last pixel has streamed, its last flit has arrived, its last accumulator has drained, or it is over."""

    def wait(self, core: int, unit: Unit, cause: str, begin: float, end: float) -> None:
        """A unit had nothing to do but to wait, for a cause by its name in `Estimate.compute`."""

    def stream(self, core: int, number: int, streaming: float, overhead: float) -> None:
        """A COMPUTE that begins will take so many cycles."""

    def sent(self, core: int, number: int, time: float) -> None:
        """The load unit will be done with a LOAD at that time; its data come later."""

    def served(self, memory: int, core: int, number: int | None, begin: float, end: float) -> None:
        """A memory node has sent the data of a LOAD, or of a fetch (None), to the last core that they are for."""

    def released(self, source: Place, waits: Place, time: float) -> None:
        """A token that one instruction sends comes, for which another has waited; it may go on to wait for more."""


class TracedTimeline(Timeline):
    """A timeline that tells a `Trace`; cycles and traffic are those of any other."""

    def __init__(self, trace: Trace, *args: Any) -> None:
        super().__init__(*args)
        self.trace = trace
        self.stores: defaultdict[int, deque[int]] = defaultdict(deque)
        """Numbers of the STOREs of each core that have begun and not ended."""
        self.waits: dict[tuple[int, Unit], float] = {}
        """Begins of waits that are not over; a unit may be woken in vain."""
        self.source: Place = 0, Unit.LOAD, 0
        """Instruction that sends the tokens that are being sent."""

    def at(self, time: float, action: Callable[..., None], *args: Any) -> None:
        if action == self.signal:
            super().at(time, self.signal_of, self.source, *args)
        else:
            super().at(time, action, *args)

    def signal_of(self, source: Place, arrived: Tokens) -> None:
        """Tokens arrive, and whence they come."""
        for core, token in arrived:
            for unit in self.units[core]:
                if unit.missing == token:
                    self.trace.released(source, (core, unit.unit, unit.index), self.now)
        self.signal(arrived)

    def account(self, unit: UnitState, cause: str) -> None:
        begin = max(unit.last, unit.free)
        if unit.woken_for and self.now > begin:
            self.waits.setdefault((unit.core, unit.unit), begin)
        if cause != unit.woken_for and (unit.core, unit.unit) in self.waits:
            begin = self.waits.pop((unit.core, unit.unit))
            self.trace.wait(unit.core, unit.unit, unit.woken_for, begin, self.now)
        super().account(unit, cause)

    def execute(self, unit: UnitState, instruction: Instruction) -> None:
        number = unit.index - 1
        self.trace.begin(unit.core, unit.unit, number, instruction.opcode, self.now)
        if isinstance(instruction, Store):
            self.stores[unit.core].append(number)
        self.source = unit.core, unit.unit, number
        super().execute(unit, instruction)
        if isinstance(instruction, Compute):
            streaming = float(instruction.streaming)
            self.trace.stream(unit.core, number, streaming, unit.free - self.now - streaming)
        if isinstance(instruction, Load):
            self.trace.sent(unit.core, number, unit.free)
        elif not isinstance(instruction, Store):
            self.at(max(self.now, unit.free), self.tell_end, unit, number)

    def request(self, unit: UnitState, node: int, transfer: Transfer, asks: float, *, program: bool = False) -> None:
        number = None if program else unit.index - 1
        load = None if number is None else unit.program[number]
        assert load is None or isinstance(load, Load)
        begun, done = transfer.begun, transfer.arrived
        left = (1 << unit.core) if load is None else load.cores
        first = last = self.now

        def begins(when: float) -> None:
            nonlocal first
            first = when
            if begun is not None:
                begun(when)

        def told(when: float, cores: int) -> None:
            nonlocal left, last
            left, last = left & ~cores, max(last, when)
            if number is not None:
                assert done is not None
                self.source = unit.core, Unit.LOAD, number
                done(when, cores)
            if not left:
                self.at(last, self.trace.served, node, unit.core, number, first, last)
                if load is not None:
                    self.at(last + load.way, self.tell_end, unit, number)

        transfer.begun, transfer.arrived = begins, told
        super().request(unit, node, transfer, asks, program=program)

    def delivery(self, unit: UnitState, instruction: Store) -> Callable[[float, int], None]:
        deliver, number = super().delivery(unit, instruction), self.stores[unit.core][0]

        def told(when: float, cores: int) -> None:
            self.source = unit.core, Unit.STORE, number
            deliver(when, cores)

        return told

    def stored(self, unit: UnitState, instruction: Store) -> None:
        number = self.stores[unit.core].popleft()
        self.tell_end(unit, number)
        self.source = unit.core, Unit.STORE, number
        super().stored(unit, instruction)

    def tell_end(self, unit: UnitState, number: int) -> None:
        self.trace.end(unit.core, unit.unit, number, unit.program[number].opcode, self.now)
