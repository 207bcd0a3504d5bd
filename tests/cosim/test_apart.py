"""Sums that round on their own, and the serial arm of every kind of schedule, on the RTL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estimator import estimate
from golden.int8 import ops
from golden.int8.quant import QAdd, quantize
from golden.net.graph import Add, BatchNorm, Conv2d, GlobalAvgPool, Graph, MaxPool, Relu
from golden.net.weights import seeded
from scheduler import Plan
from scheduler.schedule import SCHEDULES, folds, schedule_kind
from tb.model.build import build_model, emit_chip
from tests.cases import Case
from tests.chips import FOUR_CORES as CHIP
from tests.cosim.test_fused import CALM
from tests.layers import run_plans
from tests.networks import random_network

SAME = (1, 1, 1, 1)
LONG_CYCLES = 4000


def simulate(planned: list[tuple[Case, Plan]], folder: Path) -> list[tuple[float, int]]:
    """Bit for bit against each case's graph; of every launch, the cycles as estimated and as counted."""
    results = run_plans(
        lambda memory: build_model(emit_chip(CHIP), memory_bytes=memory, optimise=False), CHIP, planned, CALM, folder
    )
    launches = [launch for _, plan in planned for launch in plan.launches]
    predicted = [estimate(launch, CHIP, CALM).cycles for launch in launches]
    return [(cycles, result.cycles) for cycles, (_, result) in zip(predicted, results, strict=True)]


def residual_case(seed: int) -> tuple[Case, np.ndarray]:
    """A float network with two residual blocks and a pool, quantised with its sums apart; its last map if folded."""
    graph = Graph(
        "net", "x", (3, 12, 10),
        (
            Conv2d("c1", "x", 16, (3, 3), padding=SAME), Relu("r1", "c1"), MaxPool("m", "r1", (2, 2), (2, 2)),
            Conv2d("c2", "m", 16, (3, 3), padding=SAME, bias=False), BatchNorm("n2", "c2"), Add("a2", "n2", "m"),
            Relu("r2", "a2"), Conv2d("c3", "r2", 16, (3, 3), padding=SAME), Add("a3", "r2", "c3"), Relu("r3", "a3"),
            GlobalAvgPool("g", "r3"),
        ),
        ("r3", "g"),
    )  # fmt: skip
    weights = seeded(graph, seed)
    image = np.random.default_rng(seed).normal(size=graph.input_shape).astype(np.float32)
    folded, apart = (quantize(graph, weights, image, fold_sums=fold) for fold in (True, False))
    assert [node.name for node in apart.nodes if isinstance(node, QAdd)] == ["a2", "a3"]
    raw = apart.tensors["x"].quantize(image)
    return Case(seed, "residual", CHIP, apart, raw), ops.run(folded, raw)["r3"]


def test_sums_apart_round_as_their_own_graph_says(tmp_path: Path) -> None:
    planned = []
    for seed, overlap in ((1, True), (2, False)):
        case, folded = residual_case(seed)
        assert np.any(ops.run(case.graph, case.image)["r3"] != folded)  # so the bits could tell
        planned.append((case, schedule_kind("apart", overlap=overlap).plan(case.graph, CHIP, CALM)))
        assert len(planned[-1][1].launches) == len(case.graph.nodes)
    simulate(planned, tmp_path)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_random_networks_with_units_that_work_one_after_the_other(kind: str, tmp_path: Path) -> None:
    planned = []
    for seed in range(4):
        case = random_network(seed, CHIP, apart=not folds(kind))
        planned.append((case, schedule_kind(kind, overlap=False).plan(case.graph, CHIP, CALM)))
    # Start and end of a launch weigh more in small ones than the estimator knows.
    predicted, counted = np.sum([pair for pair in simulate(planned, tmp_path) if pair[1] > LONG_CYCLES], axis=0)
    assert predicted == pytest.approx(counted, rel=0.05)
