"""The row's RTL: one register of weights beside the one in use, a multiplier a column, two stages."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal

from rtl.engines import EngineHardware
from tests.third_engine.contract import ROW

__all__ = ["Row"]


class Row(EngineHardware):
    """Latency: the update of a pixel accepted in cycle t is there in t + 2. Throughput: one pixel per cycle."""

    spec = ROW
    pixel_options = ("row_lane",)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cols = self.core.cols
        pixel = self.pixels.payload
        loaded, accept = Signal(), Signal()
        shadow, active = Signal(8 * cols), Signal(8 * cols)
        act, tag, tag_out = Signal(8), Signal.like(pixel.tag), Signal.like(pixel.tag)
        valid = Signal(2)
        update = Signal(32 * cols)
        m.d.comb += [
            self.weights.ready.eq(~loaded),
            self.pixels.ready.eq(~pixel.first | loaded),
            accept.eq(self.pixels.valid & self.pixels.ready),
        ]
        with m.If(accept & pixel.first):
            m.d.sync += [active.eq(shadow), loaded.eq(0)]
        with m.Elif(self.weights.valid & ~loaded):
            m.d.sync += [shadow.eq(self.weights.payload), loaded.eq(1)]
        with m.If(accept):
            lanes = Array(pixel.act.word_select(lane, 8) for lane in range(4))
            m.d.sync += [act.eq(lanes[pixel.options.row_lane]), tag.eq(pixel.tag)]
        with m.If(valid[0]):
            products = [act.as_signed() * active.word_select(c, 8).as_signed() for c in range(cols)]
            m.d.sync += [tag_out.eq(tag), update.eq(Cat(Cat(p, p[-1].replicate(16)) for p in products))]
        m.d.sync += valid.eq(Cat(accept, valid))
        m.d.comb += [
            self.update.valid.eq(valid[1]),
            self.update.data.eq(update),
            self.update.tag.eq(tag_out),
            self.idle.eq(valid == 0),
        ]
        return m
