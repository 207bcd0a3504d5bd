"""Token counters of a core: the only order between its units, and between cores.

Counters are kept bit-sliced, one register of all counters' bits for each weight: adding and taking at
any set of counters is a few wide logic operations, in hardware as in simulation.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.params import ChipParams

__all__ = ["COUNTER_BITS", "TokenFile", "increment_signature", "take_signature"]

COUNTER_BITS = 8
INCREMENTS = 3
TAKERS = 3


def take_signature(chip: ChipParams) -> wiring.Signature:
    """Seen from the taker: asks for one token from each counter of ``mask``, all non-zero; has them when granted."""
    return wiring.Signature({"valid": Out(1), "mask": Out(chip.tokens), "grant": In(1)})


def increment_signature() -> wiring.Signature:
    """Seen from the source: adds one to counter ``token``; always accepted."""
    return wiring.Signature({"valid": Out(1), "token": Out(7)})


class TokenFile(wiring.Component):
    """``chip.tokens`` counters of 8 bits.

    Latency: an increment or a take shows in ``nonzero`` the cycle after. Throughput: each cycle one
    increment from each of three sources (also of the same counter) and one take by each of three takers.
    Takers that want the same counter in the same cycle are served in order, lowest first.

    Members
    -------
    increments : In(`increment_signature`), three
    takes : In(`take_signature`), three
        ``mask`` may name only counters that `nonzero` shows.
    nonzero
        A bit per counter.
    overflow
        A counter passes 255 this cycle; it wraps.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self.chip = chip
        super().__init__(
            {
                "increments": In(increment_signature()).array(INCREMENTS),
                "takes": In(take_signature(chip)).array(TAKERS),
                "nonzero": Out(chip.tokens),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width = self.chip.tokens
        index_bits = width.bit_length() - 1
        planes = [Signal(width, name=f"plane{i}") for i in range(COUNTER_BITS)]

        def wire(name: str, value: Value) -> Signal:
            """A named node, so that the expression is emitted once."""
            signal = Signal(width, name=name)
            m.d.comb += signal.eq(value)
            return signal

        nonzero: Value = planes[0]
        for plane in planes[1:]:
            nonzero = nonzero | plane
        m.d.comb += self.nonzero.eq(nonzero)

        taken = Signal(width)
        claimed: Value | Signal = Signal(width, name="claimed0")
        for number, take in enumerate(self.takes):
            m.d.comb += take.grant.eq(take.valid & ~(take.mask & claimed).any())
            claimed = wire(f"claimed{number + 1}", claimed | Mux(take.grant, take.mask, 0))
        m.d.comb += taken.eq(claimed)

        a, b, c = (
            wire(f"added{number}", Mux(increment.valid, 1 << increment.token[:index_bits], 0))
            for number, increment in enumerate(self.increments)
        )
        ones = wire("ones", a ^ b ^ c)
        twos = wire("twos", (a & b) | (a & c) | (b & c))

        # plane - taken, then + ones + 2 * twos.
        borrow: Value = taken
        carry: Value = ones
        following = []
        for i, plane in enumerate(planes):
            less = wire(f"less{i}", plane ^ borrow)
            borrow = wire(f"borrow{i}", ~plane & borrow)
            if i == 1:
                following.append(less ^ carry ^ twos)
                carry = wire(f"carry{i}", (less & carry) | (less & twos) | (carry & twos))
            else:
                following.append(less ^ carry)
                carry = wire(f"carry{i}", less & carry)
        m.d.comb += self.overflow.eq(carry.any())

        event = Signal()
        m.d.comb += event.eq(taken.any() | Cat(increment.valid for increment in self.increments).any())
        with m.If(event):
            m.d.sync += [plane.eq(value) for plane, value in zip(planes, following, strict=True)]
        return m
