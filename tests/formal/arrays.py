"""Proof of the array's weight switch: every product uses the weights of its own pass."""

from __future__ import annotations

from amaranth.hdl import Cat, Signal

from rtl.array import SystolicArray
from rtl.params import CoreParams
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof

__all__ = ["PROOFS"]

OWN_WEIGHTS = "each PE multiplies a pixel with the weights loaded for its pass"
ORDER = "one update for each pixel, R + C cycles later, with its tag"
SIZE = 4
CYCLES = 15


def array() -> Harness:
    """4 x 4 PEs. The weights of a pass are its number, modulo 4, in every PE; activations are left out."""
    h = Harness()
    m = h.m
    dut = SystolicArray(core=CoreParams(rows=SIZE, cols=SIZE))
    inside = Inside(m, "dut", dut)
    # Weights: the rows of a pass in consecutive cycles.
    weights, pixels = dut.weights, dut.pixels
    load = weights.valid & weights.ready
    row, loading = Signal(range(SIZE)), Signal(2)
    weight_valid = h.free(1, "weights_valid")
    h.assume((row == 0) | weight_valid)
    m.d.comb += [
        weights.valid.eq(weight_valid),
        weights.payload.eq(Cat(Cat(loading, Cat([0] * 6)) for _ in range(SIZE))),
    ]
    with m.If(load):
        m.d.sync += [row.eq(row + 1), loading.eq(loading + (row == SIZE - 1))]
    # Pixels: passes of any length, one after the other.
    first, tag = h.free(1, "first"), h.free(1, "tag")
    number, begun = Signal(2, init=3), Signal()
    h.drive(pixels.valid)
    h.assume(begun | first)
    m.d.comb += [pixels.payload.first.eq(first), pixels.payload.tag.as_value()[0].eq(tag)]
    accept = pixels.valid & pixels.ready
    current = Signal(2)
    m.d.comb += current.eq(number + first)
    with m.If(accept):
        m.d.sync += [number.eq(current), begun.eq(1)]

    in_flight = [(accept, current, tag)]
    for age in range(1, 2 * SIZE + 1):
        valid, which, mark = in_flight[-1]
        in_flight.append((h.past(valid, f"valid_{age}"), h.past(which, f"pass_{age}"), h.past(mark, f"tag_{age}")))
    for r in range(SIZE):
        for c in range(SIZE):
            valid, which, _ = in_flight[1 + r + c]
            active = inside.signal(f"active{c}", f"row{r}")
            h.always(OWN_WEIGHTS, ~valid | (active[:2] == which))
    valid, _, mark = in_flight[2 * SIZE]
    h.always(ORDER, (dut.update.valid == valid) & (~valid | (dut.update.tag.as_value()[0] == mark)))
    h.cover("three passes of one pixel follow without a gap", valid & (in_flight[4][1] == 2) & in_flight[4][0])
    h.cover("weights of the next pass go in while pixels stream", load & (row == 2) & accept & ~first)
    return h


def _array(old: str, new: str) -> Bug:
    return Bug("rtl.array", old, new)


PROOFS = [
    Proof(
        "SystolicArray, 4 x 4",
        array,
        CYCLES,
        {
            OWN_WEIGHTS: [
                _array("hold.eq(cols - 2)", "hold.eq(0)"),
                _array("~self.pixels.payload.first | loaded", "1"),
                Bug("rtl.pe", "m.d.sync += switched.eq(switch)", "m.d.sync += switched.eq(self.switch)"),
            ],
            ORDER: [_array("tags.read_enable.eq(line[-2])", "tags.read_enable.eq(line[-1])")],
        },
        induction=False,
        bug_steps=CYCLES,
    ),
]
