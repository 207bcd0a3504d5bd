"""Activity of a launch: the estimator and the machine, which know nothing of each other, tell of the same."""

import pytest

from estimator import activity, estimate
from golden.machine import Machine
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode
from scheduler import schedule
from tests.cases import random_case
from tests.unit.sched.estimator.handmade import EXACT, QUICK, SETUP, TWO, Handmade, compute

KINDS = [(kind, seed) for kind in (None, "residual", "depthwise", "pool") for seed in range(4)]


@pytest.mark.parametrize(("kind", "seed"), KINDS)
def test_estimator_and_machine_agree_on_what_every_core_does(kind: str | None, seed: int) -> None:
    case = random_case(seed, kind=kind, budget_macs=20_000)
    plan = schedule(case.graph, case.chip)
    memory = plan.memory_image(case.image)
    for launch in plan.launches:
        done = Machine(case.chip).run(memory, launch.program_base, launch.program_stride).activity
        predicted = activity(launch, case.chip)
        assert done.cycles is None
        for core, (there, here) in enumerate(zip(done.cores, predicted.cores, strict=True)):
            assert there.pixels == here.pixels, core
            assert (there.passes, there.instructions) == (here.passes, here.instructions), core
            assert sum(here.compute_cycles.values()) == pytest.approx(predicted.cycles)
        for traffic in ("weight", "ifmap", "ofmap", "psum"):
            assert done.read_bytes[traffic] == predicted.read_bytes[traffic]
            # A machine's write is a whole flit; a store counts the lanes that it is for.
            assert done.write_bytes[traffic] >= predicted.write_bytes[traffic]
        assert done.write_bytes["ofmap"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_an_activity_is_that_of_the_estimate(seed: int) -> None:
    case = random_case(seed, budget_macs=20_000)
    for launch in schedule(case.graph, case.chip).launches:
        got, expected = activity(launch, case.chip), estimate(launch, case.chip)
        assert got.cycles == expected.cycles
        assert got.dram_bytes == expected.dram_bytes


def test_a_core_without_work_is_done_all_the_time_but_for_its_fetch() -> None:
    program = Handmade(TWO, compute=(SETUP, compute()))
    got = activity(program, TWO, QUICK, EXACT)
    busy, idle = got.cores
    assert busy.compute_cycles["stream"] == 18 * 200
    assert (busy.pixels, busy.passes, busy.instructions) == ({"array": 18 * 200, "tap": 0}, 18, 5)
    assert (idle.pixels, idle.passes, idle.instructions) == ({"array": 0, "tap": 0}, 0, 3)
    assert {cause for cause, cycles in idle.compute_cycles.items() if cycles} == {"fetch", "done"}
    assert 0 < idle.compute_cycles["fetch"] == got.cycles - idle.compute_cycles["done"] < 100


def test_short_passes_stream_fewer_pixels_than_cycles() -> None:
    setup = encode(Opcode.SETUP, kernel_h=1, kernel_w=1, out_w=1, in_w=1)
    (core, _) = activity(Handmade(TWO, compute=(setup, compute(blocks=10, out_h=1))), TWO, QUICK, EXACT).cores
    assert (core.pixels["array"], core.compute_cycles["stream"]) == (10, 160)
