"""An engine that registers from outside, end to end: its RTL equals the machine and ops, for layers and programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from estimator import activity, estimate
from estimator.events import predict
from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams
from scheduler import schedule
from tb.fuzz.illegal import RECIPES, illegal_program
from tb.fuzz.judge import expect_fault, expect_legal
from tb.fuzz.legal import legal_program
from tb.fuzz.program import MEMORY_BYTES
from tb.fuzz.runner import run_programs
from tb.model.build import Model, build_model, emit_chip
from tb.model.cache import Cache
from tb.run.counts import check_counts
from tb.sim.settings import MemorySettings
from tests.cases import Case, GraphBuilder, random_image
from tests.layers import run_plans
from tests.third_engine import row_registered

SETTINGS = MemorySettings(latency_cycles=20)


@pytest.fixture(scope="module")
def chip() -> Iterator[ChipParams]:
    """One core of an array and a row, without a tap unit."""
    with row_registered():
        core = CoreParams(
            16, 16, act_bytes=8192, weight_bytes=8192, acc_entries=128, param_blocks=32, queue_depth=4,
            engines=("array", "row"),
        )  # fmt: skip
        yield ChipParams(1, 1, (core,), (MemoryNodeParams(0, 0, Direction.WEST),))


@pytest.fixture(scope="module")
def model(chip: ChipParams, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The Verilog is not cached: of the hardware's sources the cache knows those of the project alone."""
    design = emit_chip(chip, Cache(tmp_path_factory.mktemp("emitted")))
    return build_model(design, memory_bytes=MEMORY_BYTES, optimise=False)


def case(chip: ChipParams, size: int) -> Case:
    """A convolution down to one channel, and one behind it, whose one channel would leave 15 of 16 rows idle."""
    rng = np.random.default_rng(size)
    builder = GraphBuilder(rng, (20, size, size), 10**9)
    graph = builder.graph("net", builder.conv(builder.conv("in", 1, (1, 1)), 400, (3, 3), padding=(1, 1, 1, 1)))
    return Case(size, "row", chip, graph, random_image(rng, graph))


def test_layers_run_on_the_engine_that_is_fastest_for_them(chip: ChipParams, model: Model, tmp_path: Path) -> None:
    """On a map of 9 pixels the array waits for its 16 rows of weights; the row does not, and takes the layer."""
    cases = [case(chip, size) for size in (3, 4)]
    planned = [(case, schedule(case.graph, chip, SETTINGS)) for case in cases]
    for check, result in run_plans(lambda _: model, chip, planned, SETTINGS, tmp_path, counters=True):
        (core,) = result.counters["core"]
        launch = next(launch for launch in check.plan.launches if launch.name == result.name.split()[-1])
        predicted = estimate(launch, chip, SETTINGS)
        if launch.name == "conv1":
            assert predicted.cycles == pytest.approx(result.cycles, rel=0.05)
        (counted,) = activity(launch, chip, SETTINGS).cores
        engine, other = ("row", "array") if launch.name == "conv1" else ("array", "row")
        assert core[f"{engine}_pixels"] == counted.pixels[engine] > 0
        assert core[f"{other}_pixels"] == counted.pixels[other] == 0
        assert check_counts(predict(launch.streams, chip), result.counters) == ""


def test_random_programs_leave_what_the_machine_leaves(chip: ChipParams, model: Model, tmp_path: Path) -> None:
    legal = [expect_legal(legal_program(chip, seed)[0]) for seed in range(6)]
    setup = list(RECIPES).index("SETUP")
    faulty = [expect_fault(illegal_program(chip, setup + number * len(RECIPES))[0]) for number in range(6)]
    for verdict in run_programs(model, [*legal, *faulty], tmp_path / "run"):
        assert verdict.differences == []
