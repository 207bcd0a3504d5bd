"""The tap unit: one tap per pass on every lane, for depthwise convolution and pooling."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring

from rtl.engine import EngineSignature
from rtl.params import CoreParams

__all__ = ["TapUnit"]


class TapUnit(wiring.Component):
    """Engine of min(R, C) lanes: ``update[l] = (act[l] * weight[l]) << shift``, or ``act[l]`` where the tag is_max.

    Latency: the update of a pixel accepted in cycle t is there in cycle t + 2. Throughput: one pixel per cycle. A pass
    has one row of weights, which may come at any time before its first pixel, one pass ahead (a pass thus takes
    max(P, 2) cycles); passes of is_max pixels have none. Lanes from min(R, C) on are zero.

    Members: see `EngineSignature`.
    """

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        super().__init__(EngineSignature(core))

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes = self.core.tap_lanes
        pixel = self.pixels.payload
        accept = Signal()
        start = Signal()
        loaded = Signal()
        shadow = Signal(8 * lanes, reset_less=True)
        active = Signal(8 * lanes, reset_less=True)
        m.d.comb += [
            self.weights.ready.eq(~loaded),
            self.pixels.ready.eq(~pixel.first | loaded | pixel.tag.is_max),
            accept.eq(self.pixels.valid & self.pixels.ready),
            start.eq(accept & pixel.first & ~pixel.tag.is_max),
        ]
        with m.If(start):
            m.d.sync += [active.eq(shadow), loaded.eq(0)]
        with m.Elif(self.weights.valid & ~loaded):
            m.d.sync += [shadow.eq(self.weights.payload), loaded.eq(1)]

        # Stage 1 holds the operands; active weights change with them. Stage 2 holds the update.
        valid = Signal(2)
        act = Signal(8 * lanes, reset_less=True)
        shift = Signal(5, reset_less=True)
        tag = Signal.like(pixel.tag, reset_less=True)
        update = Signal(32 * lanes, reset_less=True)
        tag_out = Signal.like(pixel.tag, reset_less=True)
        m.d.sync += valid.eq(Cat(accept, valid))
        with m.If(accept):
            m.d.sync += [act.eq(pixel.act), shift.eq(pixel.shift), tag.eq(pixel.tag)]
        with m.If(valid[0]):
            m.d.sync += tag_out.eq(tag)
            for lane in range(lanes):
                value = act.word_select(lane, 8).as_signed()
                product = Signal(signed(32), name=f"product{lane}")
                m.d.comb += product.eq(value * active.word_select(lane, 8).as_signed())
                m.d.sync += update.word_select(lane, 32).eq(Mux(tag.is_max, value, (product << shift)[:32].as_signed()))
        m.d.comb += [
            self.update.valid.eq(valid[1]),
            self.update.data.eq(update),
            self.update.tag.eq(tag_out),
            self.idle.eq(valid == 0),
        ]
        return m
