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
    waits: list[tuple[int, Unit, str, float, float]] = field(default_factory=list)
    streamed: dict[Place, tuple[float, float]] = field(default_factory=dict)
    sent_at: dict[Place, float] = field(default_factory=dict)
    served_by: dict[Place, tuple[float, float]] = field(default_factory=dict)
    tokens: list[tuple[Place, Place, float]] = field(default_factory=list)

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

    def wait(self, core: int, unit: Unit, cause: str, begin: float, end: float) -> None:
        self.waits.append((core, unit, cause, begin, end))

    def stream(self, core: int, number: int, streaming: float, overhead: float) -> None:
        self.streamed[core, Unit.COMPUTE, number] = streaming, overhead

    def sent(self, core: int, number: int, time: float) -> None:
        self.sent_at[core, Unit.LOAD, number] = time

    def served(self, memory: int, core: int, number: int | None, begin: float, end: float) -> None:
        if number is not None:
            self.served_by[core, Unit.LOAD, number] = begin, end

    def released(self, source: Place, waits: Place, time: float) -> None:
        self.tokens.append((source, waits, time))

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


@pytest.mark.parametrize("seed", range(3))
def test_waits_and_computes_are_what_the_estimate_says_of_the_compute_units(seed: int) -> None:
    case = random_case(seed, budget_macs=20_000)
    for launch in schedule(case.graph, case.chip).launches:
        seen = Recorder()
        found = estimate(launch, case.chip, trace=seen)
        works = [core for core in range(case.chip.n_cores) if len(launch.streams[core, Unit.COMPUTE]) > 1]
        spent = dict.fromkeys(found.compute, 0.0)
        for core, unit, cause, begin, end in seen.waits:
            spent[cause] += (end - begin) * (unit == Unit.COMPUTE and core in works)
        for streaming, overhead in seen.streamed.values():
            spent["stream"] += streaming
            spent["overhead"] += overhead
        for cause in ("stream", "wait_act", "wait_weight", "wait_acc", "fetch"):
            assert spent[cause] / len(works) == pytest.approx(found.compute[cause])
        assert spent["overhead"] / len(works) <= found.compute["overhead"] + 1e-6, "SETUP and SYNC take the rest"


@pytest.mark.parametrize("seed", range(3))
def test_tokens_come_from_what_began_before_and_end_a_wait(seed: int) -> None:
    case = random_case(seed, budget_macs=20_000)
    for launch in schedule(case.graph, case.chip).launches:
        seen = Recorder()
        estimate(launch, case.chip, trace=seen)
        loads = {place for place, opcode in seen.opcodes.items() if opcode == Opcode.LOAD}
        assert seen.served_by.keys() == seen.sent_at.keys() == loads
        for place, (begin, end) in seen.served_by.items():
            assert seen.begun[place] <= seen.sent_at[place] <= begin <= end <= seen.ended[place]
        assert seen.tokens
        for source, waits, time in seen.tokens:
            assert seen.begun[source] <= time <= seen.begun[waits]
        waited = {(core, unit, end) for core, unit, cause, _, end in seen.waits if cause.startswith("wait")}
        assert waited <= {(*waits[:2], time) for _, waits, time in seen.tokens}
