"""Walk of the pixel streamer: four loops over a job's passes and pixels, and the pixel that they are at.

All addresses and coordinates are made by adding increments. A pass runs over the output pixels (column fastest), passes
over kernel columns, kernel rows and blocks; each of these loops keeps the address (and coordinate) at which its current
turn began, and a step of a loop adds its pitch to that:

    loop            address      iy           ix
    column  ox      + step_x                  + stride_w
    row     oy      + step_y     + stride_h
    kernel  kx      + tap_x                   + dilation_w
    kernel  ky      + tap_y      + dilation_h
    block           + block_pitch

With a window there are no passes over kernel columns. A row is streamed by its input columns, ``step_x`` and
``stride_w`` being tap_x and 1; kernel_w - 1 of them are skipped before the first output pixel and stride_w - 1 before
each of the others, which a counter (``skips``) sees to. Only pixels that are not skipped count as columns ox and have
an accumulator entry.

In item order (`EngineSpec.lists`) the kernel's loops change places with the map's: kx and ky run inside ox and oy. The
registers are the same, named after the usual order; a pixel is behind the inner two of its loops, a pass a block.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.utils import exact_log2

from rtl.contract.isa import ADDRESS_BITS
from rtl.contract.params import CoreParams

__all__ = ["Walk"]

KEPT_OF_SETUP = (
    "engine", "stride_h", "stride_w", "dilation_h", "dilation_w", "in_w", "step_x", "tap_x", "step_y", "tap_y",
    "block_pitch", "pad_value",
)  # fmt: skip
KEPT_OF_JOB = ("iy0", "in_h", "accumulate", "illegal")
"""Fields that stay in registers for as long as a job is in work."""


class Walk:
    """Registers of the walk, and its verbs: `look` where it is, `begin` a job, `step` to the next pixel.

    Attributes
    ----------
    addr, ix, iy : Signal
        The pixel in the activation scratchpad and in the map; outside the map it is padding.
    acc, acc_crossed : Signal
        Its accumulator entry, and whether that lies beyond the bank in which the job began.
    skip : Signal
        It only fills the window.
    first, first_pass : Signal
        It begins a pass; it is of the job's first pass.
    pass_end, last : Signal
        It ends a pass, in item order a pixel; it ends the job.
    """

    def __init__(self, core: CoreParams, job: Value, skip_bits: int, *, item_order: bool) -> None:
        """`item_order`: there are jobs of that order."""
        setup = job.setup
        self.items = Signal(int(item_order))
        self._item_order = item_order
        self._bank_bits = exact_log2(core.acc_bank_entries)
        acc_bits = exact_log2(core.acc_entries)
        # The job in work. Counts are kept less one.
        self.keep = {name: Signal.like(setup[name], name=name) for name in KEPT_OF_SETUP} | {
            name: Signal.like(job[name], name=name) for name in KEPT_OF_JOB
        }
        columns, rows = (setup.out_w, job.out_h) if item_order else (setup.kernel_w, setup.kernel_h)
        self.ends = {
            name: Signal.like(count, name=f"{name}_end")
            for name, count in (("x", setup.out_w), ("y", job.out_h), ("kx", columns), ("ky", rows))
        }
        self.acc_base = Signal(acc_bits)
        self.ix_start = Signal(signed(16))  # -pad_left
        # Pixels skipped before the first output of a row and before the others.
        self.skips_first, self.skips_next = (Signal(skip_bits, name=f"skips_{name}") for name in ("first", "next"))

        # How many turns each loop has left, where its turn began, and the pixel itself.
        self.left = {name: Signal.like(end, name=f"{name}_left") for name, end in self.ends.items()}
        self.block_left = Signal.like(job.blocks, name="block_left")
        self.skips = Signal(skip_bits)
        self.row_addr, self.kx_addr, self.ky_addr, self.block_addr = (
            Signal(ADDRESS_BITS, name=f"{name}_addr") for name in ("row", "kx", "ky", "block")
        )
        self.kx_ix, self.ky_iy = (Signal(signed(16), name=name) for name in ("kx_ix", "ky_iy"))
        self.addr = Signal(ADDRESS_BITS)
        self.ix, self.iy = (Signal(signed(16), name=name) for name in ("ix", "iy"))
        self.acc = Signal(acc_bits)
        self.acc_crossed = Signal()
        self.first = Signal()
        self.first_pass = Signal()

        self.inside = Signal()
        self.skip = Signal()
        self.last_x, self.last_y, self.last_kx, self.last_ky = (
            Signal(name=f"last_{name}") for name in ("x", "y", "kx", "ky")
        )
        self.pass_end = Signal()
        self.last_pass = Signal()
        self.last = Signal()
        self._start, self._pitch, self._stepped = (
            Signal(ADDRESS_BITS, name=name) for name in ("start", "pitch", "stepped")
        )

    def look(self, m: Module) -> None:
        """Where the walk is, and the address of its next step."""
        keep, left = self.keep, self.left
        m.d.comb += [
            self.skip.eq(self.skips != 0),
            self.last_x.eq((left["x"] == 0) & ~self.skip),
            self.last_y.eq(left["y"] == 0),
            self.last_kx.eq(left["kx"] == 0),
            self.last_ky.eq(left["ky"] == 0),
            self.pass_end.eq(self.last_x & self.last_y),
            self.last_pass.eq(self.last_kx & self.last_ky & (self.block_left == 0)),
            self.last.eq(self.pass_end & self.last_pass),
            self.inside.eq((self.ix >= 0) & (self.iy >= 0) & (self.ix < keep["in_w"]) & (self.iy < keep["in_h"])),
        ]
        # One adder for addresses: the innermost loop that goes on adds its pitch to where its turn began.
        start, pitch = self._start, self._pitch
        m.d.comb += self._stepped.eq(start + pitch)
        with m.If(~self.last_x):
            m.d.comb += [start.eq(self.addr), pitch.eq(keep["step_x"])]
        with m.Elif(~self.last_y):
            m.d.comb += [start.eq(self.row_addr), pitch.eq(keep["step_y"])]
        with m.Elif(~self.last_kx):
            m.d.comb += [start.eq(self.kx_addr), pitch.eq(keep["tap_x"])]
        with m.Elif(~self.last_ky):
            m.d.comb += [start.eq(self.ky_addr), pitch.eq(keep["tap_y"])]
        with m.Else():
            m.d.comb += [start.eq(self.block_addr), pitch.eq(keep["block_pitch"])]

    def step(self, m: Module) -> None:
        """To the next pixel: every loop that ends here begins again, and the one around it goes on."""
        self._next_column(m)
        with m.If(self.last_x):
            self._next_row(m)
        with m.If(self.pass_end):
            self._next_pass(m)
            with m.If(self.last_kx):
                self._next_kernel_row(m)
                with m.If(self.last_ky):
                    self._next_block(m)

    def _next_column(self, m: Module) -> None:
        m.d.sync += [
            self.addr.eq(self._stepped),
            self.first.eq(self.pass_end & self._at_block_end if self._item_order else self.pass_end),
            self.ix.eq(self.ix + self.keep["stride_w"]),
        ]
        with m.If(self.skip):
            m.d.sync += self.skips.eq(self.skips - 1)
        with m.Else():
            m.d.sync += [
                self.skips.eq(self.skips_next),
                self.left["x"].eq(self.left["x"] - 1),
            ]
            if self._item_order:
                with m.If(~self.items | self.pass_end):
                    self._next_entry(m)
            else:
                self._next_entry(m)

    @property
    def _at_block_end(self) -> Value:
        """In item order at the last pixel."""
        return ~self.items | (self.last_kx & self.last_ky)

    def _next_entry(self, m: Module) -> None:
        m.d.sync += self.acc.eq(self.acc + 1)
        with m.If(self.acc[: self._bank_bits].all()):
            m.d.sync += self.acc_crossed.eq(1)

    def _next_row(self, m: Module) -> None:
        m.d.sync += [
            self.left["x"].eq(self.ends["x"]),
            self.skips.eq(self.skips_first),
            self.left["y"].eq(self.left["y"] - 1),
            self.row_addr.eq(self._stepped),
            self.ix.eq(self.kx_ix),
            self.iy.eq(self.iy + self.keep["stride_h"]),
        ]

    def _next_pass(self, m: Module) -> None:
        next_ix = Mux(self.last_kx, self.ix_start, self.kx_ix + self.keep["dilation_w"])
        m.d.sync += [
            self.left["y"].eq(self.ends["y"]),
            self.left["kx"].eq(self.left["kx"] - 1),
            self.kx_addr.eq(self._stepped),
            self.kx_ix.eq(next_ix),
            self.ix.eq(next_ix),
            self.iy.eq(self.ky_iy),
        ]
        if self._item_order:
            with m.If(self._at_block_end):
                self._first_entry(m)
        else:
            self._first_entry(m)

    def _first_entry(self, m: Module) -> None:
        m.d.sync += [self.acc.eq(self.acc_base), self.acc_crossed.eq(0), self.first_pass.eq(0)]

    def _next_kernel_row(self, m: Module) -> None:
        next_iy = Mux(self.last_ky, self.keep["iy0"], self.ky_iy + self.keep["dilation_h"])
        m.d.sync += [
            self.left["kx"].eq(self.ends["kx"]),
            self.left["ky"].eq(self.left["ky"] - 1),
            self.ky_addr.eq(self._stepped),
            self.ky_iy.eq(next_iy),
            self.iy.eq(next_iy),
        ]

    def _next_block(self, m: Module) -> None:
        m.d.sync += [
            self.left["ky"].eq(self.ends["ky"]),
            self.block_left.eq(self.block_left - 1),
            self.block_addr.eq(self._stepped),
        ]

    def begin(self, m: Module, job: Value, window: Value, items: Value) -> None:
        """At the first pixel of a job; `window`: its kernel rows are streamed by input columns; `items`: item order."""
        setup, keep = job.setup, self.keep
        counts = (("x", setup.out_w), ("y", job.out_h), ("kx", setup.kernel_w), ("ky", setup.kernel_h))
        m.d.sync += [
            *(keep[name].eq(setup[name]) for name in KEPT_OF_SETUP),
            *(keep[name].eq(job[name]) for name in KEPT_OF_JOB),
            *(register.eq(count - 1) for name, count in counts for register in (self.ends[name], self.left[name])),
            *(register.eq(Mux(window, setup.kernel_w - 1, 0)) for register in (self.skips, self.skips_first)),
            self.skips_next.eq(Mux(window, setup.stride_w - 1, 0)),
            self.block_left.eq(job.blocks - 1),
            *(
                register.eq(job.act_base)
                for register in (self.addr, self.row_addr, self.kx_addr, self.ky_addr, self.block_addr)
            ),
            *(register.eq(-setup.pad_left) for register in (self.ix, self.kx_ix, self.ix_start)),
            *(register.eq(job.iy0) for register in (self.iy, self.ky_iy)),
            *(register.eq(job.acc_base) for register in (self.acc, self.acc_base)),
            self.acc_crossed.eq(0),
            self.first.eq(1),
            self.first_pass.eq(1),
        ]
        if self._item_order:
            m.d.sync += self.items.eq(items)
            with m.If(items):
                self._swap(m, setup, job)
        with m.If(window):
            m.d.sync += [
                keep["step_x"].eq(setup.tap_x),
                keep["stride_w"].eq(1),
                *(register["kx"].eq(0) for register in (self.ends, self.left)),
            ]

    def _swap(self, m: Module, setup: Value, job: Value) -> None:
        """The kernel's loops are the inner ones."""
        counts = (("x", setup.kernel_w), ("y", setup.kernel_h), ("kx", setup.out_w), ("ky", job.out_h))
        pitches = (("step_x", "tap_x"), ("step_y", "tap_y"), ("stride_w", "dilation_w"), ("stride_h", "dilation_h"))
        m.d.sync += [
            *(register.eq(count - 1) for name, count in counts for register in (self.ends[name], self.left[name])),
            *(self.keep[a].eq(setup[b]) for pair in pitches for a, b in (pair, pair[::-1])),
        ]
