"""Drain: reads the accumulators of a STORE in order; of a pooled STORE, it takes the maximum of every window.

Dataflow:

    job -> position, one a cycle -> accumulator read -> lanes of the group -> running maximum -> o
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.isa import Pool
from rtl.contract.params import CoreParams
from rtl.core.accumulator import accumulator_read

__all__ = ["Drain", "drain_job"]

PIXEL_BITS = 13
ROW_BITS, COLUMN_BITS = 17, 14
"""Signed input coordinates: the last window of 2**13 pixels one below the other, and of 2**10 side by side."""
LOWEST = 1 << 31
"""-2**31, as 32 bits: what positions outside the map count."""


def drain_job(core: CoreParams, link_bytes: int) -> data.StructLayout:
    """One group of a STORE."""
    return data.StructLayout(
        {
            "base": exact_log2(core.acc_entries),
            "pixels": PIXEL_BITS,
            "group": range(max(2, core.drain_groups(link_bytes))),
            "pooled": 1,
        }
    )


class Drain(wiring.Component):
    """Turns jobs into pixels, ``drain_lanes`` accumulators each: consecutive entries, or maxima of a POOL's windows.

    Latency: one cycle from an accumulator's read to ``o``; the first read comes in the cycle after ``start``.
    Throughput: one pixel per cycle; kernel_h * kernel_w cycles per pixel of a pooled job. A job may start in the cycle
    of the last step of the one before.

    Members
    -------
    pool_valid, pool
        A POOL; pooled jobs that start from the next cycle on follow it.
    has_pool, plane
        There has been a POOL; entries of its map.
    start, job : `drain_job`
        Only when not ``busy``, or in the cycle of ``last``.
    go
        There is room for a pixel.
    hold
        The last step of the job has to wait.
    acc : Out(`accumulator_read`)
    busy
        Not all positions of the job are done.
    taken, last
        In this cycle the last position of a pixel is done; that of the last pixel.
    arriving
        Data of a read, or the turn of a position outside the map.
    o_valid, o_data
        A pixel, lane 0 in the low bits.
    """

    def __init__(self, *, core: CoreParams, link_bytes: int) -> None:
        self.core = core
        self.lanes = core.drain_lanes(link_bytes)
        self.groups = core.drain_groups(link_bytes)
        self.job_layout = drain_job(core, link_bytes)
        super().__init__(
            {
                "pool_valid": In(1),
                "pool": In(Pool),
                "has_pool": Out(1),
                "plane": Out(20),
                "start": In(1),
                "job": In(self.job_layout),
                "go": In(1),
                "hold": In(1),
                "acc": Out(accumulator_read(entries=core.acc_entries, cols=core.cols)),
                "busy": Out(1),
                "taken": Out(1),
                "last": Out(1),
                "arriving": Out(1),
                "o_valid": Out(1),
                "o_data": Out(32 * self.lanes),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bits = exact_log2(self.core.acc_entries)

        # Geometry of the last POOL, and of the running job, which a POOL behind it must not change.
        fields = {name: Pool[name].shape for name, _ in Pool if name not in {"opcode", "reserved", "pad_top"}}
        fields = {name: shape for name, shape in fields.items() if not name.startswith("wait")}
        # Entries from window row to window row, and from the first window's corner to the map's.
        layout = data.StructLayout({**fields, "pad_top": 3, "down": bits, "corner": bits})
        latest, geometry = Signal(layout, reset_less=True), Signal(layout, reset_less=True)
        with m.If(self.pool_valid):
            pool = self.pool
            m.d.sync += [
                *(latest[name].eq(pool[name]) for name in (*fields, "pad_top")),
                latest.down.eq(pool.stride_h * pool.in_w),
                latest.corner.eq(pool.pad_top * pool.in_w + pool.pad_left),
                self.plane.eq(pool.in_h * pool.in_w),
                self.has_pool.eq(1),
            ]

        # Position: tap (ky, kx) of the window at column ox; entry numbers modulo the memory's size.
        pooled = Signal()
        left = Signal(PIXEL_BITS)
        group = Signal.like(self.job.group, reset_less=True)
        kx, ky = Signal(3), Signal(3)
        ox = Signal(10)
        iy, y0 = (Signal(signed(ROW_BITS), name=name, reset_less=True) for name in ("iy", "y0"))
        ix, x0 = (Signal(signed(COLUMN_BITS), name=name, reset_less=True) for name in ("ix", "x0"))
        entry, line, window, row = (
            Signal(unsigned(bits), name=name, reset_less=True) for name in ("entry", "line", "window", "row")
        )
        inside, first_tap, last_tap, step = (Signal(name=name) for name in ("inside", "first_tap", "last_tap", "step"))
        m.d.comb += [inside.eq(1), first_tap.eq(1), last_tap.eq(1)]
        with m.If(pooled):
            m.d.comb += [
                inside.eq((iy >= 0) & (iy < geometry.in_h) & (ix >= 0) & (ix < geometry.in_w)),
                first_tap.eq((kx == 0) & (ky == 0)),
                last_tap.eq((kx + 1 == geometry.kernel_w) & (ky + 1 == geometry.kernel_h)),
            ]
        final = last_tap & (left == 1)
        allowed = Signal()
        m.d.comb += [
            allowed.eq(self.busy & self.go & ~(self.hold & final)),
            self.acc.valid.eq(allowed & inside),
            self.acc.addr.eq(entry),
            step.eq(allowed & (self.acc.ready | ~inside)),
            self.taken.eq(step & last_tap),
            self.last.eq(step & final),
        ]
        with m.If(self.start):
            m.d.sync += [
                self.busy.eq(1),
                pooled.eq(self.job.pooled),
                left.eq(self.job.pixels),
                group.eq(self.job.group),
                entry.eq(self.job.base),
            ]
            with m.If(self.job.pooled):
                corner = self.job.base - latest.corner
                m.d.sync += [
                    geometry.eq(latest),
                    *(value.eq(0) for value in (kx, ky, ox)),
                    *(value.eq(-latest.pad_top) for value in (iy, y0)),
                    *(value.eq(-latest.pad_left) for value in (ix, x0)),
                    *(value.eq(corner) for value in (entry, line, window, row)),
                ]
        with m.Elif(step):
            m.d.sync += entry.eq(entry + 1)
            with m.If(last_tap):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.d.sync += self.busy.eq(0)
            with m.If(pooled):
                self._next_position(m, geometry, kx, ky, ox, (ix, x0), (iy, y0), (entry, line, window, row))

        # The entry read, and the maximum of its pixel so far.
        arriving_first, arriving_last, arriving_inside, arriving_pooled = (
            Signal(name=f"arriving_{name}") for name in ("first", "last", "inside", "pooled")
        )
        arriving_group = Signal.like(group)
        with m.If(step | self.arriving):
            m.d.sync += [
                self.arriving.eq(step),
                arriving_first.eq(first_tap),
                arriving_last.eq(last_tap),
                arriving_inside.eq(inside),
                arriving_pooled.eq(pooled),
                arriving_group.eq(group),
            ]
        largest = Signal(32 * self.lanes, reset_less=True)
        m.d.comb += self.o_valid.eq(self.arriving & arriving_last)
        with m.If(self.arriving):
            value = self.acc.data.word_select(arriving_group if self.groups > 1 else 0, 32 * self.lanes)
            m.d.comb += self.o_data.eq(value)
            with m.If(arriving_pooled):
                lanes = []
                for lane in range(self.lanes):
                    new, old = (word.word_select(lane, 32) for word in (value, largest))
                    larger = arriving_inside & (arriving_first | (new.as_signed() > old.as_signed()))
                    lanes.append(Mux(larger, new, Mux(arriving_first, LOWEST, old)))
                m.d.comb += self.o_data.eq(Cat(lanes))
                m.d.sync += largest.eq(self.o_data)
        return m

    @staticmethod
    def _next_position(
        m: Module,
        geometry: Any,
        kx: Signal,
        ky: Signal,
        ox: Signal,
        x: tuple[Signal, Signal],
        y: tuple[Signal, Signal],
        entries: tuple[Signal, Signal, Signal, Signal],
    ) -> None:
        """Column of the window first, then its row, then the window to the right, then the row of windows below."""
        (ix, x0), (iy, y0), (entry, line, window, row) = x, y, entries
        with m.If(kx + 1 != geometry.kernel_w):
            m.d.sync += [kx.eq(kx + 1), ix.eq(ix + 1)]
        with m.Elif(ky + 1 != geometry.kernel_h):
            m.d.sync += [kx.eq(0), ix.eq(x0), ky.eq(ky + 1), iy.eq(iy + 1)]
            m.d.sync += [value.eq(line + geometry.in_w) for value in (entry, line)]
        with m.Elif(ox + 1 != geometry.out_w):
            m.d.sync += [kx.eq(0), ky.eq(0), ox.eq(ox + 1), iy.eq(y0)]
            m.d.sync += [value.eq(x0 + geometry.stride_w) for value in (ix, x0)]
            m.d.sync += [value.eq(window + geometry.stride_w) for value in (entry, line, window)]
        with m.Else():
            m.d.sync += [kx.eq(0), ky.eq(0), ox.eq(0)]
            m.d.sync += [value.eq(-geometry.pad_left) for value in (ix, x0)]
            m.d.sync += [value.eq(y0 + geometry.stride_h) for value in (iy, y0)]
            m.d.sync += [value.eq(row + geometry.down) for value in (entry, line, window, row)]
