"""Engines from outside in the estimate: their passes, their changes to and from others, and their coefficients."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from estimator import EngineCycles, engines, estimate
from estimator.coefficients import Coefficients
from estimator.engines import ARRAY, TAP, EngineTiming, Pass, switch_cycles
from estimator.instructions import masked
from rtl.contract.codec import encode
from rtl.contract.isa import Engine, Opcode
from rtl.contract.params import CoreParams
from tests.unit.sched.estimator.handmade import EXACT, ONE, QUICK, SETUP, Handmade, compute


class Doubler(EngineTiming):
    """An engine that takes two cycles a pixel, and as many blocks at once as its SETUP's tap_shift says."""

    name = "doubler"
    setup_fields = frozenset({"out_w", "tap_shift"})

    def passes(self, setup: dict[str, int], fields: dict[str, int]) -> tuple[int, Pass]:
        return fields["blocks"] // setup["tap_shift"], Pass(fields["out_h"], setup["out_w"])

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return 2 * streamed.pixels

    def way_cycles(self, core: CoreParams) -> int:
        return 100


WITH_IT = EXACT.with_engine("doubler", EngineCycles(start=0.0, drain=0.0, idle=11.0))


@pytest.fixture
def doubler() -> Iterator[EngineTiming]:
    """In the place of the tap unit, whose code a SETUP can hold."""
    engines.withdraw(Engine.TAP)
    timing = Doubler()
    engines.register(Engine.TAP, timing)
    yield timing
    if Engine.TAP in dict(engines.registered()):
        engines.withdraw(Engine.TAP)
    engines.register(Engine.TAP, TAP)


def its_setup(blocks_at_once: int) -> bytes:
    return encode(Opcode.SETUP, engine=Engine.TAP, tap_shift=blocks_at_once, kernel_h=1, kernel_w=1, out_w=20)


def test_an_engine_from_outside_is_estimated_by_its_own_rules(doubler: EngineTiming) -> None:
    def streamed(at_once: int) -> float:
        program = Handmade(ONE, compute=(its_setup(at_once), compute(blocks=12, out_h=10)))
        return estimate(program, ONE, QUICK, WITH_IT).compute["stream"]

    assert (streamed(1), streamed(3)) == (12 * 2 * 200, 4 * 2 * 200)  # tap_shift is masked out without it


def test_its_fields_of_a_setup_are_masked_out_again_without_it(doubler: EngineTiming) -> None:
    setups = [[its_setup(1)], [its_setup(3)]]
    assert masked(setups[:1], False) != masked(setups[1:], False)
    engines.withdraw(Engine.TAP)
    engines.register(Engine.TAP, TAP)
    assert masked(setups[:1], False) == masked(setups[1:], False)
    engines.withdraw(Engine.TAP)
    engines.register(Engine.TAP, doubler)


def test_a_change_waits_for_the_engine_before_to_be_idle(doubler: EngineTiming) -> None:
    setup = its_setup(1)
    same = Handmade(ONE, compute=(setup, compute(), setup, compute()))
    program = Handmade(ONE, compute=(setup, compute(), SETUP, compute()))
    got = estimate(program, ONE, QUICK, WITH_IT)
    assert got.compute["overhead"] - estimate(same, ONE, QUICK, WITH_IT).compute["overhead"] == 100 + 11


def test_a_change_costs_what_both_engines_take_to_be_idle() -> None:
    core = ONE.cores[0]
    slow = WITH_IT.with_engine("array", EngineCycles(0.0, 0.0, 3.0)).with_engine("tap", EngineCycles(0.0, 0.0, 7.0))
    way = core.rows + core.cols
    assert switch_cycles(core, ARRAY, TAP, slow) == switch_cycles(core, TAP, ARRAY, slow) == (way + 3 + 7) / 2
    assert switch_cycles(core, Doubler(), TAP, slow) == (111 + 7) / 2


def test_an_engine_without_coefficients_is_an_error(doubler: EngineTiming) -> None:
    program = Handmade(ONE, compute=(its_setup(1), compute()))
    with pytest.raises(ValueError, match="engine 'doubler' has no coefficients, only array, tap: add them"):
        estimate(program, ONE, QUICK, EXACT)


def test_an_engine_without_timing_is_an_error(doubler: EngineTiming) -> None:
    engines.withdraw(Engine.TAP)
    with pytest.raises(ValueError, match="engine 1 has no timing: register one"):
        estimate(Handmade(ONE, compute=(its_setup(1), compute())), ONE, QUICK, WITH_IT)
    engines.register(Engine.TAP, doubler)
    with pytest.raises(ValueError, match="engine 1 is registered already: withdraw it first"):
        engines.register(Engine.TAP, doubler)


def test_coefficients_of_engines_have_names_too() -> None:
    values = WITH_IT.values()
    assert values["doubler.idle"] == 11
    assert list(values)[:3] == ["array.start", "array.drain", "array.idle"]
    changed = WITH_IT.with_values({"doubler.idle": 5.0, "load_issue": 9.0})
    assert changed == replace(WITH_IT.with_engine("doubler", EngineCycles(0.0, 0.0, 5.0)), load_issue=9.0)
    assert Coefficients.load().with_values({}) == Coefficients.load()
