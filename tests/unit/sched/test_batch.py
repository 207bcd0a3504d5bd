"""Batches: every picture is right in any order of events, and weights are loaded once where that is cheaper."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from estimator import MemoryTiming, estimate
from golden.int8 import ops
from golden.int8.batch import expected_of, plain
from golden.int8.qnodes import QHost
from golden.machine import Machine, machine
from golden.onnx_import import QuantisedModel, load_onnx
from rtl.contract.params import ChipParams, CoreParams, default_chip
from scheduler import Plan, PlanError, schedule
from scheduler.fuse.forms import Forms
from scheduler.kinds.fused import Fused
from scheduler.kinds.kind import ScheduleKind
from scheduler.kinds.layers import Layers
from scheduler.kinds.written import Written, write_schedule
from scheduler.plan.program import HostStep, Launch
from scheduler.plan.traffic import part_bytes
from scheduler.rounds import pictures_at_once
from scheduler.schedule import SCHEDULES, folds, schedule_kind
from tests.cases import Case, GraphBuilder, random_image
from tests.networks import chain_network, pictures_of, random_network
from tests.onnx_models import host_model
from tests.seeds import seeds
from tests.strips import plan_of_strips
from tests.unit.sched.replay import Replay
from tests.unit.sched.test_fused import run_launches
from tests.unit.sched.test_serial import Watched

MEMORY = MemoryTiming(bytes_per_cycle=2)
SMALL = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIPS = {
    "one core": default_chip(1, SMALL, link_bytes=8, vc_depth=32),
    "two cores": default_chip(2, SMALL, link_bytes=8),
    "tiny scratchpads": default_chip(2, replace(SMALL, act_bytes=4 * 1024), link_bytes=8),
    "four cores": default_chip(4, SMALL, link_bytes=8),
    "four cores, two blocks a word": default_chip(4, replace(SMALL, rows=16), link_bytes=8),
    "four cores, multicast": default_chip(4, replace(SMALL, act_bytes=8 * 1024, multicast=True), link_bytes=8),
}
KINDS: dict[str, ScheduleKind] = {"fused": Fused(), "layers": Layers()}


def run(case: Case, plan: Plan, pictures: list[np.ndarray], order_seed: int | None) -> None:
    """All launches in the machine, on one memory; every tensor of every picture that reaches DRAM is compared."""
    expected = expected_of(ops.run(case.graph, picture) for picture in pictures)
    memory = plan.memory_image(*pictures)
    run_launches(case, plan, memory, expected, order_seed)
    for name in plan.graph.outputs:
        np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name], f"{case}: {name} at the end")


def at_once(plan: Plan) -> Counter[tuple[int, bool]]:
    """How many launches take so many pictures at once, and whether they have several parts."""
    return Counter((pictures_in(launch), len(launch.parts) > 1) for launch in plan.launches if launch.nodes)


def pictures_in(launch: Launch) -> int:
    return len({name.rpartition("@")[2] for name in launch.nodes})


def weights_loaded(plan: Plan) -> int:
    chip = plan.chip
    parts = [(launch, part) for launch in plan.launches for part in range(len(launch.parts))]
    return sum(part_bytes(launch, part, chip.link_bytes)["weight"] for launch, part in parts)


@pytest.mark.parametrize("seed", seeds(1, nightly=3))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [3, 4, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (2, 5))])
@pytest.mark.parametrize("chip", CHIPS)
def test_random_networks_are_computed_right_in_any_order(chip: str, batch: int, kind: str, seed: int) -> None:
    case = random_network(batch + seed, CHIPS[chip])
    plan = KINDS[kind].plan(case.graph, case.chip, MEMORY, batch)
    for launch in plan.launches:
        Replay(launch, case.chip).run()
    for order_seed in (None, 1):
        run(case, plan, pictures_of(case, batch), order_seed)


@pytest.mark.parametrize("seed", seeds(2, nightly=4))
@pytest.mark.parametrize("chip", ["four cores", "four cores, two blocks a word", "four cores, multicast"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_pictures_at_once_are_right_whatever_is_cheapest(count: int, chip: str, seed: int) -> None:
    """With as many at once as said, in all launches: rows, whole maps and splits within the cores of a picture."""
    case = random_network(seed, CHIPS[chip])
    decider = Forms(Fused(), case.graph, case.chip, MEMORY, 2 * count).decider()
    search = decider.form.searches[count]
    choices = dict(enumerate(search.best(0, len(decider.form.steps), case.chip.cores[0].act_bytes // 2)))
    plan = decider.writer.plan(choices, decider.launches(choices))
    assert {pictures for pictures, _ in at_once(plan)} == {count}
    for launch in plan.launches:
        Replay(launch, case.chip).run()
    run(case, plan, pictures_of(case, 2 * count), seed)


@pytest.mark.parametrize("seed", seeds(2, nightly=4))
@pytest.mark.parametrize(("cores", "count"), [(2, 1), (2, 2), (4, 2), (4, 4)])
def test_chains_of_strips_are_right_for_pictures_at_once(cores: int, count: int, seed: int) -> None:
    """Each picture goes strip by strip through its own cores, or all of them round by round through all cores."""
    chip = default_chip(cores, replace(SMALL, act_bytes=8 * 1024), link_bytes=8)
    case = chain_network(seed, chip)
    decider = Forms(Fused(), case.graph, chip, MEMORY, 2 * count).decider()
    plan = plan_of_strips(decider, seed % 2 == 0, count)
    assert {pictures for pictures, _ in at_once(plan)} == {count}
    for launch in plan.launches:
        Replay(launch, chip).run()
    run(case, plan, pictures_of(case, 2 * count), seed)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("chip", ["two cores", "four cores, multicast"])
def test_the_serial_arm_of_a_batch_is_right(chip: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every round, and at most one unit of a core works at a time."""
    case = random_network(3, CHIPS[chip], apart=not folds(kind))
    both = [schedule_kind(kind, overlap=overlap).plan(case.graph, case.chip, MEMORY, 4) for overlap in (True, False)]
    assert len({tuple(part.mapping for launch in plan.launches for part in launch.parts) for plan in both}) == 1
    together, serial = (sum(estimate(launch, case.chip, MEMORY).cycles for launch in plan.launches) for plan in both)
    assert together < serial
    for launch in both[1].launches:
        Replay(launch, case.chip).run()
    run(case, both[0], pictures_of(case, 4), 2)
    monkeypatch.setattr(machine, "_Run", Watched)
    run(case, both[1], pictures_of(case, 4), 2)


