"""Fused schedules: what they compute in the machine, in the most hostile order, and what they keep from DRAM."""

from collections.abc import Mapping as Map
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from estimator import MemoryTiming, estimate
from golden.int8 import ops
from golden.machine import Machine
from rtl.contract.codec import decode, encode
from rtl.contract.isa import Opcode, Space, Unit
from rtl.contract.marks import marks_of
from rtl.contract.params import ChipParams, CoreParams, default_chip
from scheduler import Launch, Plan, Segment, schedule
from scheduler.code import link
from scheduler.fuse import search
from scheduler.fuse.forms import Forms
from scheduler.fuse.search import Choice
from scheduler.fuse.stay import WHOLE
from scheduler.kinds.fused import Fused
from scheduler.map.budget import Barriers, Range
from scheduler.map.mapping import Mapping
from scheduler.map.search import best_mappings
from scheduler.plan.traffic import part_bytes
from scheduler.work.work import Work
from tb.fuzz.chips import FUZZ_CHIPS
from tests.cases import Case, GraphBuilder
from tests.networks import chain_network, random_network
from tests.resident import resident_case, resident_plan
from tests.seeds import seeds
from tests.strips import plan_of_strips
from tests.unit.sched.replay import Replay
from tests.weights import plan_of_all_weights

MEMORY = MemoryTiming(bytes_per_cycle=2)
SMALL = CoreParams(8, 8, act_bytes=16 * 1024, weight_bytes=16 * 1024, acc_entries=128, param_blocks=64)
CHIPS = {
    "one core": default_chip(1, SMALL, link_bytes=8, vc_depth=32),
    "two cores": default_chip(2, SMALL, link_bytes=8),
    "tiny scratchpads": default_chip(2, replace(SMALL, act_bytes=4 * 1024), link_bytes=8),
    "four cores, two blocks a word": default_chip(4, replace(SMALL, rows=16), link_bytes=8),
    "six cores": default_chip(6, replace(SMALL, multicast=True), link_bytes=8),
    "four cores, multicast": default_chip(4, replace(SMALL, act_bytes=4 * 1024, multicast=True), link_bytes=8),
    "eight cores in two rows": default_chip(8, SMALL, link_bytes=8, tokens=128),
    "sixteen cores in four rows": default_chip(16, SMALL, link_bytes=8, tokens=128),
}


def run(case: Case, plan: Plan, order_seed: int | None) -> None:
    """All launches in the machine, on one memory; every tensor that reaches DRAM is compared."""
    run_launches(case, plan, plan.memory_image(case.image), ops.run(case.graph, case.image), order_seed)


def run_launches(
    case: Case, plan: Plan, memory: np.ndarray, expected: Map[str, np.ndarray], order_seed: int | None
) -> None:
    """All launches on a memory; what each writes is compared."""
    for launch in plan.launches:
        result = Machine(case.chip).run(
            memory, launch.program_base, launch.program_stride, order_seed=order_seed, fill_seed=order_seed
        )
        assert result.ok, (str(case), launch.name, result)
        assert not any(any(core.tokens) for core in result.cores)
        for name in plan.written(launch):
            np.testing.assert_array_equal(plan.tensors[name].read(memory), expected[name], f"{case}: {name}")


@pytest.mark.parametrize("seed", seeds(4, nightly=8))
@pytest.mark.parametrize("chip", CHIPS)
def test_random_networks_are_computed_right_in_any_order(chip: str, seed: int) -> None:
    case = random_network(seed, CHIPS[chip])
    plan = Fused().plan(case.graph, case.chip, MEMORY)
    for launch in plan.launches:
        Replay(launch, case.chip).run()
    for order_seed in (None, 1, 2):
        run(case, plan, order_seed)


@pytest.mark.parametrize("seed", seeds(4, nightly=8))
@pytest.mark.parametrize("cores", [1, 2, 4])
def test_strips_are_computed_right_in_any_order(cores: int, seed: int) -> None:
    """Chains of tall maps of which the scratchpads hold a few rows, with halos, strides, pools and residuals."""
    chip = default_chip(cores, replace(SMALL, act_bytes=8 * 1024), link_bytes=8)
    case = chain_network(seed, chip)
    decider = Forms(Fused(), case.graph, chip, MEMORY).decider()
    plan = plan_of_strips(decider, longest=seed % 2 == 0)
    for launch in plan.launches:
        Replay(launch, chip).run()
    for order_seed in (None, 1):
        run(case, plan, order_seed)


