"""A third engine, registered from outside: a row of C multipliers that all take the same activation.

    acc[c] += act[row_lane] * weight[c]

It is an example of what an engine needs, and shows that none of the product's files names an engine but its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal, unsigned
from amaranth.lib import data

from rtl.contract.engines import ENGINES, EngineSpec
from rtl.contract.params import CoreParams
from rtl.engines import HARDWARE, EngineHardware
from tb.structure.block import Block, tag_bits
from tb.structure.engines import STRUCTURE
from tb.structure.engines.structure import EngineStructure

__all__ = ["ROW", "Row", "row_registered"]

ROW = EngineSpec(
    name="row",
    code=5,
    options=data.StructLayout({"row_lane": unsigned(2)}),
    weight_rows=lambda core: 1,
    lanes=lambda core: core.cols,
    illegal=lambda core, setup: setup["row_lane"] == 3,
)


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


def _block(core: CoreParams) -> Block:
    """Shadow and active weights, the activation, two tags, two valid bits, loaded, the update."""
    return Block("Row", 2 * 8 * core.cols + 8 + 2 * tag_bits(core) + 2 + 1 + 32 * core.cols)


@contextmanager
def row_registered() -> Iterator[None]:
    """A world that has the engine in all rooms of hardware."""
    with ExitStack() as stack:
        stack.enter_context(ENGINES.registered("row", ROW))
        stack.enter_context(HARDWARE.registered("row", Row))
        stack.enter_context(STRUCTURE.registered("row", EngineStructure(_block, pixel_options=("row_lane",))))
        yield