@pytest.mark.parametrize("pictures", [1, 2, 4])
def test_tensors_that_stay_are_noted_for_every_picture(pictures: int) -> None:
    """By its own name, on its own cores, at one place in every round."""
    case = random_network(2, CHIPS["four cores"])
    decider = Forms(Fused(), case.graph, case.chip, MEMORY, 4).decider()
    search = decider.form.searches[pictures]
    choices = dict(enumerate(search.best(0, len(decider.form.steps), case.chip.cores[0].act_bytes)))
    plan = decider.writer.plan(choices, decider.launches(choices))
    found = [(resident, launch) for launch in plan.launches for resident in launch.residents]
    assert found
    assert Counter(plain(resident.tensor) for resident, _ in found) == {
        plain(resident.tensor): 4 for resident, _ in found
    }
    assert not {resident.tensor for resident, _ in found} & set(plan.tensors)
    team = 4 // pictures
    for resident, launch in found:
        number = int(resident.tensor.rpartition("@")[2])
        cores = range((number - 1) % pictures * team, ((number - 1) % pictures + 1) * team)
        assert set(resident.residence.rows_of) <= set(cores)
        assert any(name.endswith(f"@{number}") for name in launch.nodes)


def heavy(chip: ChipParams) -> Case:
    """A large map with few weights, and then small maps with many: a batch is worth loading those once."""
    rng = np.random.default_rng(5)
    builder = GraphBuilder(rng, (8, 16, 16), 10**9)
    at = builder.conv("in", 16, (3, 3), padding=(1, 1, 1, 1))
    at = builder.conv(at, 16, (3, 3), padding=(1, 1, 1, 1), stride=(2, 2))
    at = builder.pool("maxpool", at, (2, 2), (2, 2))
    for _ in range(3):
        at = builder.conv(at, 64, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("heavy", builder.conv(at, 10, (4, 4), op="fc"))
    return Case(5, "heavy", chip, graph, random_image(rng, graph))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_share_weights_where_those_are_what_takes_time(kind: str) -> None:
    case = heavy(CHIPS["four cores"])
    plan = KINDS[kind].plan(case.graph, case.chip, MEMORY, 4)
    alone = KINDS[kind].plan(case.graph, case.chip, MEMORY)
    assert max(pictures for pictures, _ in at_once(plan)) == 4
    assert weights_loaded(plan) < 1.5 * weights_loaded(alone)
    cycles = [sum(estimate(launch, case.chip, MEMORY).cycles for launch in each.launches) for each in (plan, alone)]
    assert cycles[0] < 3 * cycles[1]
    run(case, plan, pictures_of(case, 4), 3)


def test_a_border_between_one_picture_and_several_goes_where_the_estimator_finds_it_cheapest() -> None:
    case = chain_network(8, CHIPS["two cores"])
    decider = Forms(Fused(), case.graph, case.chip, MEMORY, 4).decider()
    best, steps = decider.choices, len(decider.form.steps)
    pictures = [choice.pictures for choice in best.values()]
    border = pictures.index(2)
    assert border > 1
    assert set(pictures[border:]) == {2}
    parts = [(0, border - 1, decider.form.searches[1]), (border - 1, steps, decider.form.searches[2])]
    act = case.chip.cores[0].act_bytes
    found = [choice for first, end, search in parts for choice in search.best(first, end, act)]
    decider.choices = dict(enumerate(found))
    assert sum(choice.cost for choice in found) > sum(choice.cost for choice in best.values())
    assert [choice.pictures for choice in decider.decided()[0].values()] == pictures


def test_the_same_constants_serve_all_rounds() -> None:
    case = heavy(CHIPS["two cores"])
    plan = Layers().plan(case.graph, case.chip, MEMORY, 6)
    assert max(pictures for pictures, _ in at_once(plan)) == 2
    labels = Counter(segment.label for segment in plan.segments if not segment.label.endswith(" program"))
    constants = [label for label in labels if label.endswith(" parameters")]
    assert len(constants) == len(Layers().plan(case.graph, case.chip, MEMORY).launches)
    assert set(labels.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_is_the_plan_of_a_picture(kind: str) -> None:
    case = random_network(3, CHIPS["two cores"])
    one, plan = (KINDS[kind].plan(case.graph, case.chip, MEMORY, *batch) for batch in ((), (1,)))
    assert plan.graph is case.graph
    assert plan.tensors == one.tensors
    np.testing.assert_array_equal(plan.memory_image(), one.memory_image())


@pytest.mark.parametrize("kind", KINDS)
def test_multiplications_and_nodes_of_all_pictures_are_counted_once(kind: str) -> None:
    case = random_network(4, CHIPS["four cores"])
    plan = KINDS[kind].plan(case.graph, case.chip, MEMORY, 4)
    assert sum(launch.macs for launch in plan.launches) == 4 * case.graph.macs
    names = [name for launch in plan.launches for name in launch.nodes]
    assert sorted(names) == sorted(node.name for node in plan.graph.nodes)
    assert Counter(map(plain, names)) == {node.name: 4 for node in case.graph.nodes}
    assert len({launch.name for launch in plan.launches}) == len(plan.launches)


def test_all_rounds_have_as_many_pictures_and_each_picture_a_core_at_least() -> None:
    assert pictures_at_once(4, CHIPS["four cores"]) == [1, 2, 4]
    assert pictures_at_once(5, CHIPS["four cores"]) == [1]
    assert pictures_at_once(6, CHIPS["four cores"]) == [1, 2, 3]
    assert pictures_at_once(8, CHIPS["one core"]) == [1]
    unlike = replace(CHIPS["two cores"], cores=(SMALL, replace(SMALL, rows=16)))
    assert pictures_at_once(2, unlike) == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_computes_its_nodes_for_every_picture(kind: str, tmp_path: Path) -> None:
    onnx.save(host_model(0), str(tmp_path / "model.onnx"))
    loaded = load_onnx(tmp_path / "model.onnx")
    assert isinstance(loaded, QuantisedModel)
    chip = CHIPS["two cores"]
    case = Case(0, "host", chip, loaded.graph, random_image(np.random.default_rng(0), loaded.graph))
    plan = KINDS[kind].plan(case.graph, chip, MEMORY, 3)
    assert sum(isinstance(step, HostStep) for step in plan.steps) == 3 * sum(
        isinstance(node, QHost) for node in case.graph.nodes
    )
    pictures = pictures_of(case, 3)
    expected, memory = expected_of(ops.run(case.graph, picture) for picture in pictures), plan.memory_image(*pictures)
    for step in plan.steps:
        if isinstance(step, HostStep):
            inputs = [plan.tensors[name].read(memory) for name in step.node.inputs]
            plan.tensors[step.node.output].write(memory, step.node.compute(inputs))
        else:
            assert Machine(chip).run(memory, step.program_base, step.program_stride).ok
        for name in plan.written(step):
            np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name], name)


