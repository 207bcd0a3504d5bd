"""Cycles of the array: short passes wait for their weights, and every pass has its way through rows and columns."""

import pytest

from estimator import EngineCycles, estimate
from estimator.engines import Pass
from estimator.engines.array import ARRAY
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode
from rtl.contract.params import CoreParams
from tests.unit.sched.estimator.handmade import EXACT, ONE, QUICK, Handmade, compute


def test_short_passes_take_as_long_as_their_weights() -> None:
    setup = encode(Opcode.SETUP, kernel_h=1, kernel_w=1, out_w=1, in_w=1)
    got = estimate(Handmade(ONE, compute=(setup, compute(blocks=1000, out_h=1))), ONE, QUICK, EXACT)
    assert got.compute["stream"] == 1000 * 16


@pytest.mark.parametrize(("rows", "cols"), [(4, 32), (32, 4)])
def test_short_passes_and_the_way_through_an_oblong_array_follow_both_sides(rows: int, cols: int) -> None:
    core = CoreParams(rows=rows, cols=cols)
    assert ARRAY.passes({"kernel_h": 1, "kernel_w": 3, "out_w": 5}, {"blocks": 2, "out_h": 8}) == (6, Pass(8, 5))
    assert [ARRAY.pass_cycles(core, Pass(height, 5)) for height in (1, 8)] == [32, 40]
    assert ARRAY.drain_cycles(core, EXACT) == ARRAY.idle_cycles(core, EXACT) == rows + cols
    slow = EXACT.with_engine("array", EngineCycles(start=2.0, drain=1.0, idle=3.0))
    assert ARRAY.start_cycles(slow) == 2
    assert (ARRAY.drain_cycles(core, slow), ARRAY.idle_cycles(core, slow)) == (rows + cols + 1, rows + cols + 3)
