"""Memory nodes as servers of reads and writes.

A node answers reads one after the other, at one flit per cycle, those of instructions before all others; writes of
several cores share its one flit per cycle of write bandwidth, those that come slowly take no more than they can. When
memory cannot carry both, reads and writes get half each, less what one of them does not need. Rates stay the same
between two events, so nothing is simulated cycle by cycle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["MemoryServer", "ReadJob", "WriteJob"]

EPSILON = 1e-6


@dataclass(eq=False)
class ReadJob:
    """A LOAD, or a block of instructions.

    Attributes
    ----------
    flits : float
        Left to send, with what its bursts cost beside.
    cores : tuple of int
        Where it goes.
    ready : float
        When its first flit can leave the memory.
    done : callable
        Called with the time at which the last flit left.
    """

    flits: float
    cores: tuple[int, ...]
    ready: float
    done: Callable[[float], None]


@dataclass(eq=False)
class WriteJob:
    """Flits of a STORE; `done` as in `ReadJob`.

    Attributes
    ----------
    limit : float
        Flits per cycle that the store unit delivers.
    rate : float
        Of these, what the memory takes now.
    """

    flits: float
    done: Callable[[float], None]
    limit: float = 1.0
    rate: float = 0.0


@dataclass(eq=False)
class MemoryServer:
    """One memory node.

    Attributes
    ----------
    capacity : float
        Flits per cycle, reads and writes together.
    """

    capacity: float
    programs: deque[ReadJob] = field(default_factory=deque)
    reads: deque[ReadJob] = field(default_factory=deque)
    writes: list[WriteJob] = field(default_factory=list)
    now: float = 0.0
    read_rate: float = 0.0
    version: int = 0
    busy_flits: float = 0.0

    def active_read(self) -> ReadJob | None:
        """The read under way, if its data have come."""
        for queue in (self.programs, self.reads):
            if queue and queue[0].ready <= self.now + EPSILON:
                return queue[0]
        return None

    def settle(self, now: float) -> None:
        """Account for what happened since the last event."""
        elapsed = now - self.now
        if elapsed > 0:
            head = self.active_read()
            if head is not None:
                head.flits -= elapsed * self.read_rate
                self.busy_flits += elapsed * self.read_rate
            for job in self.writes:
                job.flits -= elapsed * job.rate
                self.busy_flits += elapsed * job.rate
        self.now = now

    def set_rates(self, read_limit: float) -> bool:
        """Divide the bandwidth; the network takes at most `read_limit` flits per cycle. True if rates changed."""
        read = read_limit if self.active_read() is not None else 0.0
        write = min(1.0, sum(job.limit for job in self.writes))
        if read + write > self.capacity:
            read, write = (
                min(read, max(self.capacity / 2, self.capacity - write)),
                min(write, max(self.capacity / 2, self.capacity - read)),
            )
        changed = read != self.read_rate
        self.read_rate = read
        # Equal shares, but for those who cannot use theirs: the slowest first.
        slow_first = sorted(self.writes, key=lambda job: job.limit)
        for number, job in enumerate(slow_first):
            rate = min(job.limit, write / (len(slow_first) - number))
            write -= rate
            changed |= rate != job.rate
            job.rate = rate
        return changed

    def next_event(self) -> float | None:
        """When something completes, or the data of the next read come, if nothing else happens."""
        head = self.active_read()
        queues = (self.programs, self.reads)
        times = [queue[0].ready for queue in queues if queue and queue[0].ready > self.now + EPSILON]
        if head is not None:
            times.append(self.now + max(0.0, head.flits) / self.read_rate)
        if self.writes:
            times.append(self.now + max(0.0, min(job.flits / job.rate for job in self.writes)))
        return min(times, default=None)

    def completed(self) -> list[ReadJob | WriteJob]:
        """Take out what is done by now."""
        out: list[ReadJob | WriteJob] = []
        head = self.active_read()
        if head is not None and head.flits <= EPSILON:
            queue = self.programs if self.programs and self.programs[0] is head else self.reads
            out.append(queue.popleft())
        finished = [job for job in self.writes if job.flits <= EPSILON]
        if finished:
            self.writes = [job for job in self.writes if job.flits > EPSILON]
            out += finished
        return out
