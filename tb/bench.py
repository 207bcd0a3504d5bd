"""The cocotb test that runs a job inside the simulator; tb/session.py starts it.

Plusargs: `+job=<file>` names the job, `+events=<descriptor>` an open pipe that takes one JSON object
per line: {"event": "ready" | "start" | "progress" | "finish", ...}.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from golden.errors import GoldenError
from golden.machine import fresh_cores
from golden.ops import run_node
from tb.host import Host, Outcome, TransportError
from tb.inside import CoreImage, Inside
from tb.job import HostJob, Job, LaunchJob, LaunchResult, Region, core_label, load_job
from tb.transport import SimTransport

__all__ = ["JobRunner", "run_job"]


class JobRunner:
    """Runs the launches of one job in order and reports each as it ends."""

    def __init__(self, dut: Any, job: Job, events: int | None = None) -> None:
        self.job = job
        self.transport = SimTransport(dut, nodes=len(job.chip.memory_nodes), link_bytes=job.chip.link_bytes)
        self.host = Host(self.transport, job.chip)
        self.inside = Inside(dut, job.chip)
        self._events = events

    def emit(self, event: str, **fields: Any) -> None:
        """Tell the parent. A parent that is gone ends the simulation (BrokenPipeError)."""
        if self._events is not None:
            os.write(self._events, (json.dumps({"event": event, **fields}) + "\n").encode())

    async def run(self) -> None:
        """Load the memory, run every launch."""
        began = time.perf_counter()
        await self.transport.open(self.job.memory_bytes, self.job.settings)
        for file in self.job.memory:
            await self.transport.write_memory(file.address, file.array())
        await self.host.identify()
        self.emit("ready", load_s=time.perf_counter() - began)
        for index, launch in enumerate(self.job.launches):
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
        result.save(step.result_dir, await self._regions(step.regions))
        return result

    async def _regions(self, regions: Iterable[Region]) -> dict[str, np.ndarray]:
        return {region.label: await self.transport.read_memory(region.address, region.size) for region in regions}

    async def _launch(self, index: int, launch: LaunchJob) -> LaunchResult:
        self.emit("start", launch=index, name=launch.name)
        for file in launch.memory:
            await self.transport.write_memory(file.address, file.array())
        if launch.settings is not None:
            self.transport.configure(self.job.memory_bytes, launch.settings)
            await self.transport.reset()
        watched = launch.inside_seed is not None
        if watched:
            # Data of a run that failed may still be on their way into the memories.
            await self.host.reset()
            images = [
                CoreImage(core.act.view(np.uint8), core.weight.view(np.uint8), core.param.view(np.uint8), core.acc)
                for core in fresh_cores(self.job.chip, launch.inside_seed)
            ]
            await self.inside.write(images)
        began = time.perf_counter()

        def progress(cycles: int) -> None:
            self.emit("progress", launch=index, cycles=cycles, sim_s=time.perf_counter() - began)
            self.transport.check()

        violation, outcome = "", None
        counters: dict[str, Any] = {}
        debug: list[dict[str, Any]] = []
        try:
            await self.host.start(
                launch.program_base,
                launch.program_stride,
                watchdog_cycles=launch.watchdog_cycles,
                active_cores=launch.active_cores,
            )
            outcome = await self.host.wait(progress, limit_cycles=launch.limit_cycles)
            sim_s = time.perf_counter() - began
            done = outcome.status == "done"
            if self.job.counters:
                counters = await self.host.counters()
            if watched or not done:
                debug = await self.host.debug()
            self.transport.check(done=done)
        except TransportError as error:
            violation = str(error)
            sim_s = time.perf_counter() - began
        outcome = outcome or Outcome("error", 0, error="BUS")
        ok = outcome.status == "done" and not violation
        arrays = await self._regions(launch.regions) if ok or watched else {}
        if watched:
            for core, image in enumerate(await self.inside.read()):
                arrays |= {core_label(core, name): array for name, array in vars(image).items()}
        result = LaunchResult(
            name=launch.name,
            outcome=outcome.as_dict(),
            sim_s=sim_s,
            counters=counters,
            debug=debug,
            violation=violation,
        )
        result.save(launch.result_dir, arrays)
        return result


@cocotb.test()
async def run_job(dut: Any) -> None:
    """Run the job that `+job=` names."""
    events = cocotb.plusargs.get("events")
    await JobRunner(dut, load_job(Path(str(cocotb.plusargs["job"]))), int(events) if events else None).run()
