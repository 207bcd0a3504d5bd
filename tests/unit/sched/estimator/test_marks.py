"""Marks in an estimate: when each comes and what the compute unit had done by then; without them nothing changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from estimator import activity, estimate
from rtl.contract.codec import encode
from rtl.contract.isa import Opcode
from rtl.contract.marks import intervals_of
from rtl.contract.params import CoreParams
from tests.unit.sched.estimator.handmade import EXACT, ONE, QUICK, SETUP, Handmade, compute

MARKED = replace(ONE, cores=(CoreParams(marks=4),))
STREAM = 18 * 200
"""Cycles of a COMPUTE."""


def sync(number: int) -> bytes:
    return encode(Opcode.SYNC, mark=number)


def test_a_mark_comes_when_what_is_before_it_has_drained() -> None:
    program = Handmade(MARKED, compute=(SETUP, compute(), sync(2), compute(), compute(), sync(1)))
    got = estimate(program, MARKED, QUICK, EXACT)
    last, first = got.marks[0]
    assert (last.number, first.number) == (1, 2)
    drain = MARKED.cores[0].rows + MARKED.cores[0].cols
    assert first.cycles == pytest.approx(STREAM + drain, abs=70)  # 70: two blocks of instructions
    assert last.cycles - first.cycles == pytest.approx(2 * STREAM + drain, abs=2)
    assert (first.compute_cycles["stream"], last.compute_cycles["stream"]) == (STREAM, 3 * STREAM)
    for mark in (first, last):
        assert sum(mark.compute_cycles.values()) == pytest.approx(mark.cycles)
        assert mark.compute_cycles["done"] == 0
    assert last.cycles <= got.cycles


def test_parts_of_an_estimate_add_up_to_its_activity() -> None:
    program = Handmade(MARKED, compute=(SETUP, compute(), sync(1), compute(), compute(), sync(2)))
    got = estimate(program, MARKED)
    whole = activity(program, MARKED)
    first, second = intervals_of(whole, [got.marks[0]])
    assert first.cycles + second.cycles == pytest.approx(got.cycles)
    assert (first.compute_cycles["stream"], second.compute_cycles["stream"]) == (STREAM, 2 * STREAM)
    for name, value in whole.compute_cycles.items():
        assert first.compute_cycles[name] + second.compute_cycles[name] == pytest.approx(value)


def test_a_core_without_marks_takes_no_notice_of_them() -> None:
    """The same program on a core without a trace memory, and one without marks, are the same estimate."""
    marked = Handmade(ONE, compute=(SETUP, compute(), sync(1), compute()))
    plain = Handmade(ONE, compute=(SETUP, compute(), encode(Opcode.SYNC), compute()))
    got = estimate(marked, ONE)
    assert got == estimate(plain, ONE)
    assert got.marks == {}


def test_the_mark_itself_costs_what_a_sync_costs() -> None:
    """Its time is that of its start: two in a row are one instruction apart."""
    coefficients = EXACT.with_values({"compute_issue": 5.0})
    got = estimate(Handmade(MARKED, compute=(sync(1), sync(2))), MARKED, QUICK, coefficients)
    first, second = got.marks[0]
    assert second.cycles - first.cycles == 5
    assert second.compute_cycles["overhead"] - first.compute_cycles["overhead"] == 5
