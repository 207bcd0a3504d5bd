"""Random single bits inverted while a layer runs on the RTL: each upset must be masked or reported.

*Reported*: the bench says so: the launch ends in an error or by the watchdog, a bus rule is broken, memory changes
outside the outputs, the scoreboard finds a value that differs, counters are not those of the program, or the simulation
cannot be read. *Masked*: the bench says equal, and so do those that do not depend on it: every byte of DRAM is what
`golden.machine` leaves there, the upset bit itself and lanes past a tensor's last channel left aside; instructions,
passes and pixels are those that the machine counts while it runs; and the causes of every compute cycle add up.
*Unnoticed*: the bench says equal, and one of these does not.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from estimator.events import predict
from golden.int8 import ops
from golden.machine import Machine
from rtl.contract.regs import CoreCounter
from scheduler import Plan, schedule
from tb.model.build import Model, build_model, emit_chip
from tb.report.summary import CAUSES
from tb.run.counts import check_counts
from tb.run.launches import check_tensors, regions_of, writes_of
from tb.run.scoreboard import Scoreboard
from tb.run.workload import load_workload
from tb.sim.flips import TARGETS
from tb.sim.job import Flip, LaunchJob, LaunchResult, MemoryFile, ProcessJob, Region
from tb.sim.session import run_job
from tb.sim.settings import MemorySettings
from tests.cases import CHIPS, random_case

__all__ = ["CHIP", "Layer", "Report", "Upset", "layers", "run_upsets"]

CHIP = CHIPS["1x1_8x8"]
SETTINGS = MemorySettings(latency_cycles=20)
WATCHDOG_CYCLES = 3_000
MEMORY = "memory"
"""Label of the region that holds all of DRAM."""
SEED, MACS = 3, 30_000
"""Of the random layers."""
_EXACT = (CoreCounter.INSTRUCTIONS, CoreCounter.ARRAY_PIXELS, CoreCounter.TAP_PIXELS, CoreCounter.PASSES)
_POISON = 0xA5

Boards = Callable[[dict[str, np.ndarray]], Scoreboard]


@dataclass(eq=False)
class Layer:
    """The last launch of a plan, what it must compute, and what it must leave in memory."""

    name: str
    plan: Plan
    expected: dict[str, np.ndarray]
    memory: np.ndarray
    """Before the launch, uint8[N]."""
    after: np.ndarray
    """Behind it, by the machine."""
    counts: dict[CoreCounter, int]
    """Of the core, by the machine."""
    meaningful: np.ndarray
    """bool[N]: False for lanes past the last channel."""
    cycles: int = 0
    """That the RTL takes without an upset."""


@dataclass(frozen=True)
class Upset:
    """What became of one upset."""

    layer: str
    flip: Flip
    bit: str
    verdict: str
    """'masked', 'reported' or 'UNNOTICED'."""
    why: str = ""


@dataclass
class Report:
    """What became of all."""

    upsets: list[Upset] = field(default_factory=list)

    @property
    def unnoticed(self) -> list[Upset]:
        return [upset for upset in self.upsets if upset.verdict == "UNNOTICED"]

    def rows(self) -> list[tuple[str, int, int, int]]:
        """(target, masked, reported, unnoticed)."""
        counts = Counter((upset.flip.target, upset.verdict) for upset in self.upsets)
        return [
            (target, counts[target, "masked"], counts[target, "reported"], counts[target, "UNNOTICED"])
            for target in TARGETS
        ]


def layers() -> list[Layer]:
    """A convolution of LeNet-5 with its fused pool, one with a residual, and a depthwise one on the tap unit."""
    lenet5 = load_workload("lenet5", layers="conv2..pool2")
    found = [_layer("lenet5 conv2+pool2", schedule(lenet5.graph, CHIP), dict(lenet5.expected), lenet5.image)]
    for kind in ("residual", "depthwise"):
        case = random_case(SEED, kind=kind, chip=CHIP, budget_macs=MACS)
        found.append(_layer(kind, schedule(case.graph, CHIP), ops.run(case.graph, case.image), case.image))
    return found


def _layer(name: str, plan: Plan, expected: dict[str, np.ndarray], image: np.ndarray) -> Layer:
    *before, launch = plan.launches
    memory = plan.memory_image(image)
    for earlier in before:
        assert Machine(CHIP).run(memory, earlier.program_base, earlier.program_stride).ok
    meaningful = np.ones(len(memory), bool)
    for tensor in plan.written(launch):
        place = plan.tensors[tensor]
        memory[place.addr : place.end] = _POISON
        # Packing leaves 0 in lanes past the last channel.
        meaningful[place.addr : place.end] = place.layout.pack(np.ones(place.layout.shape, np.int8)) != 0
    after = memory.copy()
    result = Machine(CHIP).run(after, launch.program_base, launch.program_stride)
    assert result.ok, result
    counts = {counter: result.cores[0].counts[counter] for counter in _EXACT}
    return Layer(name, plan, expected, memory, after, counts, meaningful)


def run_upsets(
    found: Sequence[Layer],
    count: int,
    seed: int,
    folder: Path,
    *,
    boards: Boards = Scoreboard,
    model: Model | None = None,
) -> Report:
    """Invert `count` random bits, one in a run of one layer each; layers and targets take turns."""
    model = model or build_model(emit_chip(CHIP), optimise=False, open_state=True)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for layer, result in zip(found, _run(model, [(layer, None) for layer in found], folder / "whole"), strict=True):
        verdict, why = _judge(layer, result, folder / "whole" / result.name, boards=Scoreboard)
        assert verdict == "masked", f"{layer.name} without an upset: {verdict}: {why}"
        layer.cycles = result.cycles
    rng = random.Random(seed)
    plans = []
    for number in range(count):
        layer = found[number // len(TARGETS) % len(found)]
        cycle, target = rng.randrange(layer.cycles), TARGETS[number % len(TARGETS)]
        plans.append((layer, Flip(cycle, target, rng.getrandbits(32), len(layer.memory))))
    upsets = []
    for (layer, flip), result in zip(plans, _run(model, plans, folder / "upset"), strict=True):
        verdict = _judge(layer, result, folder / "upset" / result.name, boards=boards)
        upsets.append(Upset(layer.name, flip, result.flipped, *verdict))
    return Report(upsets)


def _run(model: Model, plans: Sequence[tuple[Layer, Flip | None]], folder: Path) -> list[LaunchResult]:
    folder.mkdir(parents=True, exist_ok=True)
    launches = []
    for number, (layer, flip) in enumerate(plans):
        image = folder / f"{layer.name}.npy"
        if not image.exists():
            np.save(image, layer.memory)
        launch = layer.plan.launches[-1]
        launches.append(
            LaunchJob(
                str(number),
                launch.program_base,
                launch.program_stride,
                folder / str(number),
                (*regions_of(layer.plan, launch), Region(MEMORY, 0, len(layer.memory))),
                watchdog_cycles=WATCHDOG_CYCLES,
                limit_cycles=50 * WATCHDOG_CYCLES,
                memory=(MemoryFile(0, image),),
                settings=SETTINGS,
                inside_seed=number,
                flip=flip,
                writes=writes_of(layer.plan, range(len(layer.plan.steps))[-1:]),
            )
        )
    size = max(len(layer.memory) for layer, _ in plans)
    return run_job(model, ProcessJob(CHIP, size, tuple(launches), keep_going=True), folder / "work")


def _judge(layer: Layer, result: LaunchResult, folder: Path, *, boards: Boards) -> tuple[str, str]:
    launch = layer.plan.launches[-1]
    if result.stray_bytes:
        return "reported", f"{result.stray_bytes} bytes changed elsewhere, the first at {result.stray_address}"
    if not result.ok:
        return "reported", result.violation or result.outcome["error"] or result.outcome["status"]
    board = boards(layer.expected)
    if not check_tensors(folder, layer.plan, launch, board):
        return "reported", str(board.differences[0])
    if why := check_counts(predict(launch.streams, layer.plan.chip), result.counters):
        return "reported", why
    if why := _unlike_machine(layer, result, np.load(folder / f"{MEMORY}.npy")):
        return "UNNOTICED", why
    return "masked", ""


def _unlike_machine(layer: Layer, result: LaunchResult, memory: np.ndarray) -> str:
    """What differs from the machine although the bench says equal; '' if nothing."""
    wrong = (memory != layer.after) & layer.meaningful
    if upset := re.fullmatch(r"dram\[(\d+)\] bit (\d)", result.flipped):
        address, bit = int(upset[1]), int(upset[2])
        wrong[address] &= (memory[address] ^ layer.after[address]) != 1 << bit
    if wrong.any():
        return f"{wrong.sum()} bytes of DRAM differ, the first at {int(wrong.argmax())}"
    core = result.counters["core"][0]
    for counter, count in layer.counts.items():
        if core[counter.name.lower()] != count:
            return f"{counter.name} is {core[counter.name.lower()]}, not {count}"
    causes = sum(core[f"compute_{cause}"] for cause in CAUSES)
    if abs(causes - result.cycles) > 10:
        return f"causes add up to {causes} of {result.cycles} cycles"
    return ""
