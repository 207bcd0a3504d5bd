"""The grid of PEs with the delays that make a wavefront of each pixel, and a row of sums of each wavefront again.

A register chain in front of row r delays activations by r + 1 cycles (skew), one behind column c delays sums by
C - 1 - c cycles (deskew), so that a pixel goes in and comes out whole.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Instance, Module, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.engines.pe import PeRow

__all__ = ["PeGrid"]


class PeGrid(wiring.Component):
    """``rows`` x ``cols`` PEs: ``data[c] = sum_r act[r] * weight[r][c]``, of weights that change along the wavefront.

    In Amaranth's simulator it consists of `PeRow`; elaborated for a platform it is an instance of
    ``verilog/systomesh_pe_grid.v``, the same registers as loops over arrays, which simulators turn into vector
    instructions (tests/formal proves the two equal).

    Latency: R + C cycles with ``enable``. Throughput: one pixel per cycle.

    Members
    -------
    enable : In(1)
        Sums move. Low only while nothing valid is in the grid.
    accept, act : In(1), In(8 * rows)
        A pixel, row 0 lowest; ``enable`` is high with ``accept``.
    start : In(1)
        The pixel is the first one of a pass: the PEs change to their shadow weights in front of it.
    load, weights : In(rows), In(8 * cols)
        Shadow weights for the rows marked in ``load``, column 0 lowest.
    data : Out(32 * cols)
        The sums of the pixel accepted R + C cycles ago.
    """

    def __init__(self, *, rows: int, cols: int) -> None:
        self.rows = rows
        self.cols = cols
        super().__init__(
            {
                "enable": In(1),
                "accept": In(1),
                "act": In(8 * rows),
                "start": In(1),
                "load": In(rows),
                "weights": In(8 * cols),
                "data": Out(32 * cols),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rows, cols = self.rows, self.cols
        if platform is not None:
            m.submodules.body = Instance(
                "systomesh_pe_grid",
                p_ROWS=rows,
                p_COLS=cols,
                i_clk=ClockSignal(),
                i_rst=ResetSignal(allow_reset_less=True),
                i_enable=self.enable,
                i_accept=self.accept,
                i_act=self.act,
                i_start=self.start,
                i_load=self.load,
                i_weights=self.weights,
                o_data=self.data,
            )
            return m

        # Skew in: register k holds rows k .. R-1, the last row lowest, so that a step to the next
        # register only cuts off the top.
        skew = [Signal(8 * (rows - k), name=f"skew{k}", reset_less=True) for k in range(rows)]
        switch = Signal(rows)
        with m.If(self.accept):
            m.d.sync += skew[0].eq(Cat(self.act.word_select(r, 8) for r in reversed(range(rows))))
        with m.If(self.enable):
            m.d.sync += switch.eq(Cat(self.start, switch))
            for k in range(1, rows):
                m.d.sync += skew[k].eq(skew[k - 1])

        psum: Value = Signal(32 * cols, name="psum_top")  # stays zero
        for r in range(rows):
            m.submodules[f"row{r}"] = row = PeRow(cols=cols)
            m.d.comb += [
                row.enable.eq(self.enable),
                row.act.eq(skew[r][-8:]),
                row.switch.eq(self.start if r == 0 else switch[r - 1]),
                row.load.eq(self.load[r]),
                row.weights.eq(self.weights),
                row.psum_in.eq(psum),
            ]
            psum = row.psum_out

        # Deskew: register k holds columns 0 .. k-1 of one pixel; column k joins from the array.
        together: Value = psum[:32]
        for k in range(1, cols):
            deskew = Signal(32 * k, name=f"deskew{k}", reset_less=True)
            with m.If(self.enable):
                m.d.sync += deskew.eq(together)
            together = Cat(deskew, psum.word_select(k, 32))
        m.d.comb += self.data.eq(together)
        return m
