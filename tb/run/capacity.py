"""How many simulator processes a run may have: what the user asks for, what the machine has."""

from __future__ import annotations

import os
from pathlib import Path

from tb.errors import BenchError

__all__ = ["available_bytes", "choose_processes", "parse_batch", "parse_jobs", "processors"]

SIMULATOR_BYTES = 200 << 20
"""Memory of a simulator process, without the external memory that it simulates."""

WORTHWHILE_CYCLES = {"verilator": 100_000, "icarus": 200}
"""Cycles that are simulated in about the time that a process takes to start."""

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limits of the container around us, versions 2 and 1: folder, limit, use, and what of the use can be dropped."""


def parse_jobs(text: str | None) -> int | None:
    """The number that JOBS= gives; None where it is left out.

    Raises
    ------
    BenchError
        If it is no number from 1 on.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise BenchError(f"JOBS={text}: give the number of simulator processes, 1 or more; or leave it out")
    return int(text)


def parse_batch(text: str | None) -> int:
    """The number that BATCH= gives; 1 where it is left out.

    Raises
    ------
    BenchError
        If it is no number from 1 on.
    """
    if text is None:
        return 1
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise BenchError(f"BATCH={text}: give the number of pictures, 1 or more; or leave it out")
    return int(text)


def processors() -> int:
    """The number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def available_bytes() -> int | None:
    """Memory that processes can still get; None where the system does not say."""
    try:
        found = [_entry(_MEMINFO, "MemAvailable:") << 10]
    except (OSError, ValueError):
        return None
    for folder, limit, used, droppable in _CGROUPS:
        try:
            taken = int((folder / used).read_text()) - _entry(folder / "memory.stat", droppable)
            found.append(int((folder / limit).read_text()) - taken)
        except (OSError, ValueError):  # there is none, or its limit is "max"
            continue
    return max(0, min(found))


def _entry(path: Path, name: str) -> int:
    """A number in a file of names and numbers."""
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    raise ValueError(f"{path} has no {name}")


def choose_processes(
    asked: int | None, *, units: int, cycles: float, memory_bytes: int, sim: str, waves: bool
) -> tuple[int, str]:
    """The number of processes, and a note where it is less than it could be; '' otherwise.

    Parameters
    ----------
    asked : int or None
        By the user. None: a process for each processor, as far as there is work and memory for it.
    units, cycles
        What can be shared, and how many cycles all of it is expected to take.
    memory_bytes : int
        External memory of a simulation.
    waves : bool
        They are recorded of one simulator.

    Raises
    ------
    BenchError
        If the user asks for more than there is memory for.
    """
    each = SIMULATOR_BYTES + memory_bytes
    free = available_bytes()
    room = asked or units if free is None else max(1, free // each)
    if asked is not None:
        if min(asked, units) > room:
            raise BenchError(
                f"JOBS={asked}: {min(asked, units)} simulators take {_mb(min(asked, units) * each)} and "
                f"{_mb(free or 0)} of memory are free; use JOBS={room}"
            )
        return max(1, min(asked, units)), ""
    wanted = 1 if waves else max(1, min(processors(), units, round(cycles / WORTHWHILE_CYCLES[sim])))
    if wanted > room:
        return room, f"{room} instead of {wanted} simulators at once: each takes {_mb(each)} of memory"
    return wanted, ""


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
