"""COMPUTEs of the sparse engine take what their pixels take, as far as that comes along with the program."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from estimator import estimate
from estimator.engines.sparse.timing import ASSUMED_DENSITY
from estimator.instructions import Rates
from rtl.contract.codec import encode
from rtl.contract.isa import Engine, Opcode
from rtl.contract.params import CoreParams, default_chip
from tests.unit.sched.estimator.handmade import EXACT, QUICK, Handmade, compute

CORE = CoreParams(64, 64, acc_entries=256, engines=("tap", "sparse"))
CHIP = default_chip(1, CORE)
PIXELS, ITEMS, ROUNDS = 60, 9, 80
ROWS = 8 * ITEMS + 1 + 4 * ROUNDS
"""Of the weights of a pass."""


@dataclass(frozen=True)
class _Rated(Handmade):
    known: tuple[float, ...] = ()

    @property
    def rates(self) -> Rates:
        return {0: self.known}


def _done(*rates: float, out_h: int = 6, skips: int = 1) -> dict[str, float]:
    """Cycles of two COMPUTEs of two passes each, by what is done."""
    setup = encode(Opcode.SETUP, engine=Engine.SPARSE, kernel_h=3, kernel_w=3, out_w=10, in_w=12, skip_acts=skips)
    words = (setup, *(compute(out_h=out_h, rounds=ROUNDS) for _ in range(2)))
    program = _Rated(CHIP, compute=words, known=rates)
    return estimate(program, CHIP, QUICK, EXACT).compute


def _streamed(*rates: float, skips: int = 1) -> float:
    return _done(*rates, skips=skips)["stream"]


def test_each_compute_has_the_rate_that_comes_with_it() -> None:
    """The two are the same instruction."""
    assert _streamed(20.0, 30.0) == 2 * PIXELS * (20 + 30)
    assert _streamed(30.0, 30.0) == 4 * PIXELS * 30


def test_passes_of_few_pixels_wait_for_weights() -> None:
    """Each for its own rows, and the last one is over with its pixels."""
    done = _done(20.0, 20.0, out_h=1)
    assert done["stream"] + done["overhead"] == pytest.approx(4 * ROWS + 10 * 20, abs=4 * 3)
    many = _done(20.0, 20.0)
    assert many["overhead"] == pytest.approx(ROWS, abs=8), "others come while pixels stream"


def test_a_program_without_rates_has_an_assumed_density() -> None:
    assert _streamed() == 4 * PIXELS * ROUNDS * ASSUMED_DENSITY
    assert _streamed(skips=0) == 4 * PIXELS * ROUNDS
