"""What cores send to cores: flits of STOREs, which wait for each other where several go to one core.

Every core takes a flit a cycle. What memory nodes do not need of that (up to half of it they get in any case) those
cores share who send to it; a STORE to several cores goes as fast as the slowest of them. What a core sends stays in
order. Between two events rates stay the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import inf

__all__ = ["Ports", "SendJob"]

EPSILON = 1e-6
SHARE = 0.5
"""Flits per cycle of a port that memory nodes get at least, and cores that send more."""


@dataclass(slots=True, eq=False)
class SendJob:
    """Flits of a STORE.

    Attributes
    ----------
    flits : float
        Not yet taken.
    cores : int
        Bit mask of those that it goes to.
    limit : float
        Flits per cycle that the store unit delivers.
    earliest : float
        When the last accumulator entry can be read, at the earliest.
    left, done : callable
        Called with the times at which the last flit left the store unit, and was taken.
    sent : bool
        It has left the store unit.
    """

    flits: float
    cores: int
    limit: float
    earliest: float
    left: Callable[[float], None]
    done: Callable[[float], None]
    sent: bool = False


class Ports:
    """The ports of all cores.

    Parameters
    ----------
    buffered : int
        Flits of a core that the network holds: so far a store unit runs ahead of the ports.
    """

    def __init__(self, cores: int, buffered: int) -> None:
        self.buffered = buffered
        self.queues: list[deque[SendJob]] = [deque() for _ in range(cores)]
        self.busy: list[int] = []
        """Cores that send."""
        self.rates: tuple[float, ...] = ()
        """Flits per cycle of each of them."""
        self.taken = (0.0,) * cores
        """Flits per cycle of each core's port that memory nodes have to leave."""
        self.room: tuple[float, ...] = ()
        """Flits per cycle that each core takes."""
        self.now = 0.0
        self.version = 0

    def send(self, source: int, job: SendJob) -> None:
        """A store unit begins a STORE to cores."""
        self.queues[source].append(job)

    def settle(self, now: float) -> None:
        """Account for what happened since the last event."""
        elapsed = now - self.now
        if elapsed <= 0:
            return
        for core, rate in zip(self.busy, self.rates, strict=True):
            self.queues[core][0].flits -= elapsed * rate
        self.now = now

    def find_heads(self) -> bool:
        """Who sends now; True if memory nodes have to share other ports than before."""
        before = self.taken
        self.busy = [core for core, queue in enumerate(self.queues) if queue]
        self.rates = (0.0,) * len(self.busy)
        self.taken = wanted(tuple([self._head(core) for core in self.busy]), len(self.queues))
        return self.taken != before

    def set_rates(self, room: tuple[float, ...]) -> None:
        """Divide what the ports take among those that send."""
        self.room = room
        self.rates = fair_rates(tuple([self._head(core) for core in self.busy]), room)

    def _head(self, core: int) -> tuple[int, float]:
        """Cores to which one sends now, and at most how fast."""
        head = self.queues[core][0]
        return head.cores, head.limit

    def next_event(self) -> float:
        """Time at which something has been taken or has left its store unit, if nothing else happens; or infinity."""
        event = inf
        for core, rate in zip(self.busy, self.rates, strict=True):
            if not rate:  # two memory nodes turn to a port at once, and one of them has not yet heard of the other
                continue
            queue = self.queues[core]
            event = min(event, self.now + max(0.0, queue[0].flits) / rate)
            for job, ahead in self._leaving(queue):
                event = min(event, max(job.earliest, self.now + ahead / rate))
        return event

    def completed(self) -> Iterator[Callable[[float], None]]:
        """Take out what has been taken by now, and what has left its store unit."""
        for core in self.busy:
            queue = self.queues[core]
            taken = queue[0].flits <= EPSILON
            for job, ahead in list(self._leaving(queue)):
                if (ahead <= EPSILON and job.earliest <= self.now + EPSILON) or (taken and job is queue[0]):
                    job.sent = True
                    yield job.left
            if taken:
                yield queue.popleft().done

    def _leaving(self, queue: deque[SendJob]) -> Iterator[tuple[SendJob, float]]:
        """The STORE that is still in a store unit, if any, and flits that must be taken before it is not."""
        if queue and not queue[-1].sent:
            yield queue[-1], max(0.0, sum([job.flits for job in queue]) - self.buffered)


@lru_cache(maxsize=1 << 16)
def wanted(senders: tuple[tuple[int, float], ...], cores: int) -> tuple[float, ...]:
    """Flits per cycle that senders, as in `fair_rates`, would take of each port, but at most their share."""
    return tuple([min(SHARE, sum([limit for mask, limit in senders if mask >> core & 1])) for core in range(cores)])


@lru_cache(maxsize=1 << 16)
def fair_rates(senders: tuple[tuple[int, float], ...], ports: tuple[float, ...]) -> tuple[float, ...]:
    """Flits per cycle of each sender, of which the cores that it sends to (a mask) and its limit are given.

    Equal shares of each port, but for those that can use less.

    Parameters
    ----------
    ports : tuple of float
        Flits per cycle that each core takes.
    """
    rates = [0.0] * len(senders)
    waiting = set(range(len(senders)))
    room = {core: ports[core] for cores, _ in senders for core in _bits(cores)}
    while waiting:
        share = {core: room[core] / n for core in room if (n := sum(senders[i][0] >> core & 1 for i in waiting))}
        rate, least = min((min(senders[i][1], *(share[core] for core in _bits(senders[i][0]))), i) for i in waiting)
        rates[least] = rate
        waiting.remove(least)
        for core in _bits(senders[least][0]):
            room[core] -= rate
    return tuple(rates)


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
