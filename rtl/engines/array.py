"""The systolic array: R x C weight-stationary PEs behind the engine interface."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal

from rtl.contract.engines.array import ARRAY
from rtl.engines.grid import PeGrid
from rtl.engines.interface import EngineHardware, tag_layout
from rtl.lib.ram import Ram

__all__ = ["SystolicArray"]


class SystolicArray(EngineHardware):
    """Dense engine: ``update[c] = sum_r act[r] * weight[r][c]``, one pixel per cycle.

    Dataflow: activations enter at the left with a triangular skew (row r is r cycles late), psums run down,
    and come out at the bottom through a triangular deskew, all columns of a pixel together. A pixel accepted
    in cycle t multiplies in PE (r, c) in cycle t + 1 + r + c; its update is there in cycle t + R + C.

    Weights: row r of a pass is written, unskewed, into the shadow registers of array row r; each PE takes it
    over at the end of the cycle before the first pixel reaches it (`rtl.engines.pe`). Let s be the cycle in which row 0
    of a pass is accepted (row r follows in s + r), and t the cycle in which its first pixel is accepted.

    - PE (r, c) takes over its shadow weight at the end of cycle t + r + c, so row r must have been written by
      cycle t + r - 1:                                        t >= s + 1
    - Row r of the next pass must not be written before the last column of row r has taken over, which
      is at the end of cycle t + r + C - 1 (the same clock edge is early enough):  s_next >= t + C - 1
    - The loader gives one row per cycle:                     s_next >= s + R

    Both are the same for every r, so the just-in-time load needs no look at later rows. A pass of P pixels hence takes
    ``max(P, R, C)`` cycles in a row of equal passes: with P >= max(R, C) no cycle is lost, and with P = 1 (fully
    connected layers) R*C weights go in per max(R, C) cycles.

    Members: see `rtl.engines.interface.EngineSignature`.
    """

    spec = ARRAY

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rows, cols = self.core.rows, self.core.cols

        # Weight rows. `loaded`: row 0 of a pass that no pixel has started is in; `hold`: cycles until the last
        # column of row 0 has taken over the weights before.
        loaded = Signal()
        hold = Signal(range(max(2, cols - 1)))
        row_enable = Signal(rows, init=1)  # one hot: the array row that the next weights are for
        load = Signal()
        start = Signal()
        m.d.comb += [
            self.weights.ready.eq(~row_enable[0] | (~loaded & (hold == 0))),
            load.eq(self.weights.valid & self.weights.ready),
        ]
        with m.If(load):
            m.d.sync += row_enable.eq(Cat(row_enable[-1], row_enable[:-1]))
        with m.If(start):
            m.d.sync += [loaded.eq(0), hold.eq(cols - 2)]
        with m.Else():
            with m.If(load & row_enable[0]):
                m.d.sync += loaded.eq(1)
            with m.If(hold != 0):
                m.d.sync += hold.eq(hold - 1)

        # Pixels in flight: bit k of `line` is a pixel accepted k + 1 cycles ago.
        accept = Signal()
        line = Signal(rows + cols)
        enable = Signal()
        m.d.comb += [
            self.pixels.ready.eq(~self.pixels.payload.first | loaded),
            accept.eq(self.pixels.valid & self.pixels.ready),
            start.eq(accept & self.pixels.payload.first),
            self.idle.eq(line == 0),
            enable.eq(accept | (line != 0)),
        ]
        with m.If(enable):
            m.d.sync += line.eq(Cat(accept, line))

        m.submodules.grid = grid = PeGrid(rows=rows, cols=cols)
        m.d.comb += [
            grid.enable.eq(enable),
            grid.accept.eq(accept),
            grid.act.eq(self.pixels.payload.act),
            grid.start.eq(start),
            grid.load.eq(load.replicate(rows) & row_enable),
            grid.weights.eq(self.weights.payload),
        ]

        # Tags wait in a ring of R + C places, which is what can be in flight.
        tag_bits = tag_layout(self.core).size
        depth = 1 << (rows + cols - 1).bit_length()
        m.submodules.tags = tags = Ram(width=tag_bits, depth=depth)
        with m.If(accept):
            m.d.sync += tags.write_addr.eq(tags.write_addr + 1)
        with m.If(tags.read_enable):
            m.d.sync += tags.read_addr.eq(tags.read_addr + 1)
        m.d.comb += [
            tags.write_enable.eq(accept),
            tags.write_data.eq(self.pixels.payload.tag),
            tags.read_enable.eq(line[-2]),
            self.update.valid.eq(line[-1]),
            self.update.data.eq(grid.data),
            self.update.tag.eq(tags.read_data),
        ]
        return m
