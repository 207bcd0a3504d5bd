"""Memory nodes as servers of reads and writes.

A node answers reads one after the other, at one flit per cycle, those of instructions before all others; writes of
several cores share its one flit per cycle of write bandwidth, those that come slowly take no more than they can. When
memory cannot carry both, reads and writes get half each, less what one of them does not need. Rates stay the same
between two events, so nothing is simulated cycle by cycle.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter

__all__ = ["MemoryServer", "ReadJob", "WriteJob"]

EPSILON = 1e-6
_limit = attrgetter("limit")


@dataclass(slots=True, eq=False)
class ReadJob:
    """A LOAD, or a block of instructions.

    Attributes
    ----------
    flits : float
        Left to send, with what its bursts cost beside.
    cores : int
        Bit mask of those that it goes to.
    done : callable
        Called with the time at which the last flit left.
    ready : float
        When its first flit can leave the memory.
    """

    flits: float
    cores: int
    done: Callable[[float], None]
    ready: float = 0.0


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class MemoryServer:
    """One memory node.

    Attributes
    ----------
    capacity : float
        Flits per cycle, reads and writes together.
    slow_first : list of WriteJob
        The writes, by their limits.
    head : ReadJob or None
        The read under way, if its data have come.
    sends_to : int
        Bit mask of the cores that it goes to.
    """

    capacity: float
    programs: deque[ReadJob] = field(default_factory=deque)
    reads: deque[ReadJob] = field(default_factory=deque)
    writes: list[WriteJob] = field(default_factory=list)
    slow_first: list[WriteJob] = field(default_factory=list)
    head: ReadJob | None = None
    sends_to: int = 0
    now: float = 0.0
    read_rate: float = 0.0
    version: int = 0
    busy_flits: float = 0.0

    def read(self, job: ReadJob, program: bool = False) -> None:
        """Take a request, of instructions or of data."""
        (self.programs if program else self.reads).append(job)
        self._find_head()

    def write(self, job: WriteJob) -> None:
        """Begin to take flits."""
        self.writes.append(job)
        insort(self.slow_first, job, key=_limit)

    def _find_head(self) -> None:
        for queue in (self.programs, self.reads):
            if queue and queue[0].ready <= self.now + EPSILON:
                self.head = queue[0]
                self.sends_to = self.head.cores
                return
        self.head, self.sends_to = None, 0

    def settle(self, now: float) -> None:
        """Account for what happened since the last event."""
        elapsed = now - self.now
        if elapsed <= 0:
            return
        if self.head is not None:
            self.head.flits -= elapsed * self.read_rate
            self.busy_flits += elapsed * self.read_rate
        for job in self.writes:
            job.flits -= elapsed * job.rate
            self.busy_flits += elapsed * job.rate
        self.now = now
        self._find_head()

    def set_rates(self, read_limit: float) -> bool:
        """Divide the bandwidth; the network takes at most `read_limit` flits per cycle. True if rates changed."""
        read = read_limit if self.head is not None else 0.0
        write = min(1.0, sum([job.limit for job in self.writes]))
        if read + write > self.capacity:
            read, write = (
                min(read, max(self.capacity / 2, self.capacity - write)),
                min(write, max(self.capacity / 2, self.capacity - read)),
            )
        changed = read != self.read_rate
        self.read_rate = read
        # Equal shares, but for those who cannot use theirs: the slowest first.
        for number, job in enumerate(self.slow_first):
            rate = min(job.limit, write / (len(self.slow_first) - number))
            write -= rate
            changed |= rate != job.rate
            job.rate = rate
        return changed

    def next_event(self) -> float:
        """Time at which something completes or the data of the next read come, if nothing else happens; or infinity."""
        event = inf
        if self.head is not None:
            event = self.now + max(0.0, self.head.flits) / self.read_rate
        for job in self.writes:
            event = min(event, self.now + max(0.0, job.flits / job.rate))
        for queue in self.programs, self.reads:
            if queue and self.now + EPSILON < queue[0].ready < event:
                event = queue[0].ready
        return event

    def completed(self) -> list[ReadJob | WriteJob]:
        """Take out what is done by now."""
        out: list[ReadJob | WriteJob] = []
        head = self.head
        if head is not None and head.flits <= EPSILON:
            queue = self.programs if self.programs and self.programs[0] is head else self.reads
            out.append(queue.popleft())
            self._find_head()
        finished = [job for job in self.writes if job.flits <= EPSILON]
        if finished:
            self.writes = [job for job in self.writes if job.flits > EPSILON]
            self.slow_first = [job for job in self.slow_first if job.flits > EPSILON]
            out += finished
        return out
