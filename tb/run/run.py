"""One run from a network and a chip to a verdict: schedule, build, simulate layer by layer, compare, report."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from estimator import estimate
from golden.int8.fallback import runtime_identity
from rtl.contract.params import ChipParams
from scheduler.plan.program import HostStep, Plan, Step
from scheduler.schedule import schedule
from tb.errors import BenchError, RunError
from tb.model.build import HDL_DIR, Design, Model, build_model, cancel_builds, emit_chip
from tb.model.cache import Cache, content_key
from tb.report.summary import Summary
from tb.report.watcher import Watcher
from tb.run.capacity import choose_processes
from tb.run.fleet import run_fleet
from tb.run.launches import Launches, units_of
from tb.run.ledger import Ledger
from tb.run.rundir import RunDir
from tb.run.shares import Shares
from tb.run.training import trainer
from tb.run.workload import Workload, lower_bound_cycles
from tb.sim.job import ProcessJob
from tb.sim.session import Event
from tb.sim.settings import MemorySettings

__all__ = ["Run", "RunOptions", "describe_array", "describe_schedule"]


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
    profile: bool = False
    """Compile the model with profile feedback, however short the run."""
    work: int = 0
    """Multiply-accumulates of the network as far as known beforehand; tb/model/recipe.py chooses by them."""
    fuse: bool = True
    """Off: every layer is a launch of its own."""
    jobs: int | None = 1
    """Simulator processes at once; None: one for each processor, as far as there is work and memory for it."""

    def __post_init__(self) -> None:
        self.settings.require_port(self.chip.link_bytes)


class Run:
    """One run of a workload on a chip.

    Steps: the model is built beside the preparation of the workload; launches that an earlier run with the same
    fingerprint finished are kept, whichever they are; the rest are simulated in one process or several, each compared
    as soon as it ends.
    """

    def __init__(
        self, options: RunOptions, load: Callable[[], Workload], net: str, watcher: Watcher | None = None
    ) -> None:
        if options.waves and options.jobs is not None and options.jobs > 1:
            raise BenchError(f"JOBS={options.jobs}: WAVES=1 records one simulator; leave one of the two out")
        self.options = options
        self.net = net
        self.watcher = watcher or Watcher()
        self._load = load

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
            model=model.made,
            build_s=model.build_s,
            schedule_s=schedule_s,
            golden_s=workload.golden_s,
            quantisation_error=asdict(workload.error) if workload.error else None,
            nodes=len(plan.graph.nodes),
            input_note=workload.note,
            outputs=[asdict(output) for output in workload.outputs],
            onnxruntime=asdict(workload.judgement) if workload.judgement else None,
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
            design, options.sim, memory_bytes=memory_bytes, waves=options.waves, optimise=options.optimise,
            cycles=options.work / options.chip.pes, profile=options.profile, training=trainer(options.chip),
            cache=cache,
        )  # fmt: skip
        return design, replace(model, build_s=time.perf_counter() - start)

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

    def _fingerprint(self, workload: Workload, plan: Plan, design: Design) -> str:
        """Digest of all that determines the results of the launches."""
        launches = [_identity(step) for step in plan.steps]
        tensors = sorted((name, place.addr, place.nbytes) for name, place in plan.tensors.items())
        texts = [self.options.sim, repr(self.options.chip), repr(self.options.settings), repr(launches), repr(tensors)]
        data = [(segment.addr, hashlib.sha256(segment.data.data).hexdigest()) for segment in plan.segments]
        model = [*design.sources, *sorted(HDL_DIR.iterdir())]
        return content_key([*texts, repr(data), workload.image.tobytes(), *model])

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
        fingerprint = self._fingerprint(workload, plan, design)
        path = self.options.runs_dir / self.options.name
        with RunDir(path, fingerprint, fresh=self.options.fresh) as folder:
            ledger = Ledger(plan, workload.expected, folder)
            self.watcher.plan(plan.steps, estimates)
            left: dict[range, float] = {}
            for unit in units_of(plan):
                if not ledger.keep(unit):
                    left[unit] = float(sum(estimates[index] for index in unit))
            for index, result in ledger.results.items():
                self.watcher.kept(index, result)
            crash = None
            try:
                if left and ledger.good:
                    launches = Launches(plan, workload.expected, folder, watchdog_cycles=self.options.watchdog_cycles)
                    self._run(left, launches, model, folder, ledger, summary)
            except RunError as error:
                crash = str(error)
            finally:
                self.watcher.done()
            summary.failure = ledger.failure() or crash
            ledger.fill(summary, estimates)
            summary.save(path / "summary.json")

    def _run(
        self,
        left: Mapping[range, float],
        launches: Launches,
        model: Model,
        folder: RunDir,
        ledger: Ledger,
        summary: Summary,
    ) -> None:
        """Simulate units, with the cycles that each is expected to take."""
        options, memory_bytes = self.options, launches.plan.dram_bytes
        count, note = choose_processes(
            options.jobs, units=len(left), cycles=sum(left.values()), memory_bytes=memory_bytes, sim=options.sim,
            waves=options.waves,
        )  # fmt: skip
        self.watcher.processes(count, note)
        self._require_space(folder.path, memory_bytes)
        job = ProcessJob(options.chip, memory_bytes, memory=(launches.image(),), settings=options.settings)

        def on_event(index: int, event: Event) -> bool:
            self.watcher.event(index, event)
            return event["event"] != "finish" or ledger.finish(index)

        began = time.perf_counter()
        summary.processes = count
        try:
            run_fleet(model, job, folder.work, count, launches, Shares(left, count), on_event)
        finally:
            summary.simulation_s = time.perf_counter() - began

    @staticmethod
    def _require_space(path: Path, size: int) -> None:
        free = shutil.disk_usage(path).free
        if free < 2 * size:
            raise BenchError(
                f"{path} has {free / 1e6:.0f} MB free and the run needs {2 * size / 1e6:.0f} MB: free some space"
            )


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
        work = hashlib.sha256(part.model).hexdigest(), part.inputs, part.output, step.node.scales
        return step.name, step.nodes, *work, *runtime_identity()
    return step.name, step.nodes, step.program_base, step.program_stride
