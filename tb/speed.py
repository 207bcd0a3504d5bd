"""Simulation speed: the same launch through the bench, and through a bare C++ loop over the same model.

Both run in one process on the same compiled model, in turn; the C++ loop toggles the clock and evaluates,
nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb

from tb.bench import JobRunner
from tb.build import Model
from tb.job import Job, LaunchJob, load_job, save_job
from tb.session import Event, run_test_module

__all__ = ["Speed", "measure_speed"]

ROUNDS = 3
_TAIL_CYCLES = 500
"""Left over by the bare loop, so that the launch ends under the eyes of the bench."""


@dataclass(frozen=True)
class Speed:
    """Simulated cycles per second, best of several rounds each."""

    cycles: int
    bench_hz: float
    bare_hz: float

    @property
    def ratio(self) -> float:
        return self.bench_hz / self.bare_hz


def measure_speed(model: Model, job: Job, work_dir: Path) -> Speed:
    """Run the only launch of a job several times each way."""
    work_dir.mkdir(parents=True, exist_ok=True)
    save_job(job, work_dir / "job.pickle")
    events: list[Event] = []
    run_test_module(
        model, "tb.speed", work_dir, plusargs=[f"+job={(work_dir / 'job.pickle').resolve()}"], on_event=events.append
    )
    return Speed(events[0]["cycles"], _best(events, "bench"), _best(events, "bare"))


def _best(events: Sequence[Event], way: str) -> float:
    return max(event["hz"] for event in events if event["event"] == way)


@cocotb.test()
async def compare_loops(dut: Any) -> None:
    """Start the launch, let it run one way or the other, report the speed."""
    job = load_job(Path(str(cocotb.plusargs["job"])))
    runner = JobRunner(dut, job, int(str(cocotb.plusargs["events"])))
    await runner.transport.open(job.memory_bytes, job.settings)
    for file in job.memory:
        await runner.transport.write_memory(file.address, file.array())
    (launch,) = (item for item in job.launches if isinstance(item, LaunchJob))
    total = 0
    for number in range(2 * ROUNDS + 1):
        await runner.host.start(launch.program_base, launch.program_stride)
        bare = number % 2 == 1
        simulated = total - _TAIL_CYCLES if bare else 0
        seconds = runner.transport.bare_cycles(simulated) if bare else 0.0
        began = time.perf_counter()
        outcome = await runner.host.wait(lambda cycles: None)
        if not bare:
            simulated, seconds = outcome.cycles, time.perf_counter() - began
        assert outcome.status == "done", outcome
        total = outcome.cycles
        runner.emit("bare" if bare else "bench", cycles=total, hz=simulated / seconds)
