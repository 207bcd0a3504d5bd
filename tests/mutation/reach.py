"""Proof that a state is never reached, by property-directed reachability (IC3).

Frame k is a set of clauses that hold in all states of the first k cycles. A state of the last frame in which
something bad can happen is traced back: either a frame is found from which it cannot be entered, and what made that so
becomes a clause, or it is traced to the start. When two frames have the same clauses, they hold for ever.

A. Bradley, "SAT-Based Model Checking without Unrolling", VMCAI 2011; N. Een, A. Mishchenko, R. Brayton, "Efficient
Implementation of Property Directed Reachability", FMCAD 2011.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from tests.mutation.graph import Graph, Oracle

__all__ = ["Bit", "never"]

Cube = frozenset[int]
"""Literals of the present state that are all true."""


@dataclass(frozen=True)
class Bit:
    """Of the state."""

    now: int
    """A free literal."""
    after: int
    """The same a cycle later."""
    initial: int


class _OutOfTimeError(Exception):
    pass


def never(graph: Graph, bits: Sequence[Bit], bad: int, deadline: float) -> bool:
    """Whether it is proved that ``bad`` is false in every state that is reached from the initial one.

    False may also mean that there was no time, or that the laws of the graph allow more than there is.
    """
    with Oracle(graph, deadline) as oracle:
        try:
            return _Reach(graph, bits, bad, oracle).proved()
        except _OutOfTimeError:
            return False


class _Reach:
    def __init__(self, graph: Graph, bits: Sequence[Bit], bad: int, oracle: Oracle) -> None:
        self._graph, self._oracle, self._bad = graph, oracle, bad
        self._after = {bit.now: bit.after for bit in bits} | {bit.now ^ 1: bit.after ^ 1 for bit in bits}
        self._initial = frozenset(bit.now ^ 1 ^ bit.initial for bit in bits)
        self._state = [bit.now for bit in bits]
        state = {bit.now >> 1 for bit in bits}
        self._others = [
            2 * node for node, gate in enumerate(graph.gates) if gate is None and node and node not in state
        ]
        self._frames: list[set[Cube]] = [set()]
        """By frame: cubes that it excludes and the next one does not."""
        self._active = [graph.free()]
        """Literals that make the solver respect a frame. Frame 0 is the initial state."""
        for literal in self._initial:
            oracle.demand_one_of([self._active[0] ^ 1, literal])

    def proved(self) -> bool:
        if self._possible([*self._from(0), self._bad]):
            return False
        while True:
            self._frames.append(set())
            self._active.append(self._graph.free())
            while self._possible([*self._from(-1), self._bad]):
                if not self._excluded(self._enough([self._bad ^ 1]), len(self._frames) - 1):
                    return False
            if self._repeats():
                return True

    def _possible(self, literals: Iterable[int]) -> bool:
        found = self._oracle.possible(*literals)
        if found is None:
            raise _OutOfTimeError
        return found

    def _from(self, frame: int) -> list[int]:
        return self._active[frame:]

    def _enough(self, otherwise: Sequence[int]) -> Cube:
        """Of the state that was just found: as much as it takes, with the same inputs, so that not ``otherwise``."""
        value = self._oracle.value
        inputs = [one ^ (not value(one)) for one in self._others if self._oracle.knows(one)]
        state = [one ^ (not value(one)) for one in self._state]
        asked = self._graph.free()
        self._oracle.demand_one_of([asked ^ 1, *otherwise])
        if self._possible([asked, *inputs, *state]):
            raise AssertionError("the same state and inputs have two outcomes")
        needed = self._oracle.needed(state)
        self._oracle.demand(asked ^ 1)
        return frozenset(needed)

    def _entered(self, cube: Cube, frame: int) -> Cube | None:
        """None: from the rest of a frame, a cycle leads into the cube. Else the literals of it that prevent that."""
        asked = self._graph.free()
        self._oracle.demand_one_of([asked ^ 1, *(literal ^ 1 for literal in cube)])
        after = {literal: self._after[literal] for literal in cube}
        if self._possible([asked, *self._from(frame), *after.values()]):
            return None
        needed = set(self._oracle.needed(after.values()))
        self._oracle.demand(asked ^ 1)
        return self._without_start({literal for literal in cube if after[literal] in needed}, cube)

    def _without_start(self, part: set[int], cube: Cube) -> Cube:
        """The part, and if the initial state lies in it, a literal more."""
        if part <= self._initial:
            part.add(min(cube - self._initial))
        return frozenset(part)

    def _excluded(self, cube: Cube, frame: int) -> bool:
        """Whether no state of a cube can be reached within so many cycles; if so the frames know it."""
        last, count = len(self._frames) - 1, 0
        waiting = [(frame, count, cube)]
        while waiting:
            frame, _, cube = heappop(waiting)
            if cube <= self._initial:
                return False
            if any(known <= cube for row in self._frames[frame:] for known in row):
                continue
            part = self._entered(cube, frame - 1)
            count += 1
            if part is None:
                before = self._enough([self._after[literal] ^ 1 for literal in cube])
                heappush(waiting, (frame, count, cube))
                heappush(waiting, (frame - 1, count, before))
                if frame == 1:
                    return False
                continue
            part = self._smaller(part, frame)
            while frame < last and self._entered(part, frame) is not None:
                frame += 1
            self._learn(part, frame)
            if frame < last:
                heappush(waiting, (frame + 1, count, cube))
        return True

    def _smaller(self, cube: Cube, frame: int) -> Cube:
        """A larger set of states that cannot be entered either: fewer literals."""
        for literal in sorted(cube):
            rest = cube - {literal}
            if literal in cube and not rest <= self._initial:
                part = self._entered(rest, frame - 1)
                cube = cube if part is None else part
        return cube

    def _learn(self, cube: Cube, frame: int) -> None:
        for row in self._frames[1 : frame + 1]:
            row -= {known for known in row if cube <= known}
        self._frames[frame].add(cube)
        self._oracle.demand_one_of([self._active[frame] ^ 1, *(literal ^ 1 for literal in cube)])

    def _repeats(self) -> bool:
        """Move to the next frame what holds there as well; whether two frames have become the same."""
        for frame in range(1, len(self._frames) - 1):
            for cube in list(self._frames[frame]):
                if self._entered(cube, frame) is not None:
                    self._learn(cube, frame + 1)
            if not self._frames[frame]:
                return True
        return False
