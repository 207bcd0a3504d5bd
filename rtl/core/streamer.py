"""Pixel streamer: walks through passes and pixels of a job and gives the engine one pixel per cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.engines import ENGINES
from rtl.contract.isa import ENGINE_BITS
from rtl.contract.params import CoreParams
from rtl.contract.regs import ErrorCode
from rtl.core.job import chosen, fields_of, is_one_of, job_layout, listing
from rtl.core.scratchpad import scratchpad_read
from rtl.core.signals import SIGNAL
from rtl.core.walk import Walk
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
    columns = max(part.window_columns(core) for part in parts)
    return pixel_layout(core, columns=columns, options=options, items=bool(listing(core)))


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
        No weights follow those that the engine has, and the pixel offered waits for some.
    weights_contradict : In(1)
        Those that the pixel offered waits for contradict themselves; only of a core with an engine with lists.
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
                **({"weights_contradict": In(1)} if listing(core) else {}),
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
        acc_bits = exact_log2(core.acc_entries)

        # Registers of the job in work that the walk does not need, and stage B, ahead of the engine.
        running, stopped, hold = (Signal(name=name) for name in ("running", "stopped", "hold"))
        pixel = Signal(streamed_layout(core))
        members = dict(pixel.shape())
        kept = {name: Signal.like(pixel[name], name=name) for name in ("options", "columns") if name in members}
        is_max, acc_outside = Signal(), Signal()
        finish = Signal(finish_layout)
        b_valid, b_padding = Signal(), Signal()
        b_pad_value, b_error = Signal(8), Signal(8)

        lists = listing(core)
        walk = Walk(core, job, skip_bits=len(setup.stride_w) * ("skip" in members), item_order=bool(lists))
        keep = walk.keep
        free, advance = Signal(), Signal()
        error = Signal(8)
        engines = HARDWARE.of(core.engines)
        fields = {name: fields_of(ENGINES[name], setup) for name in engines}
        window = chosen(setup.engine, {name: part.window(fields[name]) for name, part in engines.items()})

        def find_error() -> None:
            with m.If(keep["illegal"]):
                m.d.comb += error.eq(ErrorCode.ILLEGAL_FIELD)
            with m.Elif((acc_outside | walk.acc_crossed) & ~walk.skip):
                m.d.comb += error.eq(ErrorCode.ACC_RANGE)
            with m.Elif(walk.inside & (walk.addr > core.act_bytes - core.rows)):
                m.d.comb += error.eq(ErrorCode.ACT_RANGE)

        def read_operands() -> None:
            m.d.comb += [
                free.eq(~b_valid | (self.pixels.valid & self.pixels.ready)),
                self.finish.valid.eq(running & ~stopped & free & ~hold & walk.last & (error == 0)),
                self.finish.payload.eq(finish),
                advance.eq(running & ~stopped & free & ~hold & (~walk.last | self.finish.ready | (error != 0))),
                self.read.enable.eq(advance & walk.inside),
                self.read.addr.eq(walk.addr[: len(self.read.addr)]),
            ]

        def begin_job() -> None:
            signals = (
                Cat(job[f"signal{i}_valid"], job[f"signal{i}_token"], job[f"signal{i}_core"]) for i in range(3)
            )
            m.d.sync += [
                running.eq(1),
                hold.eq(setup.engine != keep["engine"]),
                *(
                    kept["options"][name].eq(fields[own][name])
                    for own, part in engines.items()
                    for name in part.pixel_options
                ),
                is_max.eq(chosen(setup.engine, {name: part.is_max(fields[name]) for name, part in engines.items()})),
                acc_outside.eq(job.acc_base[acc_bits:] != 0),
                *(finish[f"signal{i}"].eq(signal) for i, signal in enumerate(signals)),
            ]
            if "columns" in kept:
                behind = range(1, len(kept["columns"]) + 1)  # the window's first column
                m.d.sync += kept["columns"].eq(Cat(window & (setup.kernel_w > k) for k in behind))
            walk.begin(m, job, window, is_one_of(setup.engine, lists))

        def keep_pixel() -> None:
            m.d.sync += [
                self.engine.eq(keep["engine"]),
                b_padding.eq(~walk.inside),
                b_pad_value.eq(keep["pad_value"]),
                b_error.eq(error),
                pixel.first.eq(walk.first),
                *(pixel[name].eq(value) for name, value in {**kept, "skip": walk.skip}.items() if name in members),
                pixel.tag.addr.eq(walk.acc),
                pixel.tag.overwrite.eq(walk.first_pass & ~keep["accumulate"]),
                pixel.tag.is_max.eq(is_max),
                pixel.tag.last.eq(walk.last),
            ]
            if lists:
                m.d.sync += pixel.last_item.eq(walk.pass_end)

        def offer_pixel() -> None:
            m.d.comb += [
                self.pixels.valid.eq(b_valid & (b_error == 0)),
                *(self.pixels.payload[name].eq(pixel[name]) for name in members if name not in ("act", "zero")),
                self.pixels.payload.act.eq(Mux(b_padding, b_pad_value.replicate(core.rows), self.read.data)),
                self.busy.eq(running | b_valid),
            ]
            if lists:
                m.d.comb += self.pixels.payload.zero.eq(b_pad_value)

        def report_error() -> None:
            """When its turn comes, so that a pass without weights before it goes first."""
            with m.If(self.pixels.ready | (b_error == ErrorCode.ILLEGAL_FIELD)):
                m.d.comb += self.error.eq(b_error)
            with m.Elif(self.weights_failed):
                m.d.comb += self.error.eq(ErrorCode.WEIGHT_RANGE)
            if lists:
                with m.Elif(self.weights_contradict):
                    m.d.comb += self.error.eq(ErrorCode.WEIGHT_LISTS)

        walk.look(m)
        find_error()
        read_operands()
        with m.If(advance):
            walk.step(m)
            m.d.sync += stopped.eq(error != 0)
        # The next job follows at once; if it is for another engine, behind a drain.
        m.d.comb += self.job.ready.eq(~stopped & (~running | (advance & walk.last & (error == 0))))
        with m.If(self.job.valid & self.job.ready):
            begin_job()
        with m.Elif(advance & walk.last):
            m.d.sync += running.eq(0)
        with m.If(hold & ~b_valid & self.engines_idle):
            m.d.sync += hold.eq(0)
        with m.If(free):
            m.d.sync += b_valid.eq(advance)
        with m.If(advance):
            keep_pixel()
        offer_pixel()
        with m.If(b_valid):
            report_error()
        return m
