"""The tap unit: kernel positions one by one or by the row, on every lane, for depthwise convolution and pooling."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from rtl.contract.engines import SetupFields
from rtl.contract.engines.tap import TAP, TapMode
from rtl.contract.params import CoreParams
from rtl.contract.regs import EventCounter
from rtl.engines.interface import EngineHardware

__all__ = ["TapUnit"]


class TapUnit(EngineHardware):
    """Engine of min(R, C) lanes with a window of W = ``tap_columns`` pixels.

    Dataflow: an accepted pixel enters the window at column 0 and moves on by one column with every further one;
    column k thus holds the k-th pixel before the newest. Weight rows enter their own registers in the same way, so that
    the last row of a pass meets the newest pixel. An update is, in every lane,

        (sum_k window[k] * weight[k]) << tap_shift   over the newest pixel and the columns marked in ``columns``,
        max_k window[k]                              of the same, where the tag is_max.

    Without a window (``columns`` zero, no ``skip``) a pass is one kernel position, and every pixel an update. With one,
    a pass is a whole kernel row: the input row streams through once, a pixel per cycle, and pixels before the first
    full window, or between two outputs of a stride, are marked ``skip`` and give no update. An output row of N pixels
    then takes (N - 1) * stride + kernel columns cycles instead of N * kernel columns.

    Latency: the update of a pixel accepted in cycle t is there in cycle t + 2. Throughput: one pixel per cycle. The
    weight rows of a pass may come at any time before its first pixel, one pass ahead (a pass of n rows thus
    takes max(P, n + 1) cycles); passes of is_max pixels have none. Lanes from min(R, C) on are zero.

    Members: see `rtl.engines.interface.EngineSignature`.
    """

    spec = TAP
    pixel_options = ("tap_shift",)

    @classmethod
    def window_columns(cls, core: CoreParams) -> int:
        return core.tap_columns

    @classmethod
    def window(cls, setup: SetupFields) -> Value:
        return setup["window"]

    @classmethod
    def is_max(cls, setup: SetupFields) -> Value:
        return setup["tap_mode"] == TapMode.MAX

    @classmethod
    def operations(cls, pixel: data.View) -> dict[EventCounter, Value]:
        """The columns of the window that are applied at an update."""
        columns = [pixel.columns[k] for k in range(len(pixel.columns))] if "columns" in dict(pixel.shape()) else []
        applied = Mux(pixel.skip, 0, sum(columns, start=Const(1)))
        is_max = pixel.tag.is_max
        return {EventCounter.TAP_MACS: Mux(is_max, 0, applied), EventCounter.TAP_MAXIMA: Mux(is_max, applied, 0)}

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes, columns = self.core.tap_lanes, self.core.tap_columns
        pixel = self.pixels.payload
        accept = Signal()
        start = Signal()
        loaded = Signal()
        shadow = Signal(8 * lanes * columns, reset_less=True)
        active = Signal(8 * lanes * columns, reset_less=True)
        m.d.comb += [
            self.weights.ready.eq(~loaded),
            self.pixels.ready.eq(~pixel.first | loaded | pixel.tag.is_max),
            accept.eq(self.pixels.valid & self.pixels.ready),
            start.eq(accept & pixel.first & ~pixel.tag.is_max),
        ]
        with m.If(start):
            m.d.sync += [active.eq(shadow), loaded.eq(0)]
        with m.Elif(self.weights.valid & ~loaded):
            m.d.sync += [shadow.eq(Cat(self.weights.payload[: 8 * lanes], shadow)), loaded.eq(~self.weights_more)]

        # Stage 1 holds the operands; active weights change with them. Stage 2 holds the update. Columns that are not of
        # the window hold what changes no result, whatever the weights there.
        valid = Signal(2)
        window = Signal(8 * lanes * columns, reset_less=True)
        shift = Signal(5, reset_less=True)
        tag = Signal.like(pixel.tag, reset_less=True)
        update = Signal(32 * lanes, reset_less=True)
        tag_out = Signal.like(pixel.tag, reset_less=True)
        m.d.sync += valid.eq(Cat(accept & ~pixel.skip, valid))
        with m.If(accept):
            m.d.sync += [window[: 8 * lanes].eq(pixel.act), shift.eq(pixel.options.tap_shift), tag.eq(pixel.tag)]
            neutral = Mux(pixel.tag.is_max, 0x80, 0)
            for k in range(1, columns):
                before = window.word_select(k - 1, 8 * lanes)
                m.d.sync += window.word_select(k, 8 * lanes).eq(
                    Mux(pixel.columns[k - 1], before, Cat(neutral for _ in range(lanes)))
                )
        # One statement for all lanes, so that a simulator skips it as a whole.
        with m.If(valid[0]):
            m.d.sync += tag_out.eq(tag)
            with m.If(tag.is_max):
                largest: Value = window[: 8 * lanes]
                for k in range(1, columns):
                    larger = Signal(8 * lanes, name=f"largest{k}")
                    column = window.word_select(k, 8 * lanes)
                    pairs = zip(_lanes(largest), _lanes(column), strict=True)
                    m.d.comb += larger.eq(Cat(Mux(a > b, a, b) for a, b in pairs))
                    largest = larger
                m.d.sync += update.eq(Cat(Cat(value, value[-1].replicate(24)) for value in _lanes(largest)))
            with m.Else():
                pairs = zip(_lanes(window), _lanes(active), strict=True)
                products = [value * weight for value, weight in pairs]
                totals = [sum(products[lane + lanes :: lanes], start=products[lane]) for lane in range(lanes)]
                m.d.sync += update.eq(Cat((total << shift)[:32] for total in totals))
        m.d.comb += [
            self.update.valid.eq(valid[1]),
            self.update.data.eq(update),
            self.update.tag.eq(tag_out),
            self.idle.eq(valid == 0),
        ]
        return m


def _lanes(word: Value) -> list[Value]:
    """Its bytes, as numbers."""
    return [word.word_select(at, 8).as_signed() for at in range(len(word) // 8)]