def test_unlike_cores_take_pictures_one_by_one() -> None:
    chip = replace(CHIPS["two cores"], cores=(SMALL, replace(SMALL, cols=16)))
    case = random_network(1, chip)
    run(case, schedule(case.graph, chip, MEMORY, batch=2), pictures_of(case, 2), 1)


@pytest.mark.parametrize("batch", [0, -3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_pictures_are_refused(kind: str, batch: int) -> None:
    case = random_network(0, CHIPS["one core"])
    with pytest.raises(PlanError, match=f"BATCH={batch}: give the number of pictures, 1 or more"):
        KINDS[kind].plan(case.graph, case.chip, MEMORY, batch)


def test_a_number_of_launches_is_of_one_picture() -> None:
    case = random_network(0, CHIPS["one core"])
    with pytest.raises(PlanError, match="LAUNCHES=3 goes with one picture, not with BATCH=2; leave one of the two out"):
        Fused(launches=3).plan(case.graph, case.chip, MEMORY, 2)


@pytest.mark.parametrize("chip", ["two cores", "four cores", "four cores, multicast"])
def test_what_is_written_of_a_batch_is_read_back(chip: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    for case in (heavy(CHIPS[chip]), random_network(1, CHIPS[chip])):
        plan = Fused().plan(case.graph, case.chip, MEMORY, 4)
        file.write_text(write_schedule(case.graph, case.chip, MEMORY, batch=4))
        again = Written(file).plan(case.graph, case.chip, MEMORY, 4)
        assert at_once(again) == at_once(plan)
        assert again.tensors == plan.tensors
        np.testing.assert_array_equal(again.memory_image(), plan.memory_image())


def test_so_many_pictures_are_computed_at_once_as_somebody_writes(tmp_path: Path) -> None:
    case, file = heavy(CHIPS["four cores"]), tmp_path / "plan.toml"
    text = write_schedule(case.graph, case.chip, MEMORY, batch=4)
    assert "pictures = 4" in text
    edited = re.sub("split = [^]]*]", "split = [1, 2]", text.replace("pictures = 4", "pictures = 2"))
    last = edited.rindex("split = [1, 2]")  # a single row
    file.write_text(edited[:last] + edited[last:].replace("[1, 2]", "[1, 1]", 1).replace('"whole"', '"rows"'))
    plan = Written(file).plan(case.graph, case.chip, MEMORY, 4)
    assert 2 in {pictures for pictures, _ in at_once(plan)}
    run(case, plan, pictures_of(case, 4), 1)


@pytest.mark.parametrize(
    ("batch", "old", "new", "line"),
    [
        (1, "", "", "it is a schedule of batch = 4, not of one picture; give BATCH=4, or write another"),
        (2, "", "", "it is a schedule of batch = 4, not of BATCH=2; give BATCH=4, or write another"),
        (4, "batch = 4", "", "it is a schedule of one picture, not of BATCH=4; leave BATCH out, or write another"),
        (4, "batch = 4", "batch = 0", "batch = 0; it must be the number of pictures, 1 or more"),
        (4, "pictures = 4", "pictures = 3", "pictures = 3 cannot be done at once; it can be 1, 2, 4"),
        (4, "pictures = 4", "picture = 4", "picture is nothing that a launch has; take it out"),
        (4, r"split = \[1, 1\]", "split = [1, 4]", r"split = \[1, 4\] cannot be; it can be \[1, 1\]$"),
    ],
)
def test_batches_that_cannot_be_are_refused(batch: int, old: str, new: str, line: str, tmp_path: Path) -> None:
    case, file = heavy(CHIPS["four cores"]), tmp_path / "plan.toml"
    file.write_text(re.sub(old, new, write_schedule(case.graph, case.chip, MEMORY, batch=4)))
    with pytest.raises(PlanError, match=line) as refusal:
        Written(file).plan(case.graph, case.chip, MEMORY, batch)
    assert str(refusal.value).startswith(f"SCHEDULE={file}: ")
    assert "\n" not in str(refusal.value)
