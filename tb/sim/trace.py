"""Timelines of launches, recorded in C++ beside the model (tb/hdl/trace.cpp) and taken as events, a record each.

Only models that were built with ``traced`` have a recorder.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from pathlib import Path

import numpy as np

from tb.sim.driver import TransportError

__all__ = ["EVENT", "TIMELINE", "EventKind", "Recorder", "TokenSource", "holds_timeline"]

TIMELINE = "+timeline"
"""Name of the array that keeps the events of a launch, which no region can have."""

EVENT = np.dtype(
    [
        ("begin", "<u4"), ("end", "<u4"), ("kind", "u1"), ("place", "u1"), ("unit", "u1"), ("what", "u1"),
        ("first", "<u4"), ("second", "<u4"),
    ]
)  # fmt: skip
"""One event; cycles from `begin` up to and without `end`, of the launch, as CYCLES counts them. The other fields are
said of each kind; `place` is a node of the chip, `unit` an `rtl.contract.isa.Unit`."""


class EventKind(IntEnum):
    """Events of a unit come in the order of their ends."""

    WORK = 0
    """The compute unit streams, waits for weights to enter, fills or drains. `what`: 1 if it ends with the last pixel
    of a COMPUTE. `first`, `second`: cycles in which pixels stream, and in which weights enter."""
    WAIT = 1
    """A unit waits for what the COMPUTE counter number `what` says; load and store units only for tokens (1 to 3), an
    instruction (5) or the end of the launch (7)."""
    ISSUED = 2
    """The next instruction of a unit leaves the head of its queue."""
    ENDED = 3
    """The request of the load unit's next LOAD has left; the next STORE or TABLE of the store unit is drained."""
    RELEASED = 4
    """Behind a wait for tokens: what came in the cycle before its end. `what`: `TokenSource`; `first`: node that sent
    it, shifted by 8, and the token; `second`: how many it had sent that way before."""
    READ = 5
    """A memory node sends the data of a LOAD, or, if `unit` is 1, of a fetch. `what`: `TrafficClass`; `first`: core
    that asked; `second`: flits."""
    WRITTEN = 6
    """Packets of a core come to a memory node. `what`: `TrafficClass`; `first`: core; `second`: bytes."""
    STREAMED = 7
    """Pixels of the COMPUTE under way, `first`, in an interval."""
    MOVED = 8
    """What a memory node read (`what` 0; `first` in flits) or wrote (1; in bytes) in an interval."""
    PASSED = 9
    """Flits that left router `place` by its output number `what` in an interval, `first`."""


class TokenSource(IntEnum):
    """Where a token comes from; the first seven are the ports of a core that send signals."""

    COMPUTE_SIGNAL_0 = 0
    COMPUTE_SIGNAL_1 = 1
    COMPUTE_SIGNAL_2 = 2
    STORE_SIGNAL = 3
    LOAD_SYNC = 4
    COMPUTE_SYNC = 5
    STORE_SYNC = 6
    STORE_DATA = 7
    """The last flit of a STORE to a core."""
    LOAD_DATA = 8
    """The last flit of a LOAD, from a memory node."""


class Recorder:
    """The recorder of this simulator process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        try:
            self._start, self._stop = library.systomesh_trace_start, library.systomesh_trace_stop
        except AttributeError:
            raise TransportError("this model records no timeline: build it with traced=chip") from None
        self._start.argtypes = [ctypes.c_uint64]
        self._stop.restype = ctypes.c_uint64

    def start(self, interval_cycles: int) -> None:
        """Record the next launch, with counts every so many cycles."""
        self._start(interval_cycles)

    def stop(self) -> np.ndarray:
        """The events, `EVENT`[N]."""
        found = ctypes.c_void_p()
        count = self._stop(ctypes.byref(found))
        raw = ctypes.string_at(found, count * EVENT.itemsize) if count else b""
        return np.frombuffer(raw, EVENT)


def holds_timeline(folder: Path) -> bool:
    """Whether a launch's folder has its events."""
    try:
        return np.load(folder / f"{TIMELINE}.npy", mmap_mode="r").dtype == EVENT
    except (OSError, ValueError, EOFError):
        return False
