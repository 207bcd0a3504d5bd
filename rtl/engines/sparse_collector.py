"""Collector of the sparse engine: sums of a group of columns at a time, put where they belong in the update."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.params import CoreParams
from rtl.engines.interface import tag_layout
from rtl.engines.sparse_grid import update_bits

__all__ = ["SparseCollector"]


class SparseCollector(wiring.Component):
    """Goes over the groups of columns again and again; a pixel's update goes out behind its last group.

    Latency: the update is out the cycle after its last group was collected. Throughput: a group per cycle.

    Members
    -------
    full, sums : In
        Of `rtl.engines.sparse_grid.SparseGrid`: which groups have all of their sums; those of ``group``.
    group, collect : Out
        The group that is next; its sums are taken.
    lanes : In(log2(cols) * cols)
        Lane of each slot, of the pixel's pass.
    tags : In(Stream(tag_layout))
        Of the pixels, in order; taken with the last group.
    valid, data, tag : Out
        The update.
    """

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        groups = core.collector_groups
        super().__init__(
            {
                "full": In(groups),
                "sums": In(update_bits(core) * core.cols // groups),
                "group": Out(range(max(2, groups))),
                "collect": Out(1),
                "lanes": In(exact_log2(core.cols) * core.cols),
                "tags": In(stream.Signature(tag_layout(core))),
                "valid": Out(1),
                "data": Out(32 * core.cols),
                "tag": Out(tag_layout(core)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self.core
        groups, bits = core.collector_groups, update_bits(core)
        of_group, lane_bits = core.cols // groups, exact_log2(core.cols)
        last = Signal()
        m.d.comb += [
            self.collect.eq(self.full.bit_select(self.group, 1)),
            last.eq(self.collect & (self.group == groups - 1)),
            self.tags.ready.eq(last),
        ]
        m.d.sync += self.valid.eq(last)
        targets = Signal(lane_bits * of_group)
        of_groups = Array(self.lanes.word_select(g, lane_bits * of_group) for g in range(groups))
        m.d.comb += targets.eq(of_groups[self.group])
        sums = [Signal(bits, name=f"lane{lane}", reset_less=True) for lane in range(core.cols)]
        with m.If(self.collect):
            m.d.sync += self.group.eq(self.group + 1)
            for place in range(of_group):
                for lane, register in enumerate(sums):
                    with m.If(targets.word_select(place, lane_bits) == lane):
                        m.d.sync += register.eq(self.sums.word_select(place, bits))
        with m.If(last):
            m.d.sync += self.tag.eq(self.tags.payload)
        m.d.comb += self.data.eq(Cat(Cat(register, register[-1].replicate(32 - bits)) for register in sums))
        return m
