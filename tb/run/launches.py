"""The steps of a plan as jobs for simulator processes: what each reads, may write, and leaves to be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from golden.int8.batch import spoken
from golden.int8.quant import QConcat
from rtl.contract.marks import marks_of
from scheduler.plan.layout import Blocked
from scheduler.plan.program import HostStep, Placement, Plan, Step
from tb.run.rundir import RunDir
from tb.run.scoreboard import Scoreboard
from tb.sim.job import POISON, HostJob, LaunchJob, MemoryFile, Recording, Region

__all__ = ["Launches", "check_tensors", "label_of", "owner_of", "regions_of", "units_of", "writes_of"]


class Launches:
    """Makes the jobs of a plan's steps.

    Parameters
    ----------
    expected : dict of str to int8[C, H, W]
        Every tensor. A process that begins somewhere in the plan finds its inputs as the golden model computed them.
    timeline : int or None
        Cycles between the counts of the launches' timelines; None records none.
    waves : Recording, optional
        To be made of every launch; each has a file of its own.
    """

    def __init__(
        self,
        plan: Plan,
        expected: Mapping[str, np.ndarray],
        folder: RunDir,
        *,
        watchdog_cycles: int,
        timeline: int | None = None,
        waves: Recording | None = None,
    ) -> None:
        self.plan = plan
        self._expected = expected
        self._folder = folder
        self._watchdog_cycles = watchdog_cycles
        self._timeline = timeline
        self._waves = waves
        self._files: dict[str, Path] = {}

    def image(self) -> MemoryFile:
        """External memory before anything has run: constants and programs, and poison for tensors."""
        path = (self._folder.work / "memory.bin").resolve()
        with path.open("wb") as file:
            file.truncate(self.plan.dram_bytes)
            for place in self.plan.tensors.values():
                file.seek(place.addr)
                file.write(bytes([POISON]) * place.nbytes)
            for segment in self.plan.segments:
                file.seek(segment.addr)
                file.write(segment.data.data)
        return MemoryFile(0, path)

    def jobs(self, unit: range, *, follows: bool) -> list[LaunchJob | HostJob]:
        """One for each step of a unit; unless it follows what the process did before, the first brings the inputs."""
        memory = () if follows else self._inputs(unit)
        writes = writes_of(self.plan, unit)
        jobs: list[LaunchJob | HostJob] = []
        for index in unit:
            step, first = self.plan.steps[index], index == unit.start
            brings = memory if first else ()
            result_dir = self._folder.launch(index, step.name).resolve()
            regions = regions_of(self.plan, step)
            if isinstance(step, HostStep):
                inputs = {name: self.plan.tensors[name] for name in step.node.inputs}
                output = self.plan.tensors[step.node.output]
                jobs.append(HostJob(step.name, step.node, inputs, output, result_dir, regions, brings))
                continue
            jobs.append(
                LaunchJob(
                    name=step.name,
                    program_base=step.program_base,
                    program_stride=step.program_stride,
                    result_dir=result_dir,
                    regions=regions,
                    watchdog_cycles=self._watchdog_cycles,
                    memory=brings,
                    clear=writes if first else (),
                    writes=writes,
                    marks=marks_of(self.plan.chip, step.streams),
                    timeline=self._timeline,
                    waves=replace(self._waves, path=self._folder.dump(index, step.name)) if self._waves else None,
                )
            )
        return jobs

    def _inputs(self, unit: range) -> tuple[MemoryFile, ...]:
        """The tensors that are in memory when the unit begins."""
        live = self.plan.live_after(unit.start - 1)
        return tuple(MemoryFile(self.plan.tensors[name].addr, self._file(name)) for name in live)

    def _file(self, tensor: str) -> Path:
        if tensor not in self._files:
            path = (self._folder.work / f"tensor{len(self._files)}.npy").resolve()
            np.save(path, self.plan.tensors[tensor].layout.pack(self._expected[tensor]))
            self._files[tensor] = path
        return self._files[tensor]


def units_of(plan: Plan) -> list[range]:
    """Steps that one process must do: each alone, but for those that complete nothing, parts of a concatenation."""
    units, first = [], 0
    for index, step in enumerate(plan.steps):
        if step.nodes:
            units.append(range(first, index + 1))
            first = index + 1
    return units


def regions_of(plan: Plan, launch: Step) -> tuple[Region, ...]:
    """The memory that holds what a launch puts out."""
    places = {tensor: plan.tensors[tensor] for tensor in plan.written(launch)}
    return tuple(Region(label_of(tensor), place.addr, place.nbytes) for tensor, place in places.items())


def writes_of(plan: Plan, unit: range) -> tuple[Region, ...]:
    """The memory that the steps of a unit fill; nothing else may change, and no byte of it is read before."""
    names = {name for index in unit for name in plan.steps[index].nodes}
    found: list[Region] = []
    for node in plan.graph.nodes:
        if node.name not in names or node.output not in plan.tensors:
            continue
        output = plan.tensors[node.output]
        if isinstance(node, QConcat):
            found += _copied(plan, node, output)
        else:
            found.append(Region(node.output, output.addr, output.nbytes))
    return tuple(found)


def _copied(plan: Plan, node: QConcat, output: Placement) -> Iterator[Region]:
    """The memory that a concatenation copies to: whole planes, since those of inputs that lie in place are whole."""
    layout = output.layout
    assert isinstance(layout, Blocked)
    plane, channel = layout.plane_flits * layout.block, 0
    for name in node.inputs:
        end = channel + plan.tensors[name].shape[0]
        if not output.holds(plan.tensors[name]):
            first, last = channel // layout.block, -(-end // layout.block)
            yield Region(name, output.addr + first * plane, (last - first) * plane)
        channel = end


def check_tensors(folder: Path, plan: Plan, launch: Step, board: Scoreboard) -> bool:
    """Compare what `regions_of` a launch left in its result folder; True if every value is right."""
    exact = True
    made_by = {node.output: node.name for node in plan.graph.nodes}
    for tensor in plan.written(launch):
        raw = np.load(folder / f"{label_of(tensor)}.npy")
        layer = spoken(made_by[tensor])
        inside = layer if len(launch.parts) > 1 or layer != made_by[tensor] else ""
        exact &= board.check(launch.name, tensor, plan.tensors[tensor].layout.unpack(raw), inside)
    return exact


def owner_of(plan: Plan, address: int, step: int) -> str:
    """What lies at an address while a step runs, in words."""
    for segment in plan.segments:
        if segment.addr <= address < segment.addr + segment.data.size:
            return segment.label
    places = [(plan.tensors[name], name) for name in {*plan.live_after(step - 1), *plan.live_after(step)}]
    for place, name in sorted(places, key=lambda item: item[0].nbytes):  # inputs of a concatenation before its output
        if place.addr <= address < place.end:
            return f"tensor {name}"
    return "nothing that is needed"


def label_of(tensor: str) -> str:
    """What the file of a tensor's bytes is called, in the folder of a launch's result."""
    return "".join(c if c.isalnum() or c in "._-@" else "_" for c in tensor)