def little_weights(cores: int) -> ChipParams:
    """Weight scratchpads so small that some layers want all of theirs."""
    core = replace(SMALL, act_bytes=8 * 1024, weight_bytes=2 * 1024)
    return default_chip(cores, core, link_bytes=8, vc_depth=32)


@pytest.mark.parametrize(("cores", "seed"), [(1, 5), (2, 1), (4, 1)])
def test_parts_with_all_of_the_weight_scratchpad_are_computed_right_in_any_order(cores: int, seed: int) -> None:
    """As the search wants it, and with others made to: first, behind each other, and last in a launch."""
    case = random_network(seed, little_weights(cores))
    decider = Forms(Fused(), case.graph, case.chip, MEMORY).decider()
    assert any(choice.all_weights for choice in decider.choices.values())
    for plan in (decider.plan, plan_of_all_weights(decider, 1), plan_of_all_weights(decider, 3)):
        for launch in plan.launches:
            Replay(launch, case.chip).run()
        for order_seed in (None, 1):
            run(case, plan, order_seed)


@pytest.mark.parametrize("cores", [1, 4])
def test_weights_loaded_while_the_part_in_front_has_all_of_the_scratchpad_are_caught(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were load units to run ahead as they do between halves, parts would compute with the weights of others."""
    case = random_network(5, little_weights(cores))
    decider = Forms(Fused(), case.graph, case.chip, MEMORY).decider()
    plan = plan_of_all_weights(decider, 3)
    assert all(_is_right(case, plan, order_seed) for order_seed in range(3))
    monkeypatch.setattr(link, "_share_weights", lambda part, before: False)
    spoilt = plan_of_all_weights(decider, 3)
    assert not all(_is_right(case, spoilt, order_seed) for order_seed in range(3))


@pytest.mark.parametrize(("cores", "seed", "overlap"), [(2, 4, True), (1, 1, False)])
def test_tiles_that_take_turns_are_computed_right_in_any_order(
    cores: int, seed: int, overlap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sparse cores whose weights do not stay, and every mapping with pairs of tiles that there is; with residuals."""
    core = replace(
        FUZZ_CHIPS["1x1_sparse"].cores[0], act_bytes=16 * 1024, weight_bytes=2 * 1024, acc_entries=64, param_blocks=64
    )
    chip = default_chip(cores, core, link_bytes=8, vc_depth=32)

    def in_pairs(
        work: Work, cores: tuple[int, ...], chip: ChipParams, memory: MemoryTiming, count: int, *more: Any
    ) -> list[Mapping]:
        found = best_mappings(work, cores, chip, memory, 100, *more)
        return [mapping for mapping in found if mapping.in_pairs][:1] or found[:count]

    monkeypatch.setattr(search, "best_mappings", in_pairs)
    case = random_network(seed, chip)
    plan = Fused(overlap=overlap).plan(case.graph, chip, MEMORY)
    paired = [part.mapping for launch in plan.launches for part in launch.parts if "two tiles at once" in part.mapping]
    assert len(paired) > 1
    assert any("residual" in mapping for mapping in paired)
    for launch in plan.launches:
        Replay(launch, chip).run()
    for order_seed in (None, 1):
        run(case, plan, order_seed)


def test_what_stays_never_reaches_dram() -> None:
    """A chain of convolutions: input, output, weights and programs are all that crosses the memory nodes."""
    chip = CHIPS["two cores"]
    builder = GraphBuilder(np.random.default_rng(1), (16, 12, 12), 10**9)
    at = "in"
    for _ in range(4):
        at = builder.conv(at, 16, (3, 3), padding=(1, 1, 1, 1))
    graph = builder.graph("chain", at)
    plan = Fused().plan(graph, chip, MEMORY)
    (launch,) = plan.launches
    assert [part.nodes for part in launch.parts] == [(node.name,) for node in graph.nodes]
    assert set(plan.tensors) == {"in", at}
    traffic = [part_bytes(launch, number, chip.link_bytes) for number in range(4)]
    assert [part["ifmap"] > 0 for part in traffic] == [True, False, False, False]
    assert [part["ofmap"] for part in traffic] == [0, 0, 0, 16 * 144]
    apart = schedule(graph, chip, MEMORY)
    assert estimate(launch, chip, MEMORY).cycles < sum(estimate(one, chip, MEMORY).cycles for one in apart.launches)


def test_parts_load_beside_computing_and_their_constants_before_tensors_that_are_not_there_yet() -> None:
    """Tiny scratchpads: parts that load inputs and residuals which the launch itself has written to DRAM."""
    chip, waited = CHIPS["tiny scratchpads"], 0
    for seed in range(4):
        decider = Forms(Fused(), random_network(seed, chip).graph, chip, MEMORY).decider()
        for numbers in filter(lambda numbers: len(numbers) > 1, decider.launches(decider.choices)):
            draft = decider.writer.draft(numbers, decider.choices).draft
            assert all(mapping.loads_beside for part in draft.parts for mapping in part)
            for core, ends in ((core, draft.borders[core, Unit.LOAD]) for core in range(chip.n_cores)):
                for begin, end in pairwise(ends):
                    words = [decode(raw) for raw in draft.streams[core, Unit.LOAD][begin:end]]
                    syncs = [place for place, (opcode, _) in enumerate(words) if opcode == Opcode.SYNC]
                    if not syncs or syncs[-1] + 1 == len(words):
                        continue
                    (_, first), *others = words[syncs[-1] + 1 :]
                    if first["space"] == Space.ACT:  # constants behind it take the place of others
                        waited += 1
                        constants = [fields for _, fields in others if fields["space"] != Space.ACT]
                        assert all(fields["wait0_count"] for fields in constants)
    assert waited


def test_a_tensor_that_stays_whole_takes_one_store_for_all_cores_where_cores_multicast() -> None:
    """Every core gets every flit, one way or the other."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder(rng, (32, 6, 6), 10**9)
    graph = builder.graph("wide", builder.conv(builder.conv("in", 64, (1, 1)), 64, (1, 1)))
    arriving = []
    for multicast in (False, True):
        chip = default_chip(4, replace(SMALL, multicast=multicast), link_bytes=8)
        decider = Forms(Fused(), graph, chip, MEMORY).decider()
        choices = {0: Choice((4, 1), WHOLE, 0.0, 2048), 1: Choice((4, 1), None, 0.0, 0)}
        plan = decider.writer.plan(choices, decider.launches(choices))
        (launch,) = plan.launches
        Replay(launch, chip).run()
        case = Case(0, "wide", chip, graph, rng.integers(-128, 128, (32, 6, 6)).astype(np.int8))
        for order_seed in (None, 1, 2, 3):
            run(case, plan, order_seed)
        words = [decode(word) for (_, unit), stream in launch.streams.items() if unit == Unit.STORE for word in stream]
        stores = [fields for opcode, fields in words if opcode == Opcode.STORE and fields["to_core"]]
        assert {fields["more"] for fields in stores} == {3 if multicast else 0}
        arriving.append(sum(fields["pixels"] * fields["groups"] * (1 + fields["more"]) for fields in stores))
    assert arriving == [4 * 64 // 8 * 36] * 2


def test_parts_end_at_marks_where_cores_have_a_trace_memory() -> None:
    chip = default_chip(2, replace(SMALL, marks=16), link_bytes=8)
    case = random_network(0, chip)
    plan = Fused().plan(case.graph, chip, MEMORY)
    for launch, passed in ((launch, marks_of(chip, launch.streams)) for launch in plan.launches):
        count = len(launch.parts)
        assert passed == (tuple(range(1, count + 1)) if count > 1 else (),) * 2


@pytest.mark.parametrize(
    ("chip", "drop"),
    [("two cores", "computed"), ("two cores", "data"), ("eight cores in two rows", "computed"),
     ("eight cores in two rows", "row"), ("eight cores in two rows", "data")],
)  # fmt: skip
def test_a_resident_tensor_read_too_early_is_caught_by_the_machine(chip: str, drop: str) -> None:
    """With one of the waits left out: in some order the machine reads what is not there yet, or no longer."""
    case = random_network(0, CHIPS[chip])
    plan = Fused().plan(case.graph, case.chip, MEMORY)
    counters = getattr(Barriers.of(case.chip), drop)
    spoilt = []
    for launch in plan.launches:
        streams = {place: [_without(word, counters) for word in stream] for place, stream in launch.streams.items()}
        spoilt.append(replace(launch, streams=streams))
    spoilt_plan = _with_launches(plan, spoilt)
    assert all(_is_right(case, plan, order_seed) for order_seed in range(8))
    assert not all(_is_right(case, spoilt_plan, order_seed) for order_seed in range(8))


def _is_right(case: Case, plan: Plan, order_seed: int) -> bool:
    """Whether all tensors are; tokens that nobody waited for may be left."""
    expected = ops.run(case.graph, case.image)
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        Machine(case.chip).run(
            memory, launch.program_base, launch.program_stride, order_seed=order_seed, fill_seed=order_seed
        )
        written = plan.written(launch)
        if not all(np.array_equal(plan.tensors[name].read(memory), expected[name]) for name in written):
            return False
    return True


@pytest.mark.parametrize("cores", [6, 8, 16])
def test_what_a_core_tells_grows_with_the_sides_of_the_mesh(cores: int) -> None:
    """Six cores tell all others at once; of more, each tells the other columns of its row and the rows."""
    chip = default_chip(cores, SMALL, link_bytes=8, tokens=128)
    case = random_network(1, chip)
    plan = Fused().plan(case.graph, chip, MEMORY)
    launch = max(plan.launches, key=lambda launch: len(launch.parts))
    told = chip.n_cores if cores == 6 else chip.mesh_width - 1 + chip.mesh_height
    borders = len(launch.parts) - 1
    written = len(_signals_of(launch, chip, Barriers.of(chip).written))
    assert borders > 2
    barriers = Barriers.of(chip)
    signals = [*_signals_of(launch, chip, barriers.row), *_signals_of(launch, chip, barriers.computed)]
    again = written * (chip.mesh_width - 1) // chip.mesh_height if cores > 6 else 0
    assert len(signals) == borders * chip.n_cores * told + again


def _signals_of(launch: Launch, chip: ChipParams, counters: Range) -> list[tuple[int, int]]:
    """(core, counter) of every signal of a store unit to these counters."""
    return [
        (fields[f"signal{number}_core"], fields[f"signal{number}_token"])
        for core in range(chip.n_cores)
        for opcode, fields in map(decode, launch.streams[core, Unit.STORE])
        for number in range(3)
        if opcode == Opcode.SYNC and fields[f"signal{number}_valid"]
        and counters.first <= fields[f"signal{number}_token"] < counters.end
    ]  # fmt: skip


def test_cores_that_store_to_the_same_ones_begin_with_different_ones() -> None:
    case = resident_case(CHIPS["two cores"])
    (launch,) = resident_plan(case, (1, 2), (2, 1)).launches
    streams = [map(decode, launch.streams[core, Unit.STORE]) for core in range(2)]
    first = [next(fields["core"] for opcode, fields in stream if opcode == Opcode.STORE) for stream in streams]
    assert first == [0, 1]


def _without(word: bytes, counters: Range) -> bytes:
    """An instruction that does not wait for these counters."""
    opcode, fields = decode(word)
    if opcode != Opcode.SYNC:
        return word
    del fields["opcode"]
    for number in range(3):
        if counters.first <= fields[f"wait{number}_first"] < counters.end:
            fields[f"wait{number}_count"] = 0
    return encode(opcode, **fields)


def _with_launches(plan: Plan, launches: list[Launch]) -> Plan:
    """The plan with other programs of the same length, in its memory too."""
    segments = [segment for segment in plan.segments if not segment.label.endswith(" program")]
    for launch in launches:
        for core in range(plan.chip.n_cores):
            segments += [Segment(*launch.program(core, unit), f"{launch.name} program") for unit in Unit]
    return replace(plan, steps=tuple(launches), segments=tuple(segments))
