"""Engines from outside in the estimate: their passes, their changes to and from others, and their coefficients."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from amaranth.hdl import unsigned
from amaranth.lib import data

from estimator import EngineCycles, activity, estimate
from estimator.coefficients import Coefficients
from estimator.engines import TIMINGS, EngineTiming, Pass, switch_cycles
from estimator.instructions import masked
from rtl.contract.codec import encode
from rtl.contract.engines import ENGINES, EngineError, EngineSpec
from rtl.contract.isa import Opcode
from rtl.contract.params import ChipParams, CoreParams, default_chip
from tests.unit.sched.estimator.handmade import EXACT, QUICK, SETUP, Handmade, compute

SPEC = EngineSpec(
    name="doubler",
    code=6,
    options=data.StructLayout({"at_once": unsigned(4)}),
    weight_rows=lambda core: 1,
    lanes=lambda core: core.cols,
)


class Doubler(EngineTiming):
    """An engine that takes two cycles a pixel, and as many blocks at once as its SETUP's at_once says."""

    name = "doubler"
    setup_fields = frozenset({"out_w", "at_once"})

    def passes(self, setup: dict[str, int], fields: dict[str, int]) -> tuple[int, Pass]:
        return fields["blocks"] // setup["at_once"], Pass(fields["out_h"], setup["out_w"])

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        return 2 * streamed.pixels

    def way_cycles(self, core: CoreParams) -> int:
        return 100


WITH_IT = EXACT.with_engine("doubler", EngineCycles(start=0.0, drain=0.0, idle=11.0))


@pytest.fixture
def chip() -> Iterator[ChipParams]:
    """One whose core has the engine besides."""
    with ENGINES.registered("doubler", SPEC), TIMINGS.registered("doubler", Doubler()):
        yield default_chip(1, CoreParams(engines=("array", "tap", "doubler")))


def its_setup(at_once: int) -> bytes:
    return encode(Opcode.SETUP, engine=SPEC.code, at_once=at_once, kernel_h=1, kernel_w=1, out_w=20)


def test_an_engine_from_outside_is_estimated_by_its_own_rules(chip: ChipParams) -> None:
    for at_once, passes in ((1, 12), (3, 4)):
        program = Handmade(chip, compute=(its_setup(at_once), compute(blocks=12, out_h=10)))
        assert estimate(program, chip, QUICK, WITH_IT).compute["stream"] == passes * 2 * 200
        done = activity(program, chip, QUICK, WITH_IT)
        assert (done.pixels, done.passes) == ({"array": 0, "tap": 0, "doubler": passes * 200}, passes)


def test_options_are_masked_out_where_no_timing_asks_for_them(chip: ChipParams) -> None:
    setups = [its_setup(1)], [its_setup(3)]
    one, three = (masked([setup], with_addresses=False) for setup in setups)
    assert one != three
    with ENGINES.registered("other", replace(SPEC, name="other", code=3, options=data.StructLayout({}))):
        pass  # whatever changes, what was masked before is masked so again
    assert [masked([setup], with_addresses=False) for setup in setups] == [one, three]


def test_a_change_waits_for_the_engine_before_to_be_idle(chip: ChipParams) -> None:
    setup = its_setup(1)
    same = Handmade(chip, compute=(setup, compute(), setup, compute()))
    program = Handmade(chip, compute=(setup, compute(), SETUP, compute()))
    got, kept = (estimate(each, chip, QUICK, WITH_IT).compute["overhead"] for each in (program, same))
    assert got - kept == 100 + 11


def test_a_change_costs_what_both_engines_take_to_be_idle() -> None:
    core, array, tap = CoreParams(), TIMINGS["array"], TIMINGS["tap"]
    slow = WITH_IT.with_engine("array", EngineCycles(0.0, 0.0, 3.0)).with_engine("tap", EngineCycles(0.0, 0.0, 7.0))
    way = core.rows + core.cols
    assert switch_cycles(core, array, tap, slow) == switch_cycles(core, tap, array, slow) == (way + 3 + 7) / 2
    assert switch_cycles(core, Doubler(), tap, slow) == (111 + 7) / 2


def test_an_engine_without_coefficients_is_an_error(chip: ChipParams) -> None:
    program = Handmade(chip, compute=(its_setup(1), compute()))
    with pytest.raises(ValueError, match="engine 'doubler' has no coefficients, only array, tap: add them"):
        estimate(program, chip, QUICK, EXACT)


def test_an_engine_without_timing_is_an_error() -> None:
    with ENGINES.registered("doubler", SPEC):
        chip = default_chip(1, CoreParams(engines=("array", "doubler")))
        program = Handmade(chip, compute=(its_setup(1), compute()))
        with pytest.raises(EngineError, match="engine 'doubler' has no timing: register one"):
            estimate(program, chip, QUICK, WITH_IT)
    with pytest.raises(EngineError, match=r"engine is 6: it must be one of 0 \(array\), 1 \(tap\), 2 \(sparse\)"):
        estimate(program, chip, QUICK, WITH_IT)


def test_coefficients_of_engines_have_names_too() -> None:
    values = WITH_IT.values()
    assert values["doubler.idle"] == 11
    assert list(values)[:3] == ["array.start", "array.drain", "array.idle"]
    changed = WITH_IT.with_values({"doubler.idle": 5.0, "load_issue": 9.0})
    assert changed == replace(WITH_IT.with_engine("doubler", EngineCycles(0.0, 0.0, 5.0)), load_issue=9.0)
    assert Coefficients.load().with_values({}) == Coefficients.load()
