"""Actors, which make the steps of a run, and the order in which they do.

Hardware orders steps only where the instruction set says so. Each actor here steps in its own order;
between actors any order is legal, and a worklist picks one.
"""

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

__all__ = ["Actor", "Queue", "Worklist"]

CHANGE_OF_MIND = 0.05
"""Chance that an actor gets another priority when it wakes."""


class Actor:
    """Something that takes one step at a time, and sleeps when it cannot until it is woken."""

    awake = False
    priority: float | None = None

    def step(self) -> bool:
        """Take a step if possible; False to sleep."""
        raise NotImplementedError


class Queue(Actor):
    """Events that happen one after the other, but at any time: packets on one way, updates of one pipeline."""

    def __init__(self) -> None:
        self.events: deque[Callable[[], None]] = deque()

    def step(self) -> bool:
        self.events.popleft()()
        return bool(self.events)


class Worklist:
    """Actors that are awake. Without a seed they take turns.

    With a seed each has a random priority, which changes now and then, and the first goes on for as long as it
    can. That starves some actors for long, and so shows far more races than an even random choice
    (Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, ASPLOS 2010).
    """

    def __init__(self, order_seed: int | None) -> None:
        self._random = None if order_seed is None else random.Random(order_seed)
        self._turns: deque[Actor] = deque()
        self._heap: list[tuple[float, int, Actor]] = []
        self._count = 0

    def wake(self, actor: Actor) -> None:
        if actor.awake:
            return
        actor.awake = True
        if self._random is None:
            self._turns.append(actor)
            return
        if actor.priority is None or self._random.random() < CHANGE_OF_MIND:
            actor.priority = self._random.random()
        self._count += 1
        heappush(self._heap, (actor.priority, self._count, actor))

    def run(self) -> None:
        """Step until all sleep."""
        while self._turns or self._heap:
            actor = self._turns.popleft() if self._random is None else heappop(self._heap)[2]
            actor.awake = False
            if actor.step():
                self.wake(actor)
