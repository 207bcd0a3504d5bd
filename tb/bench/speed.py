"""Simulation speed: the same launch through the bench, and through a bare C++ loop over the same model.

Both run in one process on the same compiled model, in turn; the C++ loop toggles the clock and evaluates,
nothing else. Seconds are processor time, which says the same on a machine that does other things, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocotb
from rich import box
from rich.console import Console
from rich.table import Table

from tb.model.blocks import shares_by_block
from tb.model.build import Model
from tb.sim.cocotb_job import JobRunner
from tb.sim.job import LaunchJob, ProcessJob, load_job, save_job
from tb.sim.session import Event, run_test_module

__all__ = ["Speed", "measure_blocks", "measure_speed", "print_speed"]

ROUNDS = 3
_TAIL_CYCLES = 500
"""Cycles that the bare loop leaves over, so that the launch ends under the eyes of the bench."""
_SAMPLES = 20_000
"""Most samples of a profile; one is taken every millisecond."""
LEAST_SHARE = 0.01
"""Least share of the time of a block that gets a line of its own."""


@dataclass(frozen=True)
class Speed:
    """Simulated cycles per second of processor time, best of several rounds each."""

    cycles: int
    bench_hz: float
    bare_hz: float

    @property
    def ratio(self) -> float:
        return self.bench_hz / self.bare_hz


def measure_speed(model: Model, job: ProcessJob, work_dir: Path) -> Speed:
    """Run the only launch of a job several times each way."""
    events = _run(model, job, work_dir, "compare_loops")
    return Speed(events[0]["cycles"], _best(events, "bench"), _best(events, "bare"))


def measure_blocks(model: Model, job: ProcessJob, work_dir: Path) -> dict[str, float]:
    """Share of each kind of block of the chip in the time that the launch takes; the model is built with `places`."""
    (event,) = _run(model, job, work_dir, "sample_loop")
    return shares_by_block(model.directory / "sim", model.directory / "source", event["samples"])


def _run(model: Model, job: ProcessJob, work_dir: Path, test: str) -> list[Event]:
    work_dir.mkdir(parents=True, exist_ok=True)
    save_job(job, work_dir / "job.pickle")
    events: list[Event] = []
    run_test_module(
        model,
        "tb.bench.speed",
        work_dir,
        plusargs=[f"+job={(work_dir / 'job.pickle').resolve()}"],
        on_event=events.append,
        env={"COCOTB_TEST_FILTER": test},
    )
    return events


def _best(events: Sequence[Event], way: str) -> float:
    return max(event["hz"] for event in events if event["event"] == way)


def print_speed(layer: str, model: Model, speed: Speed, blocks: Mapping[str, float], console: Console) -> None:
    """Show both speeds, and the kinds of blocks that take a hundredth of the time or more."""
    console.print(f"model: {model.made}", highlight=False)
    console.print(
        f"{layer}, {speed.cycles:,} cycles: bench {speed.bench_hz / 1e3:.1f} k cycles/s, bare C++ loop "
        f"{speed.bare_hz / 1e3:.1f} k cycles/s, ratio {100 * speed.ratio:.1f} %",
        highlight=False,
    )
    if not blocks:
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("block (equal ones together)")
    table.add_column("time", justify="right")
    shown = {name: share for name, share in blocks.items() if share >= LEAST_SHARE}
    for name, share in shown.items():
        table.add_row(name, f"{100 * share:.1f} %")
    if rest := len(blocks) - len(shown):
        table.add_row(f"{rest} others", f"{100 * (1 - sum(shown.values())):.1f} %")
    console.print(table)


async def _started(dut: Any) -> tuple[JobRunner, LaunchJob]:
    """The job's only launch, its memory loaded."""
    job = load_job(Path(str(cocotb.plusargs["job"])))
    runner = JobRunner(dut, job, int(str(cocotb.plusargs["events"])))
    await runner.open()
    (launch,) = (item for item in job.launches if isinstance(item, LaunchJob))
    return runner, launch


async def _unheard(cycles: int) -> None:
    """Progress of which nobody wants to hear; the wait is broken up as in a run."""


@cocotb.test()
async def compare_loops(dut: Any) -> None:
    """Start the launch, let it run one way or the other, report the speed."""
    runner, launch = await _started(dut)
    total = 0
    for number in range(2 * ROUNDS + 1):
        await runner.driver.start(launch.program_base, launch.program_stride)
        bare = number % 2 == 1
        simulated = total - _TAIL_CYCLES if bare else 0
        seconds = runner.transport.bare_cycles(simulated) if bare else 0.0
        began = time.process_time()
        outcome = await runner.driver.wait(_unheard)
        if not bare:
            simulated, seconds = outcome.cycles, time.process_time() - began
        assert outcome.status == "done", outcome
        total = outcome.cycles
        runner.emit("bare" if bare else "bench", cycles=total, hz=simulated / seconds)


@cocotb.test()
async def sample_loop(dut: Any) -> None:
    """Run the launch once to know its length, then again in the bare loop, sampled."""
    runner, launch = await _started(dut)
    await runner.driver.start(launch.program_base, launch.program_stride)
    outcome = await runner.driver.wait(_unheard)
    await runner.driver.start(launch.program_base, launch.program_stride)
    samples = runner.transport.sample_cycles(outcome.cycles - _TAIL_CYCLES, _SAMPLES)
    assert (await runner.driver.wait(_unheard)).status == "done"
    runner.emit("samples", samples=samples)
