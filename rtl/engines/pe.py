"""Processing elements of the systolic array: one row of them is one component.

What they mean is here; on a chip they are loops in a Verilog body (`rtl.engines.grid`), which is proved equal.

A PE holds an active and a shadow weight, an activation and a partial sum, and each cycle does

    psum_out <= psum_in + act * active      (int8 x int8 -> int32, downwards)
    act_out  <= act_in                      (to the right)
    active   <= shadow                      if the switch bit is here; the bit moves right with act

The switch bit runs one cycle ahead of the first activation of a pass: it sits in a PE while the last product
of the pass before is formed. So weights are double-buffered and change along the wavefront without a bubble, and the
multiplier needs no weight multiplexer in front of it. Shadow weights enter a whole row at a time.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PeRow"]


class PeRow(wiring.Component):
    """A row of ``cols`` PEs.

    Latency: the psum of column c for the activation given in cycle t is at ``psum_out`` in cycle t + c + 1
    (``psum_in`` of column c is taken in cycle t + c). Throughput: one activation per cycle.

    Members
    -------
    enable : In(1)
        Psums and switch bits move. Low only while nothing valid is in the row (activations move on regardless).
    act : In(8)
        Activation for column 0, int8. Give it from a register.
    switch : In(1)
        Column 0 changes to its shadow weight at the end of this cycle.
    load, weights : In(1), In(8 * cols)
        Shadow weights of the row, column 0 lowest; may be written in the very cycle in which a
        switch bit still reads the old ones.
    psum_in, psum_out : In(32 * cols), Out(32 * cols)
    """

    def __init__(self, *, cols: int) -> None:
        self.cols = cols
        super().__init__(
            {
                "enable": In(1),
                "act": In(8),
                "switch": In(1),
                "load": In(1),
                "weights": In(8 * cols),
                "psum_in": In(32 * cols),
                "psum_out": Out(32 * cols),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cols = self.cols
        act = [Signal(signed(8), name=f"act{c}", reset_less=True) for c in range(cols)]
        active = [Signal(signed(8), name=f"active{c}", reset_less=True) for c in range(cols)]
        shadow = Signal(8 * cols, reset_less=True)
        psum = Signal(32 * cols, reset_less=True)
        switched = Signal(cols)
        switch = Cat(self.switch, switched)[:cols]

        with m.If(self.load):
            m.d.sync += shadow.eq(self.weights)
        # The first activation, switch bit aside, is already in `act[0]` when its column multiplies.
        m.d.comb += act[0].eq(self.act)
        for c in range(1, cols):
            m.d.sync += act[c].eq(act[c - 1])
        with m.If(self.enable):
            m.d.sync += psum.eq(
                Cat((self.psum_in.word_select(c, 32) + act[c] * active[c])[:32] for c in range(cols))
            )
            m.d.sync += switched.eq(switch)
            with m.If(switch.any()):
                for c in range(cols):
                    with m.If(switch[c]):
                        m.d.sync += active[c].eq(shadow.word_select(c, 8))
        m.d.comb += self.psum_out.eq(psum)
        return m
