"""What sparse engines do, told by a run: products are those of the masks, and the counters are held to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimator.events import Events
from golden.int8 import ops
from golden.int8.qnodes import QConv
from rtl.contract.engines import ENGINES
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import EngineCounter
from scheduler.plan.program import Plan
from scheduler.schedule import schedule, schedule_kind
from tb.run.counts import check_counts
from tb.run.data_events import told_events
from tb.run.presets import NAMED_CHIPS, preset_chip
from tb.run.sparsity import sparse_figures
from tb.run.twin import dense_twin
from tests.cases import GraphBuilder
from tests.counters import memory_counters

CORE = CoreParams(
    rows=16, cols=16, act_bytes=32768, acc_entries=256, engines=("sparse", "tap"), sparse_lanes=4, sparse_columns=8,
    marks=16, multicast=True,
)  # fmt: skip
CHIP = default_chip(2, CORE)
PES = CHIP.n_cores * CORE.sparse_lanes * CORE.sparse_columns


def _network(seed: int) -> tuple[Plan, dict[str, np.ndarray]]:
    """Two 3x3 layers, half of whose weights and inputs are zero, in one launch."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder(rng, (24, 9, 7), 500_000)
    name = "in"
    for filters in (40, 16):
        name = builder.conv(name, filters, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("net", name)
    for node in graph.nodes:
        assert isinstance(node, QConv)
        node.weight[rng.random(node.weight.shape) < 0.5] = 0
    first = graph.nodes[0]
    assert isinstance(first, QConv)
    image = rng.integers(-128, 128, (24, 9, 7), np.int8)
    image[rng.random(image.shape) < 0.5] = first.pad_value
    return schedule(graph, CHIP, kind=schedule_kind("fused")), ops.run(graph, image)


def _products(node: QConv, tensor: np.ndarray) -> int:
    """Of a 3x3 layer with padding of 1, by loops over the kernel: pairs of a weight and an input that are not zero."""
    live = np.pad(tensor != node.pad_value, ((0, 0), (1, 1), (1, 1)))
    height, width = tensor.shape[1:]
    kept = (node.weight != 0).sum(axis=0)
    return sum(
        int((kept[:, y, x, None, None] * live[:, y : y + height, x : x + width]).sum())
        for y in range(3)
        for x in range(3)
    )


def test_products_of_parts_are_those_of_their_masks() -> None:
    plan, tensors = _network(1)
    (launch,) = plan.launches
    assert len(launch.parts) == 2
    events = told_events(plan, 0, tensors)
    twin = {node.name: 100.0 for node in plan.graph.nodes}
    whole, parts = sparse_figures(plan, launch, events, twin)
    for node, figures in zip(plan.graph.nodes, parts, strict=True):
        assert isinstance(node, QConv)
        assert figures["pairs"] == _products(node, tensors[node.input])
        assert figures["pairs"] + figures["skipped"] == node.macs
        assert 0 < figures["empty"] < figures["items"] * CORE.sparse_lanes * CORE.sparse_columns
        assert figures["dense_weight_bytes"] == node.weight.size
        assert figures["dense_cycles"] == 100
        assert "starved" not in figures
    assert whole["pairs"] == sum(figures["pairs"] for figures in parts)
    # Masks take a bit a weight, lists a byte for each of half of them, more or less.
    assert 0.5 < whole["weight_bytes"] / whole["dense_weight_bytes"] < 2


def test_counters_of_products_are_demanded_and_add_up_with_idle_cycles() -> None:
    plan, tensors = _network(2)
    events = told_events(plan, 0, tensors)
    counters = _counted(CHIP, events.whole)
    assert check_counts(events.whole, counters) == ""
    counters["core"][1]["sparse_starved"] += 40
    counters["core"][0]["sparse_blocked"] += 3
    whole, _ = sparse_figures(plan, plan.launches[0], events, {}, counters, 10_000)
    assert (whole["starved"], whole["blocked"]) == (40, 3)
    assert sum(whole[name] for name in ("pairs", "empty", "starved", "blocked", "resting")) == PES * 10_000
    counters["core"][1]["sparse_pairs"] -= 1
    wrong = counters["core"][1]["sparse_pairs"]
    assert check_counts(events.whole, counters) == (
        f"core 1 counted {wrong} sparse pairs, its program and data have {wrong + 1}"
    )


def _counted(chip: ChipParams, events: Events) -> dict[str, list[dict[str, int]]]:
    """Counters as the hardware would have them, those of time 0."""
    cores = []
    for core, params in enumerate(chip.cores):
        numbers = ENGINES.counters(params.engines)
        flits = {"flits_in": events.flits_in(core), "flits_out": events.flits_out(core)}
        cores.append({name.lower(): events.counts[core][number] for name, number in numbers.items()} | flits)
    routers = [{name.lower(): count for name, count in events.router(core).items()} for core in range(chip.n_cores)]
    return {"core": cores, "router": routers, "memory": memory_counters(chip, events)}


def test_other_activations_make_other_products() -> None:
    plan, tensors = _network(3)
    first = plan.graph.nodes[0]
    assert isinstance(first, QConv)
    zero = {**tensors, first.input: np.full_like(tensors[first.input], first.pad_value)}
    some, none = (told_events(plan, 0, known).parts[0] for known in (tensors, zero))
    pairs = [sum(counts[EngineCounter.SPARSE_PAIRS] for counts in events.counts) for events in (some, none)]
    assert pairs[0] > 0
    assert pairs[1] == 0


@pytest.mark.parametrize("cores", [1, 4])
def test_the_dense_twin_of_a_sparse_preset_is_the_dense_preset(cores: int) -> None:
    assert dense_twin(NAMED_CHIPS[f"sparse{cores}"]) == preset_chip(cores)
    assert dense_twin(preset_chip(cores)) is None
    odd = replace(CORE, sparse_lanes=8, sparse_columns=16)
    twin = dense_twin(default_chip(1, odd))
    assert twin is not None
    assert (twin.cores[0].rows, twin.cores[0].cols, twin.cores[0].acc_entries) == (16, 8, 512)
