"""Whatever can make the next step of a run, and the order in which they do.

Hardware orders steps only where the instruction set says so. Each actor here steps in its own order;
between actors any order is legal, and a worklist picks one.
"""

import random
from collections import deque
from collections.abc import Callable

__all__ = ["Actor", "Queue", "Worklist"]


class Actor:
    """Takes one step at a time; sleeps when it cannot, until it is woken."""

    awake = False
    reluctant = False
    """Picked twenty times as rarely as others, so that far-fetched orders come up too."""

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
    """Actors that are awake; without a seed they take turns, with a seed chance picks one."""

    def __init__(self, order_seed: int | None) -> None:
        self._random = None if order_seed is None else random.Random(order_seed)
        self._awake: deque[Actor] | list[Actor] = deque() if self._random is None else []

    def admit(self, actor: Actor) -> None:
        """Give a new actor its temper."""
        if self._random is not None:
            actor.reluctant = self._random.random() < 0.4

    def wake(self, actor: Actor) -> None:
        if not actor.awake:
            actor.awake = True
            self._awake.append(actor)

    def run(self) -> None:
        """Step until all sleep."""
        while self._awake:
            actor = self._pick()
            actor.awake = False
            if actor.step():
                self.wake(actor)

    def _pick(self) -> Actor:
        awake = self._awake
        if isinstance(awake, deque):
            return awake.popleft()
        assert self._random is not None
        while True:
            index = int(self._random.random() * len(awake))
            if not awake[index].reluctant or self._random.random() < 0.05:
                awake[index], awake[-1] = awake[-1], awake[index]
                return awake.pop()
