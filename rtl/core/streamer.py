"""Pixel streamer: walks through passes and pixels of a job and gives the engine one pixel per cycle.

All addresses and coordinates are made by adding increments. A pass runs over the output pixels (column fastest), passes
over kernel columns, kernel rows and blocks; each of these four loops keeps the address (and coordinate) at
which its current turn began, and a step of a loop adds its pitch to that:

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
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.engines import ENGINES
from rtl.contract.isa import ADDRESS_BITS, ENGINE_BITS
from rtl.contract.params import CoreParams
from rtl.contract.regs import ErrorCode
from rtl.core.job import chosen, fields_of, job_layout
from rtl.core.scratchpad import scratchpad_read
from rtl.core.signals import SIGNAL
from rtl.engines import HARDWARE
from rtl.engines.interface import pixel_layout

__all__ = ["PixelStreamer", "finish_layout", "streamed_layout"]

finish_layout = data.StructLayout(
    {f"signal{i}": data.StructLayout({"valid": unsigned(1), "signal": SIGNAL}) for i in range(3)}
)
"""What is to be sent when a job's operands have been read (0, 1) and its updates are written (2)."""


def streamed_layout(core: CoreParams) -> data.StructLayout:
    """A pixel with all that any engine of the core wants of it."""
    parts = HARDWARE.of(core.engines).values()
    options = {name: part.spec.options[name].shape for part in parts for name in part.pixel_options}
    return pixel_layout(core, columns=max(part.window_columns(core) for part in parts), options=options)


