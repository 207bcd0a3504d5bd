"""The preparation of a run: the plan with its estimates, and the simulation model, built beside it."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Self

from estimator import Estimate, Provenance, estimate
from estimator.engines import TIMINGS
from golden.int8.batch import plain
from scheduler.errors import PlanError
from scheduler.plan.program import HostStep, Plan, Step
from scheduler.schedule import schedule
from scheduler.work.activations import Activations, activations_of
from tb.model.build import Design, Model, build_model, cancel_builds, emit_chip
from tb.model.cache import Cache
from tb.report.summary import describe_forecast, whole_interval
from tb.run.options import RunOptions
from tb.run.training import trainer
from tb.run.workload import Workload

__all__ = ["ModelBuild", "Scheduled", "schedule_on_chip", "schedule_workload"]


@dataclass(frozen=True, eq=False)
class Scheduled:
    """A plan, and what the estimator expects of it."""

    plan: Plan
    estimates: list[Estimate | None]
    """What is expected of each step; nothing of one of the host."""
    schedule_s: float
    """Processor time, which what else the machine does leaves alone."""
    predicted_by: str = ""
    """What is known of the activations, where cycles depend on them."""

    @property
    def estimated_cycles(self) -> list[int]:
        """Of each step; 0 for one of the host."""
        return [round(each.cycles) if each else 0 for each in self.estimates]

    @property
    def intervals(self) -> list[tuple[float, float] | None]:
        """Of each step, cycles between which it lies in nine cases of ten; None of one of the host, or where no layer
        like it was measured."""
        bands, cores = Provenance.load().bands, self.plan.chip.n_cores
        return [
            bands.interval(step.op, cores, each.cycles) if each else None
            for step, each in zip(self.plan.steps, self.estimates, strict=True)
        ]

    @property
    def forecast(self) -> str:
        """What is expected of the whole, in words."""
        return describe_forecast(sum(self.estimated_cycles), whole_interval(self.estimated_cycles, self.intervals))

    @property
    def estimated_parts(self) -> list[list[float]]:
        """Of each step, cycles of its parts; none where they are not estimated apart."""
        return [each.part_cycles if each else [] for each in self.estimates]


def schedule_workload(workload: Workload, options: RunOptions) -> Scheduled:
    """The plan of a workload on the chip and memory of a run.

    Raises
    ------
    PlanError
        If the chip cannot hold it.
    """
    start = time.thread_time()  # another thread builds the model meanwhile
    known = _activations(workload, options)
    kind = replace(options, sparse=replace(options.sparse, activations=known)).kind()
    plan = schedule(workload.graph, options.chip, options.settings, kind, len(workload.images))
    estimates = [_predict(step, options) for step in plan.steps]
    return Scheduled(plan, estimates, time.thread_time() - start, known.note if known else "")


def _activations(workload: Workload, options: RunOptions) -> Activations | None:
    """What predictions may know of the activations, on a chip whose cycles depend on them."""
    engines = {engine for core in options.chip.cores for engine in core.engines}
    if not any(TIMINGS[engine].valued for engine in engines):
        return None
    return activations_of(workload.graph, workload.expected, options.sparse.detail, len(workload.images))


def schedule_on_chip(workload: Workload, options: RunOptions) -> tuple[Workload, Scheduled]:
    """The plan of a workload, and the workload itself: layers of an ONNX file that the chip cannot hold go to the host.

    Raises
    ------
    PlanError
        If the chip cannot hold it all the same.
    """
    banned: dict[str, str] = {}
    while True:
        try:
            return workload, schedule_workload(workload, options)
        except PlanError as error:
            node = workload.origins.get(plain(error.layer).split("+")[0])
            if node is None or node in banned or workload.without is None:
                raise
            banned[node] = str(error)
            workload = workload.without(banned)


def _predict(step: Step, options: RunOptions) -> Estimate | None:
    """What the estimator expects of a step; nothing of one of the host."""
    return None if isinstance(step, HostStep) else estimate(step, options.chip, options.settings)


class ModelBuild:
    """The build of a run's simulation model. Use as a context manager: an error within ends the build.

    A model for Verilator is built in a thread of its own from the start. Icarus builds in a second, and its memory is
    as large as the plan says, so it waits for that.
    """

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._under_way: Future[tuple[Design, Model]] | None = None

    def __enter__(self) -> Self:
        if self._options.sim == "verilator":
            self._under_way = self._pool.submit(self._build, 0)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            cancel_builds()
        self._pool.shutdown()

    def result(self, memory_bytes: int) -> tuple[Design, Model]:
        """The chip's Verilog and the model, for an external memory of that size.

        Raises
        ------
        BenchError
            If it cannot be built.
        """
        return self._under_way.result() if self._under_way else self._build(memory_bytes)

    def _build(self, memory_bytes: int) -> tuple[Design, Model]:
        options = self._options
        start = time.perf_counter()
        cache = Cache()
        design = emit_chip(options.chip, cache)
        model = build_model(
            design, options.sim, memory_bytes=memory_bytes, waves=options.waves is not None,
            memories=options.waves is not None and options.waves.memories, optimise=options.optimise,
            cycles=options.work / options.chip.multipliers, profile=options.profile, training=trainer(options.chip),
            traced=options.chip if options.trace else None, cache=cache,
        )  # fmt: skip
        return design, replace(model, build_s=time.perf_counter() - start)
