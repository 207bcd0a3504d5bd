"""One run from a network and a chip to a verdict: schedule, build, simulate layer by layer, compare, report."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estimator import estimate
from rtl.params import ChipParams
from scheduler.program import HostStep, Plan, Step
from scheduler.schedule import schedule
from tb.build import HDL_DIR, Design, Model, build_model, cancel_builds, emit_chip
from tb.cache import Cache, content_key
from tb.errors import BenchError, RunError
from tb.host import Outcome
from tb.job import HostJob, Job, LaunchJob, LaunchResult, MemoryFile, Region
from tb.memory import MemorySettings
from tb.rundir import RunDir
from tb.scoreboard import Scoreboard
from tb.session import Event, run_job
from tb.summary import LayerSummary, Summary, compute_cycles_by_cause, dram_bytes_by_class
from tb.workload import Workload, lower_bound_cycles

__all__ = ["Run", "RunOptions", "Watcher", "check_tensors", "describe_array", "describe_schedule", "regions_of"]

_POISON = 0xA5
"""What activations hold before the chip writes them."""


@dataclass(frozen=True)
class RunOptions:
    """Everything that determines a run, apart from the workload."""

    name: str
    chip: ChipParams
    sim: str = "verilator"
    seed: int = 1
    settings: MemorySettings = field(default_factory=MemorySettings)
    runs_dir: Path = Path("runs")
    watchdog_cycles: int = 100_000
    fresh: bool = False
    """Do not use launches that an earlier run has finished."""
    waves: bool = False
    optimise: bool = True
    """Off: builds faster, runs slower."""
    fuse: bool = True
    """Off: every layer is a launch of its own."""

    def __post_init__(self) -> None:
        self.settings.require_port(self.chip.link_bytes)


class Watcher:
    """Told what a run does, while it does it; this one does nothing."""

    def stage(self, text: str) -> None:
        """Another preparation begins."""

    def plan(self, launches: Sequence[Step], estimates: Sequence[int]) -> None:
        """The launches to come, and what the host does between them."""

    def kept(self, index: int, result: LaunchResult) -> None:
        """A launch is taken from an earlier run."""

    def event(self, index: int, event: Event) -> None:
        """An event of the simulation of launch `index` ("start", "progress", "finish")."""

    def done(self) -> None:
        """Nothing more will come."""


class _Different(Exception):
    """Ends the simulation at the first layer with a wrong bit: all later ones would follow from it."""


class Run:
    """One run of a workload on a chip.

    Steps: the model is built beside the preparation of the workload; launches that an earlier run with the same
    fingerprint finished are kept; the rest are simulated in one process, each compared as soon as it ends.
    """

    def __init__(
        self, options: RunOptions, load: Callable[[], Workload], net: str, watcher: Watcher | None = None
    ) -> None:
        self.options = options
        self.net = net
        self.watcher = watcher or Watcher()
        self._load = load
        self._results: dict[int, LaunchResult] = {}
        self._exact: dict[int, bool] = {}

    def execute(self) -> Summary:
        """Do everything; the summary is in runs/<name>/summary.json when this returns.

        Raises
        ------
        BenchError, GoldenError, PlanError
            For bad input, before anything is written to the run's folder.
        """
        with ThreadPoolExecutor(max_workers=1) as pool:
            # Icarus builds in a second, and its memory is as large as the plan says.
            building = pool.submit(self._build, 0) if self.options.sim == "verilator" else None
            try:
                self.watcher.stage("quantising the network and computing the golden results")
                workload = self._load()
                self.watcher.stage("scheduling")
                start = time.perf_counter()
                plan = schedule(workload.graph, self.options.chip, self.options.settings, fuse=self.options.fuse)
                estimates = [self._predict(step) for step in plan.steps]
                schedule_s = time.perf_counter() - start
                self.watcher.stage("building the simulation model")
                design, model = building.result() if building else self._build(plan.dram_bytes)
            except BaseException:
                cancel_builds()
                raise
        summary = Summary(
            net=self.net,
            cores=self.options.chip.n_cores,
            array=describe_array(self.options.chip),
            sim=self.options.sim,
            schedule=describe_schedule(plan),
            seed=self.options.seed,
            pe_count=self.options.chip.pes,
            memory=self._memory_facts(),
            lower_bound_cycles=lower_bound_cycles(workload.graph, self.options.chip, self.options.settings),
            build_s=model.build_s,
            schedule_s=schedule_s,
            golden_s=workload.golden_s,
            quantisation_error=asdict(workload.error) if workload.error else None,
            nodes=len(plan.graph.nodes),
            input_note=workload.note,
        )
        self._simulate(workload, plan, estimates, design, model, summary)
        return summary

    # Preparation. ----------------------------------------------------------------------------------

    def _build(self, memory_bytes: int) -> tuple[Design, Model]:
        start = time.perf_counter()
        cache = Cache()
        design = emit_chip(self.options.chip, cache)
        options = self.options
        model = build_model(
            design, options.sim, memory_bytes=memory_bytes, waves=options.waves, optimise=options.optimise, cache=cache
        )
        return design, Model(
            model.simulator, model.directory, time.perf_counter() - start, model.cached, waves=model.waves
        )

    def _predict(self, step: Step) -> int:
        """Cycles that the estimator expects."""
        if isinstance(step, HostStep):
            return 0
        return round(estimate(step, self.options.chip, self.options.settings).cycles)

    def _memory_facts(self) -> dict[str, Any]:
        settings = self.options.settings
        return {
            "latency_cycles": settings.latency_cycles,
            "bytes_per_cycle": settings.rate(self.options.chip.link_bytes),
            "nodes": len(self.options.chip.memory_nodes),
        }

    def _memory_image(self, workload: Workload, plan: Plan) -> np.ndarray:
        memory = np.zeros(plan.dram_bytes, dtype=np.uint8)
        for placement in plan.tensors.values():
            memory[placement.addr : placement.end] = _POISON
        for segment in plan.segments:
            memory[segment.addr : segment.addr + segment.data.size] = segment.data
        plan.tensors[workload.graph.input].write(memory, workload.image)
        return memory

    def _fingerprint(self, plan: Plan, memory: np.ndarray, design: Design) -> str:
        """Digest of all that determines the results of the launches."""
        launches = [_identity(step) for step in plan.steps]
        tensors = sorted((name, place.addr, place.nbytes) for name, place in plan.tensors.items())
        texts = [self.options.sim, repr(self.options.chip), repr(self.options.settings), repr(launches), repr(tensors)]
        model = [*design.sources, *sorted(HDL_DIR.iterdir())]
        return content_key([*texts, hashlib.sha256(memory.data).digest(), *model])

    # Simulation. -----------------------------------------------------------------------------------

    def _simulate(
        self,
        workload: Workload,
        plan: Plan,
        estimates: Sequence[int],
        design: Design,
        model: Model,
        summary: Summary,
    ) -> None:
        memory = self._memory_image(workload, plan)
        fingerprint = self._fingerprint(plan, memory, design)
        board = Scoreboard(workload.expected)
        path = self.options.runs_dir / self.options.name
        with RunDir(path, fingerprint, fresh=self.options.fresh) as folder:
            self.watcher.plan(plan.steps, estimates)
            try:
                first = self._keep_finished(plan, folder, board)
                if first < len(plan.steps):
                    self._run_from(first, plan, memory, model, folder, board)
            except _Different:
                summary.failure = "a bit differs; later layers were not run"
            except RunError as error:
                summary.failure = str(error)
            finally:
                self.watcher.done()
            del memory
            self._fill(summary, plan, estimates, board)
            summary.save(path / "summary.json")

    def _keep_finished(self, plan: Plan, folder: RunDir, board: Scoreboard) -> int:
        """Take over the launches of an earlier run; the number of the first one still to run."""
        results: list[LaunchResult] = []
        for index, launch in enumerate(plan.steps):
            result = folder.result(index, launch.name, regions_of(plan, launch))
            if result is None:
                break
            results.append(result)
        # A launch that completes nothing (part of a concatenation) is no place to go on from.
        while results and not plan.steps[len(results) - 1].nodes:
            results.pop()
        for index, result in enumerate(results):
            self._accept(index, result, plan, folder, board)
            self.watcher.kept(index, result)
        return len(results)

    def _accept(self, index: int, result: LaunchResult, plan: Plan, folder: RunDir, board: Scoreboard) -> None:
        launch = plan.steps[index]
        self._results[index] = result
        self._exact[index] = check_tensors(folder.launch(index, launch.name), plan, launch, board)
        if not self._exact[index]:
            raise _Different

    def _run_from(
        self, first: int, plan: Plan, memory: np.ndarray, model: Model, folder: RunDir, board: Scoreboard
    ) -> None:
        self._require_space(folder.path, memory.size)
        np.save(folder.work / "memory.npy", memory)
        files = [MemoryFile(0, (folder.work / "memory.npy").resolve())]
        if first:
            files += self._restore(first, plan, folder)
        launches = tuple(
            self._job(plan, step, folder.launch(index, step.name).resolve())
            for index, step in enumerate(plan.steps)
            if index >= first
        )
        job = Job(self.options.chip, plan.dram_bytes, launches, tuple(files), self.options.settings)

        def on_event(event: Event) -> None:
            index = first + event.get("launch", 0)
            if "launch" in event:
                self.watcher.event(index, event)
            if event["event"] == "finish":
                result = LaunchResult.load(folder.launch(index, event["name"]))
                if result is None:
                    raise RunError(f"the result of {event['name']} cannot be read back from {folder.path}")
                if result.ok:
                    self._accept(index, result, plan, folder, board)
                else:
                    self._results[index] = result

        run_job(model, job, folder.work, on_event)
        for index in range(first, len(plan.steps)):
            result = self._results.get(index)
            if result is None or not result.ok:
                raise RunError(_explain(plan.steps[index].name, result, plan.chip.n_cores))

    def _job(self, plan: Plan, step: Step, result_dir: Path) -> LaunchJob | HostJob:
        regions = regions_of(plan, step)
        if isinstance(step, HostStep):
            inputs = {name: plan.tensors[name] for name in step.node.inputs}
            return HostJob(step.name, step.node, inputs, plan.tensors[step.node.output], result_dir, regions)
        return LaunchJob(
            name=step.name,
            program_base=step.program_base,
            program_stride=step.program_stride,
            result_dir=result_dir,
            regions=regions,
            watchdog_cycles=self.options.watchdog_cycles,
        )

    @staticmethod
    def _require_space(path: Path, size: int) -> None:
        free = shutil.disk_usage(path).free
        if free < 2 * size:
            raise BenchError(
                f"{path} has {free / 1e6:.0f} MB free and the run needs {2 * size / 1e6:.0f} MB: free some space"
            )

    def _restore(self, first: int, plan: Plan, folder: RunDir) -> list[MemoryFile]:
        """Files that bring back what finished launches left for later ones."""
        live = set(plan.live_after(first - 1))
        files = []
        for index, launch in enumerate(plan.steps[:first]):
            for tensor in plan.written(launch):
                if tensor in live:
                    path = folder.launch(index, launch.name) / f"{_label(tensor)}.npy"
                    files.append(MemoryFile(plan.tensors[tensor].addr, path.resolve()))
        return files

    def _fill(self, summary: Summary, plan: Plan, estimates: Sequence[int], board: Scoreboard) -> None:
        macs = {node.name: node.macs for node in plan.graph.nodes}
        for index, result in sorted(self._results.items()):
            if not result.ok:
                continue
            launch = plan.steps[index]
            host = isinstance(launch, HostStep)
            work = sum(macs[name] for name in launch.nodes)
            summary.layers.append(
                LayerSummary(
                    name=launch.name,
                    op=launch.op,
                    cycles=result.cycles,
                    estimated_cycles=estimates[index],
                    macs=work,
                    utilization=work / (summary.pe_count * result.cycles) if result.cycles else 0.0,
                    dram_bytes={} if host else dram_bytes_by_class(result.counters),
                    host_bytes=_moved(plan, launch),
                    bit_exact=self._exact[index],
                    sim_s=result.sim_s,
                    compute_cycles={} if host else compute_cycles_by_cause(result.counters),
                    mapping=launch.mapping,
                )
            )
        summary.mismatches = board.mismatches
        summary.first_difference = str(board.differences[0]) if board.differences else None
        summary.bit_exact = summary.failure is None and not board.differences and len(summary.layers) == len(plan.steps)


def regions_of(plan: Plan, launch: Step) -> tuple[Region, ...]:
    """The memory that holds what a launch puts out."""
    places = {tensor: plan.tensors[tensor] for tensor in plan.written(launch)}
    return tuple(Region(_label(tensor), place.addr, place.nbytes) for tensor, place in places.items())


def check_tensors(folder: Path, plan: Plan, launch: Step, board: Scoreboard) -> bool:
    """Compare what `regions_of` a launch left in its result folder; True if every value is right."""
    exact = True
    for tensor in plan.written(launch):
        raw = np.load(folder / f"{_label(tensor)}.npy")
        exact &= board.check(launch.name, tensor, plan.tensors[tensor].layout.unpack(raw))
    return exact


def describe_schedule(plan: Plan) -> str:
    """How layers and launches go together, in words."""
    pools = sum(launch.op.endswith("+maxpool") for launch in plan.launches)
    if not pools:
        return "layer by layer"
    return f"layer by layer, max pools fused into {pools} convolution{'s' * (pools > 1)}"


def describe_array(chip: ChipParams) -> str:
    """'16x16', or every distinct shape of a mixed chip."""
    return "+".join(dict.fromkeys(f"{core.rows}x{core.cols}" for core in chip.cores))


def _identity(step: Step) -> tuple[object, ...]:
    """What determines the work of a step, apart from the contents of memory."""
    if isinstance(step, HostStep):
        part = step.node.part
        return step.name, step.nodes, hashlib.sha256(part.model).hexdigest(), part.inputs, part.output, step.node.scales
    return step.name, step.nodes, step.program_base, step.program_stride


def _moved(plan: Plan, step: Step) -> int:
    """Bytes that the host reads and writes in a step."""
    if not isinstance(step, HostStep):
        return 0
    return sum(plan.tensors[name].nbytes for name in (*step.node.inputs, step.node.output))


def _label(tensor: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in tensor)


def _explain(name: str, result: LaunchResult | None, n_cores: int) -> str:
    """One launch's failure, with the state of every unit where that is known."""
    if result is None:
        return f"{name}: the simulator stopped before it ended"
    lines = [f"{name}: {result.violation or Outcome(**result.outcome).describe(n_cores)}"]
    for core in result.debug:
        units = "; ".join(f"{unit} {_unit_state(state)}" for unit, state in core["units"].items())
        lines.append(
            f"  core {core['core']}: {units}; tokens {core['tokens']}; {core['unacknowledged_writes']} writes and "
            f"{core['program_reads']} program reads under way"
        )
    return "\n".join(lines)


def _unit_state(state: Mapping[str, Any]) -> str:
    """What a unit does, in words."""
    done = f"after {state['instructions']} instructions"
    if state["state"] == "wait":
        ranges = ", ".join(("0 (activations)", "1 (weights)", "2 (accumulators)")[r] for r in state["unmet_waits"])
        what = f"for tokens of range {ranges}" if ranges else "for its unit"
        return f"holds {state['opcode']} and waits {what} {done}"
    words = {"decode": "waits for its next instruction", "ended": "has ended", "failed": "has failed"}
    return f"{words.get(state['state'], state['state'])} {done}"
