"""The cocotb test that runs a job inside the simulator; tb/sim/session.py starts it.

Plusargs: `+job=<file>` names the job, `+launches=<descriptor>` an open pipe that brings further launches,
`+events=<descriptor>` one that takes one JSON object per line: {"event": "ready" | "start" | "progress" |
"finish", ...}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import Timer

from golden.errors import GoldenError
from golden.int8.ops import run_node
from golden.machine import fresh_cores
from rtl.contract.regs import ErrorCode
from tb.errors import STORAGE_ERRORS, storage_error
from tb.sim.driver import Driver, Outcome, TransportError
from tb.sim.flips import State
from tb.sim.inside import CoreImage, Inside
from tb.sim.job import (
    POISON,
    WRITTEN,
    Flip,
    HostJob,
    LaunchJob,
    LaunchResult,
    MemoryFile,
    ProcessJob,
    Region,
    core_label,
    load_job,
    receive_launches,
    when_written,
)
from tb.sim.trace import TIMELINE, Recorder
from tb.sim.transport import CLOCK_PERIOD_NS, SimTransport
from tb.sim.waves import start_recording, stop_recording

__all__ = ["JobRunner", "run_job"]

_PR_SET_PDEATHSIG = 1


class JobRunner:
    """Runs the launches of one job in order and reports each as it ends."""

    def __init__(self, dut: Any, job: ProcessJob, events: int | None = None) -> None:
        self.job = job
        self.transport = SimTransport(dut, nodes=len(job.chip.memory_nodes), link_bytes=job.chip.link_bytes)
        self.driver = Driver(self.transport, job.chip, job.core_counters)
        self.inside = Inside(dut, job.chip)
        self._events = events

    def emit(self, event: str, **fields: Any) -> None:
        """Tell the parent. A parent that is gone ends the simulation (BrokenPipeError)."""
        if self._events is not None:
            os.write(self._events, (json.dumps({"event": event, **fields}) + "\n").encode())

    async def open(self) -> None:
        """Bring the chip out of reset, with the job's memory before it."""
        await self.transport.open(self.job.memory_bytes, self.job.settings)
        await self._load(self.job.memory)

    async def run(self, more: Iterable[LaunchJob | HostJob] = ()) -> None:
        """Load the memory, run every launch of the job, and then more as they come."""
        began = time.perf_counter()
        await self.open()
        await self.driver.identify()
        self.emit("ready", load_s=time.perf_counter() - began)
        for index, launch in enumerate(chain(self.job.launches, more)):
            if isinstance(launch, HostJob):
                result = await self._host(index, launch)
            else:
                result = await self._launch(index, launch)
            self.emit("finish", launch=index, name=launch.name, ok=result.ok, cycles=result.cycles, sim_s=result.sim_s)
            if not (result.ok or self.job.keep_going):
                return

    async def _host(self, index: int, step: HostJob) -> LaunchResult:
        """Compute a node out of what lies in external memory, and put its output there."""
        self.emit("start", launch=index, name=step.name)
        await self._load(step.memory)
        began = time.perf_counter()
        tensors = {
            name: place.layout.unpack(await self.transport.read_memory(place.addr, place.nbytes))
            for name, place in step.inputs.items()
        }
        violation = ""
        try:
            await self.transport.write_memory(step.output.addr, step.output.layout.pack(run_node(step.node, tensors)))
        except GoldenError as error:
            violation = str(error)
        sim_s = time.perf_counter() - began
        result = LaunchResult(step.name, Outcome("done", 0).as_dict(), sim_s, {}, [], violation)
        self._save(result, step.result_dir, await self._regions(step.regions))
        return result

    async def _load(self, files: Iterable[MemoryFile]) -> None:
        for file in files:
            await self.transport.write_memory(file.address, file.array())

    async def _regions(self, regions: Iterable[Region]) -> dict[str, np.ndarray]:
        return {region.label: await self.transport.read_memory(region.address, region.size) for region in regions}

    async def _launch(self, index: int, launch: LaunchJob) -> LaunchResult:
        self.emit("start", launch=index, name=launch.name)
        await self._load(launch.memory)
        for region in launch.clear:
            await self.transport.write_memory(region.address, np.full(region.size, POISON, np.uint8))
        if launch.settings is not None:
            self.transport.configure(self.job.memory_bytes, launch.settings)
            await self.transport.reset()
        watched = launch.inside_seed is not None
        if watched:
            # Data of a run that failed may still be on their way into the memories.
            await self.driver.reset()
            images = [
                CoreImage(core.act.view(np.uint8), core.weight.view(np.uint8), core.param.view(np.uint8), core.acc)
                for core in fresh_cores(self.job.chip, launch.inside_seed)
            ]
            await self.inside.write(images)
        if launch.writes is not None:
            await self.transport.watch()
        began = time.perf_counter()
        origin_ns = self.transport.now_ns

        marked = next((core for core, numbers in enumerate(launch.marks) if numbers), None)

        async def progress(cycles: int) -> None:
            sim_s = time.perf_counter() - began
            passed = 0 if marked is None else await self.driver.passed(marked)
            self.emit("progress", launch=index, cycles=cycles, passed=passed, sim_s=sim_s)
            self.transport.check()

        violation, outcome = "", None
        flipped: list[str] = []
        counters: dict[str, Any] = {}
        debug: list[dict[str, Any]] = []
        marks: list[list[dict[str, Any]]] = []
        recorder = Recorder() if launch.timeline is not None else None
        if recorder is not None and launch.timeline is not None:
            recorder.start(launch.timeline)
        if launch.flip is not None:
            cocotb.start_soon(self._flip(launch.flip, flipped))
        broken: int | None = None
        if launch.waves is not None:
            start_recording(launch.waves)
        try:
            await self.driver.start(
                launch.program_base,
                launch.program_stride,
                watchdog_cycles=launch.watchdog_cycles,
                active_cores=launch.active_cores,
            )
            origin_ns = self.transport.now_ns  # but for the cycles that it takes to clear the chip
            outcome = await self.driver.wait(progress, limit_cycles=launch.limit_cycles)
            if self.transport.irq_ns is not None:
                origin_ns = self.transport.irq_ns - outcome.cycles * CLOCK_PERIOD_NS
            sim_s = time.perf_counter() - began
            done = outcome.status == "done"
            if self.job.counters:
                counters = await self.driver.counters()
            if done and any(launch.marks):
                passed = [sorted(set(numbers)) for numbers in launch.marks]
                marks = [[asdict(mark) for mark in core] for core in await self.driver.marks(passed)]
            if watched or not done:
                debug = await self.driver.debug()
            self.transport.check(done=done)
        except TransportError as error:
            violation, broken = str(error), error.cycle
            sim_s = time.perf_counter() - began
        if launch.waves is not None:
            stop_recording()
        outcome = outcome or Outcome("error", 0, error="BUS")
        ok = outcome.status == "done" and not violation
        strays = await self.transport.changed(launch.writes) if ok and launch.writes is not None else np.zeros(0)
        arrays = await self._regions(launch.regions) if ok or watched else {}
        written = self.transport.written(origin_ns) if launch.writes is not None else None
        if ok and written is not None:
            arrays[WRITTEN] = written
        if watched:
            for core, image in enumerate(await self.inside.read()):
                arrays |= {core_label(core, name): array for name, array in vars(image).items()}
        if recorder is not None:
            arrays[TIMELINE] = recorder.stop()
        result = LaunchResult(
            name=launch.name,
            outcome=outcome.as_dict(),
            sim_s=sim_s,
            counters=counters,
            debug=debug,
            violation=violation,
            flipped=", ".join(flipped),
            stray_bytes=strays.size,
            stray_address=int(strays[0]) if strays.size else 0,
            marks=marks,
            failed_cycle=self._failed_cycle(launch, outcome, broken, origin_ns, strays, written),
        )
        self._save(result, launch.result_dir, arrays)
        return result

    def _failed_cycle(
        self,
        launch: LaunchJob,
        outcome: Outcome,
        broken: int | None,
        origin_ns: float,
        strays: np.ndarray,
        written: np.ndarray | None,
    ) -> int | None:
        """What `LaunchResult` says of it."""
        if broken is not None:
            return max(0, int(self.transport.time_ns(broken) - origin_ns) // CLOCK_PERIOD_NS)
        if strays.size:
            cycles = when_written(written, strays) if written is not None else strays[:0]
            return int(cycles.min()) if cycles.size else None
        if outcome.status == "done" or not outcome.cycles:
            return None
        idle = launch.watchdog_cycles if outcome.error == ErrorCode.WATCHDOG.name else 0
        return max(0, outcome.cycles - idle)

    def _save(self, result: LaunchResult, directory: Path, arrays: dict[str, np.ndarray]) -> None:
        try:
            result.save(directory, arrays)
        except OSError as error:
            if error.errno in STORAGE_ERRORS:
                self.emit("refused", reason=str(storage_error(error, str(directory))))
            raise

    async def _flip(self, flip: Flip, flipped: list[str]) -> None:
        """Invert a bit between two clock edges, when everything has settled."""
        await Timer(flip.cycle * CLOCK_PERIOD_NS + CLOCK_PERIOD_NS // 4, unit="ns")
        flipped.append(State().flip(flip.target, flip.seed, self.transport.memory[: flip.dram_bytes]))


def _die_with(parent: int) -> None:
    """End with the parent, however it ends: what it had no time to ask for would come in the way of its successor."""
    with contextlib.suppress(AttributeError):  # not on Linux; there the next event finds its pipe broken
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@cocotb.test()
async def run_job(dut: Any) -> None:
    """Run the job that `+job=` names."""
    if parent := cocotb.plusargs.get("parent"):
        _die_with(int(parent))
    events, launches = (cocotb.plusargs.get(name) for name in ("events", "launches"))
    more = receive_launches(os.fdopen(int(launches), "rb")) if launches else ()
    await JobRunner(dut, load_job(Path(str(cocotb.plusargs["job"]))), int(events) if events else None).run(more)
