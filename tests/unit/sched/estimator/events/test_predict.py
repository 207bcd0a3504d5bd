"""Events predicted from the instructions are those that the machine meets as it runs them."""

from __future__ import annotations

from collections import Counter

import pytest

from estimator.events import Events, predict, predict_parts
from golden.machine import Machine
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, TrafficClass, Unit
from rtl.contract.params import ChipParams, default_chip
from rtl.contract.regs import STATIC_COUNTERS, CoreCounter, EventCounter
from scheduler import schedule
from scheduler.kinds.fused import Fused
from tests.cases import random_case

KINDS = [(kind, seed) for kind in (None, "residual", "depthwise", "pool") for seed in range(4)]


@pytest.mark.parametrize(("kind", "seed"), KINDS)
def test_events_from_instructions_are_those_of_a_run(kind: str | None, seed: int) -> None:
    case = random_case(seed, kind=kind, budget_macs=20_000)
    plan = schedule(case.graph, case.chip)
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        result = Machine(case.chip).run(memory, launch.program_base, launch.program_stride)
        assert result.ok
        events = predict(launch.streams, case.chip)
        for core, state in enumerate(result.cores):
            assert {n: events.counts[core][n] for n in STATIC_COUNTERS} == {
                n: state.counts[n] for n in STATIC_COUNTERS
            }, case
        for traffic in TrafficClass:
            if traffic != TrafficClass.PROGRAM:
                read = sum(n for (_, of), n in events.read_bytes.items() if of == traffic)
                assert read == result.read_bytes[:, traffic].sum()


def test_events_of_parts_add_up_to_the_launch() -> None:
    chip = default_chip(4)
    case = random_case(3, kind="residual", chip=chip, budget_macs=200_000)
    (launch, *_) = schedule(case.graph, chip, kind=Fused()).launches
    assert len(launch.parts) > 1
    whole, parts = predict(launch.streams, chip), predict_parts(launch.streams, launch.borders, chip)
    added = Events.together(chip, parts)
    assert (added.counts, added.flows, added.blocks) == (whole.counts, whole.flows, whole.blocks)
    assert (added.read_bytes, added.write_bytes) == (whole.read_bytes, whole.write_bytes)
    assert whole.core_to_core.hops > 0


def programs(chip: ChipParams, **of_core_0: list[bytes]) -> dict[tuple[int, Unit], list[bytes]]:
    """Streams in which core 0 does what is given, and all else nothing."""
    streams = {(core, unit): [encode(Opcode.END)] for core in range(chip.n_cores) for unit in Unit}
    for unit, words in of_core_0.items():
        streams[0, Unit[unit]] = [*words, encode(Opcode.END)]
    return streams


def test_flits_pass_the_routers_on_their_way_and_are_copied_where_ways_part() -> None:
    chip = default_chip(4)  # 2 x 2, memory node 0 west of core 0, node 1 east of core 3
    load = encode(Opcode.LOAD, cores=0b1111, runs=2, run_flits=10, memory=1)
    events = predict(programs(chip, LOAD=[load]), chip)
    idle = predict(programs(chip), chip)
    assert [events.flits_in(core) - idle.flits_in(core) for core in range(4)] == [20] * 4
    assert events.flits_out(0) - idle.flits_out(0) == chip.request_flits
    came = [events.routes.into[core] - idle.routes.into[core] for core in range(4)]
    # The request goes over routers 0, 1 and 3. Data come into router 3, and go west to 2 and north by way of both.
    assert came == [20 + 2, 20 + 2, 20, 20 + 2]
    assert events.read_bytes[1, TrafficClass.WEIGHT] == 20 * chip.link_bytes


def test_a_store_is_acknowledged_for_each_packet() -> None:
    chip = default_chip(1)
    near_the_page = 4096 - 5 * chip.link_bytes
    store = encode(Opcode.STORE, pixels=100, groups=1, lanes=16, addr=near_the_page)
    events, idle = (predict(programs(chip, STORE=words), chip) for words in ([store], []))
    assert events.flits_in(0) - idle.flits_in(0) == 1 + 3  # of 5, 32, 32 and 31 flits
    stored = {CoreCounter.INSTRUCTIONS: 1, CoreCounter.STORE_DRAIN: 100, CoreCounter.ACC_READS: 100}
    stored |= {EventCounter.PARAM_READS: 8, EventCounter.POST_FLITS: 100}
    assert events.counts[0] - idle.counts[0] == Counter(stored)


def test_only_whole_blocks_of_instructions_explain_further_flits() -> None:
    chip = default_chip(1)
    events = predict(programs(chip), chip)
    block = chip.cores[0].fetch_block * 32 // chip.link_bytes
    at_least = events.flits_in(0)
    assert at_least == 3 * block
    assert [events.ahead(0, at_least + n * block) for n in range(-1, 5)] == [None, 0, 1, 2, 3, None]
    assert events.ahead(0, at_least + 1) is None
    more = events.fetching([2])
    assert (more.flits_in(0), more.flits_out(0)) == (at_least + 2 * block, (3 + 2) * chip.request_flits)
    assert more.blocks == (5,)
