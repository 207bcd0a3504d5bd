"""Bids of engines, and that one from outside can join."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from golden.int8 import ops
from golden.int8.qnodes import QConv, QPool
from golden.machine import Machine
from rtl.contract.engines import EngineError
from rtl.contract.params import CoreParams, default_chip
from scheduler import Plan, PlanError, schedule
from scheduler.engines import LOWERINGS, bids, engines_of
from scheduler.engines.array import ARRAY, ArrayPasses
from scheduler.kinds.layers import Layers
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.work.sink import MemorySink
from scheduler.work.task import Task
from scheduler.work.work import Work
from tests.cases import Case, GraphBuilder, random_image

CHIP = default_chip(2, CoreParams(8, 8))


def case(*, pool: str = "avgpool", channels: int = 20) -> Case:
    """One pool."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder(rng, (channels, 9, 9), 10**9)
    graph = builder.graph("net", builder.pool(pool, "in", (3, 3), (2, 2)))
    return Case(0, pool, CHIP, graph, random_image(rng, graph))


class SumsOnTheArray:
    """An engine from outside: an average pool as a convolution of the array, with weights of one on the diagonal."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def bids(self, task: Task, core: CoreParams) -> list[Work]:
        self.asked.append(task.name)
        node = task.node
        if not isinstance(node, QPool) or node.requant is None:
            return []
        (source,) = task.inputs
        channels = source.shape[0]
        weight = np.zeros((channels, channels, *node.kernel), np.int8)
        weight[range(channels), range(channels)] = 1
        conv = QConv(
            node.name, "conv", node.input, node.output, weight, np.full(channels, node.bias, np.int32), node.stride,
            node.padding, (1, 1), 1, node.pad_value, node.requant, task.sink.shape[1:],
        )  # fmt: skip
        works = ARRAY.bids(replace(task, node=conv), core)
        return [replace(work, passes=FreePasses(**vars(work.passes))) for work in works]


@dataclass(frozen=True, eq=False, kw_only=True)
class FreePasses(ArrayPasses):
    """Passes that promise to cost nothing."""

    def pass_cycles(self, *_: object) -> float:
        return 0.0


@pytest.fixture
def sums() -> Iterator[SumsOnTheArray]:
    with LOWERINGS.registered("sums", SumsOnTheArray()) as engine:
        yield engine


def check(case: Case, plan: Plan) -> None:
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        assert Machine(CHIP).run(memory, launch.program_base, launch.program_stride).ok
    (output,) = case.graph.outputs
    np.testing.assert_array_equal(plan.tensors[output].read(memory), ops.run(case.graph, case.image)[output])


def test_every_engine_is_asked_and_each_bid_is_searched(sums: SumsOnTheArray) -> None:
    pool, searched = case(), []

    def search(work: Work, *arguments: object) -> list[Mapping]:
        searched.append(type(work.passes).__name__)
        return best_mappings(work, *arguments)  # type: ignore[arg-type]

    check(pool, schedule(pool.graph, CHIP, kind=Layers(search=search)))
    assert sums.asked == [pool.graph.nodes[0].name]
    assert searched == ["TapPasses", "FreePasses"]


def test_the_bid_that_the_estimator_finds_fastest_wins() -> None:
    """What the engine promises brings it among those that are estimated, no further."""
    pool = case()
    with LOWERINGS.registered("sums", SumsOnTheArray()):
        plan = schedule(pool.graph, CHIP)
    check(pool, plan)
    assert plan.launches[0].streams == schedule(pool.graph, CHIP).launches[0].streams


def test_an_engine_from_outside_computes_what_it_bids_for(sums: SumsOnTheArray) -> None:
    def only_sums(work: Work, *arguments: object) -> list[Mapping]:
        if not isinstance(work.passes, FreePasses):
            raise PlanError("not in this test")
        return best_mappings(work, *arguments)  # type: ignore[arg-type]

    pool = case()
    plan = schedule(pool.graph, CHIP, kind=Layers(search=only_sums))
    check(pool, plan)
    assert plan.launches[0].streams != schedule(pool.graph, CHIP).launches[0].streams


def test_an_engine_registers_once(sums: SumsOnTheArray) -> None:
    with pytest.raises(EngineError, match="engine 'sums' has a lowering already: choose another name"):
        LOWERINGS.register("sums", sums)
    assert list(engines_of(CHIP.cores[0])) == ["array", "tap", "sums"]


def test_a_task_that_suits_no_engine_is_refused() -> None:
    pool = case(pool="maxpool")
    place = schedule(pool.graph, CHIP).tensors
    task = Task(node=pool.graph.nodes[0], inputs=(place["in"],), sink=MemorySink(place[pool.graph.outputs[0]]))
    with pytest.raises(PlanError, match=r"'maxpool0' \(maxpool\) suits none of the core's engines \(array\)"):
        bids(task, replace(CHIP.cores[0], engines=("array",)))
    assert len(bids(task, CHIP.cores[0])) == 1


@pytest.mark.parametrize("engines", [("array",), ("tap",)])
def test_a_core_computes_with_its_own_engines_alone(engines: tuple[str, ...]) -> None:
    """The tap unit cannot do the convolution, and the array cannot add the residual."""
    builder = GraphBuilder(np.random.default_rng(0), (8, 5, 5), 10**9)
    graph = builder.graph("net", builder.conv("in", 8, (1, 1), residual="in"))
    with pytest.raises(PlanError, match=rf"suits none of the core's engines \({engines[0]}\)"):
        schedule(graph, default_chip(1, replace(CHIP.cores[0], engines=engines)))
