"""Trace of an estimate: every instruction begins once and ends once, in the order of time, and costs nothing."""

from dataclasses import dataclass, field

import pytest

from estimator import MemoryTiming, Trace, estimate
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode, TrafficClass, Unit
from scheduler import schedule
from tests.cases import random_case
from tests.unit.sched.estimator.handmade import EXACT, ONE, QUICK, SETUP, Handmade, compute, load

Place = tuple[int, Unit, int]


@dataclass
class Recorder(Trace):
    """Begin and end of each instruction, as they were told."""

    begun: dict[Place, float] = field(default_factory=dict)
    ended: dict[Place, float] = field(default_factory=dict)
    opcodes: dict[Place, Opcode] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    def begin(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        place = core, unit, number
        assert place not in self.begun
        self.begun[place] = time
        self.opcodes[place] = opcode
        self.times.append(time)

    def end(self, core: int, unit: Unit, number: int, opcode: Opcode, time: float) -> None:
        place = core, unit, number
        assert self.opcodes[place] == opcode
        assert place not in self.ended
        self.ended[place] = time
        self.times.append(time)

    def span(self, unit: Unit, number: int) -> float:
        return self.ended[0, unit, number] - self.begun[0, unit, number]


@pytest.mark.parametrize("seed", range(6))
def test_every_instruction_begins_and_ends_once_in_the_order_of_time(seed: int) -> None:
    case = random_case(seed, budget_macs=20_000)
    for launch in schedule(case.graph, case.chip).launches:
        seen = Recorder()
        traced = estimate(launch, case.chip, trace=seen)
        assert traced == estimate(launch, case.chip)
        every = {(core, unit, n) for (core, unit), stream in launch.streams.items() for n in range(len(stream))}
        assert seen.begun.keys() == seen.ended.keys() == every
        assert seen.times == sorted(seen.times)
        assert max(seen.times) <= traced.cycles
        for core, unit, number in every - {(core, unit, 0) for core, unit in launch.streams}:
            assert seen.begun[core, unit, number] >= seen.begun[core, unit, number - 1]


def test_a_compute_ends_with_its_last_pixel_and_a_load_with_its_last_flit() -> None:
    fields = {"pixels": 100, "groups": 2, "lanes": 16, "traffic": TrafficClass.OFMAP}
    store = encode(Opcode.STORE, **fields, wait0_first=5, wait0_count=1)
    program = Handmade(ONE, (load(run_flits=300, token_valid=1, token=5),), (SETUP, compute(), compute()), (store,))
    seen, slow = Recorder(), EXACT.with_values({"array.start": 7.0, "array.drain": 50.0, "hop_latency": 10.0})
    estimate(program, ONE, MemoryTiming(40), slow, trace=seen)
    assert [seen.span(Unit.COMPUTE, number) for number in range(4)] == [0, 3607, 3607, 0]
    instructions = 34  # that the node sends in front
    assert seen.span(Unit.LOAD, 0) == pytest.approx(10 + 40 + 300 + 10 + instructions)  # there, in the memory, and back
    assert seen.ended[0, Unit.LOAD, 0] == pytest.approx(seen.begun[0, Unit.STORE, 0])
    assert seen.span(Unit.STORE, 0) == pytest.approx(200)


def test_what_a_change_of_the_engine_costs_is_seen_in_the_compute_behind_it() -> None:
    tap = encode(Opcode.SETUP, engine=1, kernel_h=1, kernel_w=1, out_w=20)
    seen = Recorder()
    estimate(Handmade(ONE, compute=(SETUP, compute(), tap, compute())), ONE, QUICK, EXACT, trace=seen)
    assert seen.span(Unit.COMPUTE, 3) == 2 * 200 + 32