class PixelStreamer(wiring.Component):
    """Address generator (stage A) and pixel register (stage B, beside the scratchpad's output).

    Latency: job accepted in cycle t, first act read in t + 1, first pixel offered in t + 2. Throughput: one pixel
    per cycle over passes and jobs without a gap; a job for another engine waits until all are idle.

    Members
    -------
    job : In(Stream(job_layout))
    read : Out(`scratchpad_read`)
        Not enabled for padding.
    pixels : Out(Stream(`streamed_layout`))
        For engine ``engine``.
    engines_idle : In(1)
    weights_failed : In(1)
        No weights follow those that the engine has.
    finish : Out(Stream(finish_layout))
        The job's signals, valid in the cycle that issues its last act read, which waits for ``ready``.
    error : Out(8)
        `ErrorCode` of the first pass or pixel that cannot be had, in program order; nothing follows it.
    busy : Out(1)
    """

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        super().__init__(
            {
                "job": In(stream.Signature(job_layout(core))),
                "read": Out(scratchpad_read(size_bytes=core.act_bytes, read_bytes=core.rows)),
                "pixels": Out(stream.Signature(streamed_layout(core))),
                "engine": Out(ENGINE_BITS),
                "engines_idle": In(1),
                "weights_failed": In(1),
                "finish": Out(stream.Signature(finish_layout)),
                "error": Out(8),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self.core
        job = self.job.payload
        setup = job.setup
        bank_bits = exact_log2(core.acc_bank_entries)
        acc_bits = exact_log2(core.acc_entries)

        # The job in work. Counts are kept less one.
        running = Signal()
        keep = {
            name: Signal.like(setup[name], name=name)
            for name in (
                "engine",
                "stride_h",
                "stride_w",
                "dilation_h",
                "dilation_w",
                "in_w",
                "step_x",
                "tap_x",
                "step_y",
                "tap_y",
                "block_pitch",
                "pad_value",
            )
        } | {name: Signal.like(job[name], name=name) for name in ("iy0", "in_h", "accumulate", "illegal")}
        pixel = Signal(streamed_layout(core))
        options = Signal.like(pixel.options)
        is_max = Signal()
        ends = {
            name: Signal.like(count, name=f"{name}_end")
            for name, count in (("x", setup.out_w), ("y", job.out_h), ("kx", setup.kernel_w), ("ky", setup.kernel_h))
        }
        acc_base = Signal(acc_bits)
        acc_outside = Signal()
        ix_start = Signal(signed(16))  # -pad_left
        finish = Signal(finish_layout)
        # Pixels skipped before the first output of a row and before the others, and columns behind the window's first.
        skip_bits = len(setup.stride_w) * len(pixel.skip)
        skips_first, skips_next = Signal(skip_bits), Signal(skip_bits)
        columns = Signal.like(pixel.columns)

        # Where the walk is: how many turns each loop has left, where its turn began, and the pixel itself.
        left = {name: Signal.like(end, name=f"{name}_left") for name, end in ends.items()}
        block_left = Signal.like(job.blocks)
        skips = Signal(skip_bits)
        row_addr, kx_addr, ky_addr, block_addr = (
            Signal(ADDRESS_BITS, name=f"{name}_addr") for name in ("row", "kx", "ky", "block")
        )
        kx_ix, ky_iy = Signal(signed(16)), Signal(signed(16))
        addr = Signal(ADDRESS_BITS)
        ix, iy = Signal(signed(16)), Signal(signed(16))
        acc = Signal(acc_bits)
        acc_crossed = Signal()
        first = Signal()
        first_pass = Signal()

        # Stage B, ahead of the engine.
        b_valid = Signal()
        b_padding = Signal()
        b_pad_value = Signal(8)
        b_error = Signal(8)
        stopped = Signal()

        # Stage A: one pixel.
        free = Signal()
        advance = Signal()
        hold = Signal()
        inside = Signal()
        skip = Signal()
        error = Signal(8)
        last_x, last_y, last_kx, last_ky = (Signal(name=f"last_{n}") for n in ("x", "y", "kx", "ky"))
        pass_end = Signal()
        last_pass = Signal()
        last = Signal()
        m.d.comb += [
            skip.eq(skips != 0),
            last_x.eq((left["x"] == 0) & ~skip),
            last_y.eq(left["y"] == 0),
            last_kx.eq(left["kx"] == 0),
            last_ky.eq(left["ky"] == 0),
            pass_end.eq(last_x & last_y),
            last_pass.eq(last_kx & last_ky & (block_left == 0)),
            last.eq(pass_end & last_pass),
            free.eq(~b_valid | (self.pixels.valid & self.pixels.ready)),
            self.finish.valid.eq(running & ~stopped & free & ~hold & last & (error == 0)),
            self.finish.payload.eq(finish),
            advance.eq(running & ~stopped & free & ~hold & (~last | self.finish.ready | (error != 0))),
            inside.eq((ix >= 0) & (iy >= 0) & (ix < keep["in_w"]) & (iy < keep["in_h"])),
            self.read.enable.eq(advance & inside),
            self.read.addr.eq(addr[: len(self.read.addr)]),
        ]
        with m.If(keep["illegal"]):
            m.d.comb += error.eq(ErrorCode.ILLEGAL_FIELD)
        with m.Elif((acc_outside | acc_crossed) & ~skip):
            m.d.comb += error.eq(ErrorCode.ACC_RANGE)
        with m.Elif(inside & (addr > core.act_bytes - core.rows)):
            m.d.comb += error.eq(ErrorCode.ACT_RANGE)

        # One adder for addresses: the innermost loop that goes on adds its pitch to where its turn began.
        start, pitch, stepped = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        m.d.comb += stepped.eq(start + pitch)
        with m.If(~last_x):
            m.d.comb += [start.eq(addr), pitch.eq(keep["step_x"])]
        with m.Elif(~last_y):
            m.d.comb += [start.eq(row_addr), pitch.eq(keep["step_y"])]
        with m.Elif(~last_kx):
            m.d.comb += [start.eq(kx_addr), pitch.eq(keep["tap_x"])]
        with m.Elif(~last_ky):
            m.d.comb += [start.eq(ky_addr), pitch.eq(keep["tap_y"])]
        with m.Else():
            m.d.comb += [start.eq(block_addr), pitch.eq(keep["block_pitch"])]

        with m.If(advance):
            m.d.sync += [
                addr.eq(stepped),
                first.eq(pass_end),
                ix.eq(ix + keep["stride_w"]),
                stopped.eq(error != 0),
            ]
            with m.If(skip):
                m.d.sync += skips.eq(skips - 1)
            with m.Else():
                m.d.sync += [skips.eq(skips_next), left["x"].eq(left["x"] - 1), acc.eq(acc + 1)]
                with m.If(acc[:bank_bits].all()):
                    m.d.sync += acc_crossed.eq(1)
            with m.If(last_x):
                m.d.sync += [
                    left["x"].eq(ends["x"]),
                    skips.eq(skips_first),
                    left["y"].eq(left["y"] - 1),
                    row_addr.eq(stepped),
                    ix.eq(kx_ix),
                    iy.eq(iy + keep["stride_h"]),
                ]
            with m.If(pass_end):
                next_ix = Mux(last_kx, ix_start, kx_ix + keep["dilation_w"])
                m.d.sync += [
                    left["y"].eq(ends["y"]),
                    left["kx"].eq(left["kx"] - 1),
                    kx_addr.eq(stepped),
                    kx_ix.eq(next_ix),
                    ix.eq(next_ix),
                    iy.eq(ky_iy),
                    acc.eq(acc_base),
                    acc_crossed.eq(0),
                    first_pass.eq(0),
                ]
                with m.If(last_kx):
                    next_iy = Mux(last_ky, keep["iy0"], ky_iy + keep["dilation_h"])
                    m.d.sync += [
                        left["kx"].eq(ends["kx"]),
                        left["ky"].eq(left["ky"] - 1),
                        ky_addr.eq(stepped),
                        ky_iy.eq(next_iy),
                        iy.eq(next_iy),
                    ]
                    with m.If(last_ky):
                        m.d.sync += [
                            left["ky"].eq(ends["ky"]),
                            block_left.eq(block_left - 1),
                            block_addr.eq(stepped),
                        ]

        # The next job follows at once; if it is for another engine, behind a drain.
        engines = HARDWARE.of(core.engines)
        fields = {name: fields_of(ENGINES[name], setup) for name in engines}
        window = chosen(setup.engine, {name: part.window(fields[name]) for name, part in engines.items()})
        m.d.comb += self.job.ready.eq(~stopped & (~running | (advance & last & (error == 0))))
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += [
                running.eq(1),
                *(kept.eq(setup[name] if name in dict(setup.shape()) else job[name]) for name, kept in keep.items()),
                *(options[name].eq(fields[own][name]) for own, part in engines.items() for name in part.pixel_options),
                is_max.eq(chosen(setup.engine, {name: part.is_max(fields[name]) for name, part in engines.items()})),
                hold.eq(setup.engine != keep["engine"]),
                *(
                    register.eq(count - 1)
                    for name, count in (
                        ("x", setup.out_w),
                        ("y", job.out_h),
                        ("kx", setup.kernel_w),
                        ("ky", setup.kernel_h),
                    )
                    for register in (ends[name], left[name])
                ),
                *(register.eq(Mux(window, setup.kernel_w - 1, 0)) for register in (skips, skips_first)),
                skips_next.eq(Mux(window, setup.stride_w - 1, 0)),
                columns.eq(Cat(window & (setup.kernel_w > k) for k in range(1, len(columns) + 1))),
                block_left.eq(job.blocks - 1),
                *(register.eq(job.act_base) for register in (addr, row_addr, kx_addr, ky_addr, block_addr)),
                *(register.eq(-setup.pad_left) for register in (ix, kx_ix, ix_start)),
                *(register.eq(job.iy0) for register in (iy, ky_iy)),
                *(register.eq(job.acc_base) for register in (acc, acc_base)),
                acc_outside.eq(job.acc_base[acc_bits:] != 0),
                acc_crossed.eq(0),
                first.eq(1),
                first_pass.eq(1),
                *(
                    finish[f"signal{i}"].eq(
                        Cat(job[f"signal{i}_valid"], job[f"signal{i}_token"], job[f"signal{i}_core"])
                    )
                    for i in range(3)
                ),
            ]
            with m.If(window):
                m.d.sync += [
                    keep["step_x"].eq(setup.tap_x),
                    keep["stride_w"].eq(1),
                    *(register["kx"].eq(0) for register in (ends, left)),
                ]
        with m.Elif(advance & last):
            m.d.sync += running.eq(0)
        with m.If(hold & ~b_valid & self.engines_idle):
            m.d.sync += hold.eq(0)

        with m.If(free):
            m.d.sync += b_valid.eq(advance)
        with m.If(advance):
            m.d.sync += [
                self.engine.eq(keep["engine"]),
                b_padding.eq(~inside),
                b_pad_value.eq(keep["pad_value"]),
                b_error.eq(error),
                pixel.first.eq(first),
                pixel.options.eq(options),
                pixel.skip.eq(skip),
                pixel.columns.eq(columns),
                pixel.tag.addr.eq(acc),
                pixel.tag.overwrite.eq(first_pass & ~keep["accumulate"]),
                pixel.tag.is_max.eq(is_max),
                pixel.tag.last.eq(last),
            ]
        m.d.comb += [
            self.pixels.valid.eq(b_valid & (b_error == 0)),
            self.pixels.payload.first.eq(pixel.first),
            self.pixels.payload.options.eq(pixel.options),
            self.pixels.payload.skip.eq(pixel.skip),
            self.pixels.payload.columns.eq(pixel.columns),
            self.pixels.payload.tag.eq(pixel.tag),
            self.pixels.payload.act.eq(Mux(b_padding, b_pad_value.replicate(core.rows), self.read.data)),
            self.busy.eq(running | b_valid),
        ]
        # A bad pixel is reported when its turn comes, so that a pass without weights before it goes first.
        with m.If(b_valid):
            with m.If(self.pixels.ready | (b_error == ErrorCode.ILLEGAL_FIELD)):
                m.d.comb += self.error.eq(b_error)
            with m.Elif(self.weights_failed):
                m.d.comb += self.error.eq(ErrorCode.WEIGHT_RANGE)
        return m
