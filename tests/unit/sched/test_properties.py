"""Properties of every plan, on random networks and chips."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from rtl.contract.codec import decode, encode
from rtl.contract.isa import INSTRUCTION_BYTES, Opcode, Unit
from scheduler import Plan, schedule
from tests.cases import CHIPS, KINDS, Case, random_case
from tests.unit.sched.replay import Replay

SEEDS = range(48)


@cache
def planned(seed: int) -> tuple[Case, Plan]:
    case = random_case(seed, budget_macs=100_000)
    return case, schedule(case.graph, case.chip)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_order_deadlocks_or_loses_an_operand(seed: int) -> None:
    case, plan = planned(seed)
    for launch in plan.launches:
        Replay(launch, case.chip).run()


@pytest.mark.parametrize("chip", CHIPS)
def test_simulated_chips_neither_deadlock_nor_lose_an_operand(chip: str) -> None:
    for seed in range(len(KINDS)):
        case = random_case(seed, chip=CHIPS[chip], budget_macs=30_000)
        for launch in schedule(case.graph, case.chip).launches:
            Replay(launch, case.chip).run()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_output_is_written_once_and_nothing_else(seed: int) -> None:
    case, plan = planned(seed)
    written = np.zeros(plan.dram_bytes, np.uint8)
    for launch in plan.launches:
        replay = Replay(launch, case.chip)
        replay.run()
        for store in replay.stores:
            group, pixel = np.arange(store["groups"])[:, None, None], np.arange(store["pixels"])[:, None]
            lane = store["lane_offset"] + np.arange(store["lanes"])
            at = store["addr"] + (group * store["group_stride"] + pixel) * case.chip.link_bytes + lane
            np.add.at(written, at, 1)
        done = plan.written(launch)
        for name in done:
            place = plan.tensors[name]
            region = written[place.addr : place.end]
            wanted = place.layout.pack(np.ones(place.shape, np.int8)).astype(bool)
            assert (region[wanted] == 1).all(), f"{name} is not written exactly once"
            assert (region <= 1).all()
        if done:  # parts of a concatenation may lie in wait for the others
            for name in done:
                written[plan.tensors[name].addr : plan.tensors[name].end] = 0
            if not any(node.op == "concat" for node in case.graph.nodes):
                assert not written.any(), f"{launch.name} writes elsewhere"


@pytest.mark.parametrize("seed", SEEDS)
def test_live_tensors_and_constants_never_overlap(seed: int) -> None:
    case, plan = planned(seed)
    fixed = sorted((segment.addr, segment.addr + segment.data.size) for segment in plan.segments)
    for (_, end), (start, _) in pairwise(fixed):
        assert end <= start
    assert fixed[-1][1] <= plan.dram_bytes
    parts = {name: node.output for node in case.graph.nodes if node.op == "concat" for name in node.inputs}
    for index in range(-1, len(plan.launches)):
        live = set(plan.live_after(index))
        if index + 1 < len(plan.launches):  # and what the next launch writes
            live |= set(plan.written(plan.launches[index + 1]))
        places = sorted((plan.tensors[name].addr, plan.tensors[name].end, name) for name in live)
        for (_, end, first), (start, _, second) in pairwise(places):
            assert end <= start or second in (parts.get(first), first) or first == parts.get(second)
        assert all(end <= fixed[0][0] for _, end, _ in places)


@pytest.mark.parametrize("seed", SEEDS)
def test_programs_fit_and_decode(seed: int) -> None:
    case, plan = planned(seed)
    align = max(INSTRUCTION_BYTES, case.chip.link_bytes)
    for launch in plan.launches:
        assert launch.program_base % align == 0
        assert launch.program_stride % 64 == 0
        assert set(launch.streams) == {(core, unit) for core in range(case.chip.n_cores) for unit in Unit}
        for (core, unit), stream in launch.streams.items():
            assert len(stream) * INSTRUCTION_BYTES <= launch.program_stride
            for raw in stream:
                opcode, fields = decode(raw)
                fields.pop("opcode")
                assert encode(opcode, **fields) == raw
            assert decode(stream[-1])[0] == Opcode.END
            addr, data = launch.program(core, unit)
            assert addr + data.size + 64 * INSTRUCTION_BYTES <= plan.dram_bytes


@pytest.mark.parametrize("seed", [2, 9])
def test_schedules_are_reproducible(seed: int) -> None:
    case, plan = planned(seed)
    again = schedule(case.graph, case.chip)
    assert [launch.streams for launch in again.launches] == [launch.streams for launch in plan.launches]
    assert again.tensors == plan.tensors
