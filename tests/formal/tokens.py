"""Proof of the token counters."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal

from rtl.core.tokens import COUNTER_BITS, TokenFile
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

COUNTS = "a counter is what was added less what was taken"
NEVER_NEGATIVE = "only tokens that are there are taken, each by one taker"
SERVED = "of takers of one counter the first is served, of different ones all"
OVERFLOW = "overflow is reported when a counter passes 255, and only then"


def tokens() -> Harness:
    """16 counters; takers ask only for what `nonzero` shows."""
    h = Harness()
    chip = small_chip(1, 1, 1, tokens=16)
    dut = TokenFile(chip=chip)
    inside = Inside(h.m, "dut", dut)
    planes = [inside.signal(f"plane{i}") for i in range(COUNTER_BITS)]
    for increment in dut.increments:
        h.drive(increment.valid, increment.token)
        h.assume(increment.token < chip.tokens)
    for take in dut.takes:
        h.drive(take.valid, take.mask)
        h.assume(~take.valid | ((take.mask & ~dut.nonzero) == 0))

    at = h.constant(range(chip.tokens), "at")
    added = sum(increment.valid & (increment.token == at) for increment in dut.increments)
    takes = [take.grant & take.mask.bit_select(at, 1) for take in dut.takes]
    taken = Signal(2)
    count, following = Signal(COUNTER_BITS), Signal(COUNTER_BITS + 3)
    h.m.d.comb += [taken.eq(sum(takes)), following.eq(count + added - taken)]
    h.m.d.sync += count.eq(following)
    stored = Cat(plane.bit_select(at, 1) for plane in planes)
    h.always(COUNTS, (stored == count) & (dut.nonzero.bit_select(at, 1) == (count != 0)))
    h.always(NEVER_NEGATIVE, (taken <= 1) & (taken <= count))

    first, second, third = dut.takes
    clash = (first.mask & second.mask).any() & first.grant
    third_blocked = (third.mask & (Mux(first.grant, first.mask, 0) | Mux(second.grant, second.mask, 0))).any()
    h.always(
        SERVED,
        (first.grant == first.valid)
        & (second.grant == (second.valid & ~clash))
        & (third.grant == (third.valid & ~third_blocked)),
    )

    passing = []
    for i in range(chip.tokens):
        value = Cat(plane[i] for plane in planes)
        plus = sum(increment.valid & (increment.token == i) for increment in dut.increments)
        minus = sum(take.grant & take.mask[i] for take in dut.takes)
        passing.append(value + plus > 255 + minus)
    h.always(OVERFLOW, dut.overflow == Cat(passing).any())
    h.cover("three sources add to one counter that is taken from", (added == 3) & (taken == 1))
    h.cover("a counter comes back to zero", (count != 0) & (following == Const(0)))
    return h


PROOFS = [
    Proof(
        "TokenFile, 16 counters",
        tokens,
        1,
        {
            COUNTS: [
                Bug("rtl.core.tokens", "(a & b) | (a & c) | (b & c)", "(a & b) | (a & c)"),
                Bug("rtl.core.tokens", "event.eq(taken.any() | Cat", "event.eq(Cat"),
            ],
            NEVER_NEGATIVE: [Bug("rtl.core.tokens", "take.valid & ~(take.mask & claimed).any()", "take.valid")],
            SERVED: [Bug("rtl.core.tokens", "claimed | Mux(take.grant, take.mask, 0)", "claimed | take.mask")],
            OVERFLOW: [
                Bug("rtl.core.tokens", "self.overflow.eq(carry.any())", "self.overflow.eq((carry | twos).any())")
            ],
        },
        bug_steps=6,
        quick=False,
    )
]
