"""The compute unit: SETUP and COMPUTE instructions in, accumulator updates and signals out.

    instruction -> setup register -> job -+-> WeightLoader -> weights -+-> engine -+-> update
                                          '-> PixelStreamer -> pixels -+-> engine -+
                                                                       :    ...    :
There is one engine for each name in ``CoreParams.engines``; SETUP.engine says for which a job is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.engines import ENGINES
from rtl.contract.isa import INSTRUCTION_BITS, Compute, Opcode, Setup
from rtl.contract.params import ChipParams, CoreParams
from rtl.core.accumulator import accumulator_update
from rtl.core.job import (
    SETUP_FIELDS,
    chosen,
    compute_fields,
    fields_of,
    is_one_of,
    job_layout,
    listing,
    setup_layout,
)
from rtl.core.scratchpad import scratchpad_read
from rtl.core.signals import SIGNAL
from rtl.core.streamer import PixelStreamer, finish_layout
from rtl.core.weight_loader import WeightLoader
from rtl.engines import HARDWARE, EngineHardware, counter_bits
from rtl.lib.fifo import Fifo

__all__ = ["ComputeUnit", "events_layout"]

_FINISHED_JOBS = 4
"""Jobs whose signals wait; more than an engine has in flight, so that taken signals never hold up pixels."""


def events_layout(core: CoreParams, *, operations: bool = False) -> data.StructLayout:
    """What the unit does in a cycle; `operations`: and how often its engines do what `EngineSpec.operations` name."""
    specs = ENGINES.of(core.engines).values() if operations else ()
    return data.StructLayout(
        {
            "stream": unsigned(1),
            # An engine takes a pixel, or one with lists is too busy for it.
            "weight_stall": unsigned(1),
            # The first pixel of a pass waits for its weights.
            "overhead": unsigned(1),
            # Busy, and neither of these.
            **{f"{name}_pixel": unsigned(1) for name in core.engines},
            "pass_start": unsigned(1),
            **{counter.name.lower(): unsigned(4) for spec in specs for counter in spec.operations},
            **{counter.name.lower(): unsigned(bits) for counter, bits in counter_bits(core).items()},
        }
    )


class ComputeUnit(wiring.Component):
    """Runs COMPUTE instructions back to back on the core's engines.

    One job (COMPUTE with the SETUP before it) is in work and one waits, so the weight loader runs ahead into the next
    one. With it already queued no cycle is lost between passes, instructions and SETUPs, provided that
    passes have at least max(R, C) pixels; shorter array passes take max(R, C) cycles each. Before the
    first pixel of an instruction for another engine, the engine in use drains.

    Latency, from acceptance of a COMPUTE in cycle t, all idle: job t + 1, first reads t + 2, first weights t + 3,
    first pixel t + 4 (array), first update t + 4 + R + C.

    Errors: ILLEGAL_FIELD for a SETUP whose kernel_h, kernel_w or out_w is zero, whose engine the core does not have or
    whose options that engine does not know or forbids (`rtl.contract.isa`), a COMPUTE before any SETUP, one whose
    blocks or out_h is zero, or whose weight_base is not a multiple of C; WEIGHT_RANGE before the first pixel of a
    pass whose weights do not all lie in the scratchpad; ACC_RANGE for the first pixel whose entry is not in
    the bank of acc_base, or does not exist; ACT_RANGE for the first pixel, not padding, of whose R bytes not all
    lie in the scratchpad. The first of these in the order of instructions, passes and pixels counts, and nothing
    follows it: the instructions before are complete, with their signals.

    Members
    -------
    instruction : In(Stream(unsigned(256)))
        SETUP and COMPUTE; their waits are over.
    act_read, weight_read : Out(`scratchpad_read`)
    update : Out(`accumulator_update`)
    signal0, signal1 : Out(Stream(SIGNAL))
        Valid once all operands of the instruction have been read, activations and weights.
    signal2 : Out(Stream(SIGNAL))
        Valid once its last update is in the accumulator, for reads accepted from that cycle on.
    busy : Out(1)
        Anything is under way, signals included.
    error : Out(8)
        `ErrorCode`, stays until reset.
    events : Out(`events_layout`)
    """

    def __init__(self, *, core: CoreParams, chip: ChipParams) -> None:
        self.core = core
        self.chip = chip
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(INSTRUCTION_BITS))),
                "act_read": Out(scratchpad_read(size_bytes=core.act_bytes, read_bytes=core.rows)),
                "weight_read": Out(scratchpad_read(size_bytes=core.weight_bytes, read_bytes=core.cols)),
                "update": Out(accumulator_update(entries=core.acc_entries, cols=core.cols)),
                "signal0": Out(stream.Signature(SIGNAL)),
                "signal1": Out(stream.Signature(SIGNAL)),
                "signal2": Out(stream.Signature(SIGNAL)),
                "busy": Out(1),
                "error": Out(8),
                "events": Out(events_layout(core, operations=chip.counters)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self.core
        engines = {name: part(core=core) for name, part in HARDWARE.of(core.engines).items()}
        for name, engine in engines.items():
            m.submodules[name] = engine
        m.submodules.loader = loader = WeightLoader(core=core)
        m.submodules.streamer = streamer = PixelStreamer(core=core)
        stop = Signal()
        m.d.comb += stop.eq(self.error != 0)
        with m.If((self.error == 0) & (streamer.error != 0)):
            m.d.sync += self.error.eq(streamer.error)

        waiting = self._make_jobs(m, loader, streamer, stop)
        wiring.connect(m, loader.read, wiring.flipped(self.weight_read))
        wiring.connect(m, streamer.read, wiring.flipped(self.act_read))
        at_work = self._feed(m, engines, loader, streamer, stop)
        last_update = self._collect(m, engines)
        results = self._send_signals(m, loader, streamer, last_update)

        took = streamer.pixels.valid & streamer.pixels.ready
        m.d.comb += [
            self.busy.eq(waiting | loader.busy | streamer.busy | results),
            self.events.stream.eq(took),
            self.events.weight_stall.eq(streamer.pixels.valid & ~streamer.pixels.ready & ~stop),
            self.events.overhead.eq(self.busy & ~streamer.pixels.valid),
            self.events.pass_start.eq(took & streamer.pixels.payload.first),
        ]
        if listing(core):
            with m.If(at_work):
                m.d.comb += [self.events.stream.eq(1), self.events.weight_stall.eq(0)]
        m.d.comb += [
            self.events[f"{name}_pixel"].eq(took & (streamer.engine == engine.spec.code))
            for name, engine in engines.items()
        ]
        for engine in engines.values():
            m.d.comb += [
                self.events[counter.name.lower()].eq(engine.events[counter.name]) for counter in engine.spec.counters
            ]
        for engine in engines.values() if self.chip.counters else ():
            pixel = took & (streamer.engine == engine.spec.code)
            m.d.comb += [
                self.events[counter.name.lower()].eq(Mux(pixel, count, 0))
                for counter, count in engine.operations(streamer.pixels.payload).items()
            ]
        return m

    def _make_jobs(self, m: Module, loader: WeightLoader, streamer: PixelStreamer, stop: Value) -> Value:
        """Instructions become jobs; both loader and streamer take each job, in their own time.

        Returns
        -------
        A job waits for one of them.
        """
        core = self.core
        setup = Signal(setup_layout(core))
        job = Signal(job_layout(core))
        job_for_loader = Signal()
        job_for_streamer = Signal()
        as_setup = data.View(Setup, self.instruction.payload)
        as_compute = data.View(Compute, self.instruction.payload)
        is_compute = as_compute.opcode == Opcode.COMPUTE
        bad_setup = (
            (as_setup.kernel_h == 0) | (as_setup.kernel_w == 0) | (as_setup.out_w == 0) | self._bad_engine(as_setup)
        )
        bad_compute = (
            (setup.out_w == 0)  # no SETUP yet
            | (as_compute.blocks == 0)
            | (as_compute.out_h == 0)
            | as_compute.weight_base[: exact_log2(core.cols)].any()
        )
        for spec in listing(core).values():
            assert spec.lists is not None
            bad_compute |= (setup.engine == spec.code) & (as_compute.rounds > spec.lists.rounds(core))
        # An illegal SETUP makes a job, too: it is reported when those before are through.
        makes_job = is_compute | bad_setup
        waiting = job_for_loader | job_for_streamer
        m.d.comb += [
            self.instruction.ready.eq(~stop & ~(makes_job & waiting)),
            loader.job.valid.eq(job_for_loader),
            loader.job.payload.eq(job),
            streamer.job.valid.eq(job_for_streamer),
            streamer.job.payload.eq(job),
        ]
        with m.If(loader.job.ready):
            m.d.sync += job_for_loader.eq(0)
        with m.If(streamer.job.ready):
            m.d.sync += job_for_streamer.eq(0)
        with m.If(self.instruction.valid & self.instruction.ready):
            with m.If(makes_job):
                m.d.sync += [
                    job_for_loader.eq(1),
                    job_for_streamer.eq(1),
                    job.setup.eq(setup),
                    *(job[name].eq(as_compute[name]) for name in compute_fields(core)),
                    job.illegal.eq(Mux(is_compute, bad_compute, bad_setup)),
                ]
            with m.Else():
                m.d.sync += [setup[name].eq(as_setup[name]) for name in SETUP_FIELDS]
        return waiting

    def _bad_engine(self, setup: data.View) -> Value:
        """A SETUP for an engine that the core lacks, or with options that its engine lacks or forbids."""
        good = [
            (setup.engine == spec.code)
            & (setup.options[spec.options.size :] == 0)
            & (Value.cast(spec.illegal(self.core, fields_of(spec, setup))) == 0)
            for spec in ENGINES.of(self.core.engines).values()
        ]
        return ~Cat(good).any()

    def _feed(
        self,
        m: Module,
        engines: Mapping[str, EngineHardware],
        loader: WeightLoader,
        streamer: PixelStreamer,
        stop: Value,
    ) -> Value:
        """Operands go to the engine that they are for.

        Returns
        -------
        An engine with lists has no room for the pixel, and all weights that it needs for it.
        """
        pixel = streamer.pixels.payload
        for engine in engines.values():
            own = engine.pixels.payload
            code = engine.spec.code
            m.d.comb += [
                engine.weights.valid.eq(loader.weights.valid & (loader.engine == code)),
                engine.weights.payload.eq(loader.weights.payload),
                engine.weights_more.eq(loader.weights_more),
                engine.pixels.valid.eq(streamer.pixels.valid & (streamer.engine == code)),
                *(own[name].eq(pixel[name]) for name, _ in own.shape() if name != "options"),
                *(own.options[name].eq(pixel.options[name]) for name in engine.pixel_options),
            ]
        weights = {name: engine.weights.ready for name, engine in engines.items()}
        pixels = {name: engine.pixels.ready for name, engine in engines.items()}
        m.d.comb += [
            loader.weights.ready.eq(chosen(loader.engine, weights)),
            streamer.pixels.ready.eq(chosen(streamer.engine, pixels) & ~stop),
            streamer.engines_idle.eq(Cat(engine.idle for engine in engines.values()).all()),
        ]
        lists = listing(self.core)
        if not lists:
            m.d.comb += streamer.weights_failed.eq(loader.failed)
            return Const(0)
        waits, contradicts = Signal(), Signal()
        for name, spec in lists.items():
            engine, own = engines[name], streamer.engine == spec.code
            m.d.comb += engine.weights_tail.eq(loader.weights_tail)
            with m.If(own):
                m.d.comb += [waits.eq(engine.starved), contradicts.eq(engine.contradicts)]
        of_lists = is_one_of(streamer.engine, lists)
        m.d.comb += [
            streamer.weights_failed.eq(loader.failed & (waits | ~of_lists)),
            streamer.weights_contradict.eq(contradicts),
        ]
        return of_lists & streamer.pixels.valid & ~streamer.pixels.ready & ~waits & ~contradicts & ~stop

    def _collect(self, m: Module, engines: Mapping[str, EngineHardware]) -> Value:
        """Updates of all engines; at most one has pixels in flight, so that they never meet.

        Returns
        -------
        The update is the last one of its instruction.
        """
        first, *others = (engine.update for engine in engines.values())
        values, tag = Value.cast(first.data), Value.cast(first.tag)
        for update in others:
            values = Mux(update.valid, update.data, values)
            tag = Mux(update.valid, update.tag, tag)
        updated = Signal.like(first.tag)
        m.d.comb += [
            self.update.valid.eq(Cat(update.valid for update in (first, *others)).any()),
            self.update.data.eq(values),
            updated.eq(tag),
            self.update.addr.eq(updated.addr),
            self.update.overwrite.eq(updated.overwrite),
            self.update.is_max.eq(updated.is_max),
        ]
        return self.update.valid & updated.last

    def _send_signals(self, m: Module, loader: WeightLoader, streamer: PixelStreamer, last_update: Value) -> Value:
        """Signals wait in two queues. Those for the operands leave when the loader is through with the job as well
        (it is ahead by `read_ahead` jobs), the others when the accumulator has the last update.

        Returns
        -------
        Some signals are still to be sent.
        """
        m.submodules.operands = operands = Fifo(shape=finish_layout, depth=_FINISHED_JOBS)
        m.submodules.results = results = Fifo(shape=finish_layout["signal2"].shape, depth=_FINISHED_JOBS)
        finished = streamer.finish.valid & operands.i.ready & results.i.ready
        m.d.comb += [
            streamer.finish.ready.eq(operands.i.ready & results.i.ready),
            operands.i.valid.eq(finished),
            operands.i.payload.eq(streamer.finish.payload),
            results.i.valid.eq(finished),
            results.i.payload.eq(streamer.finish.payload.signal2),
        ]
        read_ahead = Signal(range(_FINISHED_JOBS + 4))
        sent = Signal(2)
        may_send = operands.o.valid & (read_ahead != 0)
        still = Signal(2)
        for index, port in enumerate((self.signal0, self.signal1)):
            head = operands.o.payload[f"signal{index}"]
            m.d.comb += [
                port.valid.eq(may_send & head.valid & ~sent[index]),
                port.payload.eq(head.signal),
                still[index].eq(port.valid & ~port.ready),
            ]
            with m.If(port.valid & port.ready):
                m.d.sync += sent[index].eq(1)
        m.d.comb += operands.o.ready.eq((read_ahead != 0) & (still == 0))
        operands_gone = operands.o.valid & operands.o.ready
        with m.If(operands_gone):
            m.d.sync += sent.eq(0)
        with m.If(loader.done | operands_gone):
            m.d.sync += read_ahead.eq(read_ahead + loader.done - operands_gone)

        # An update is in memory two cycles after it was given.
        written = Signal()
        complete = Signal(range(_FINISHED_JOBS + 1))
        m.d.sync += written.eq(last_update)
        m.d.comb += [
            self.signal2.valid.eq(results.o.valid & (complete != 0) & results.o.payload.valid),
            self.signal2.payload.eq(results.o.payload.signal),
            results.o.ready.eq((complete != 0) & (self.signal2.ready | ~results.o.payload.valid)),
        ]
        result_gone = results.o.valid & results.o.ready
        with m.If(written | result_gone):
            m.d.sync += complete.eq(complete + written - result_gone)
        return operands.o.valid | results.o.valid
