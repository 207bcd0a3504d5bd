"""Read half of a memory node: LOAD instructions become AXI read bursts, bursts become DATA packets."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.isa import Load, Space, TrafficClass
from rtl.contract.params import AXI_PAGE_BYTES, ChipParams
from rtl.contract.regs import ErrorCode
from rtl.dram.axi import Axi4Read, Burst, Resp
from rtl.lib.bits import mixed_planes, plane_masks
from rtl.lib.fifo import Fifo
from rtl.noc.flit import Kind, flit_layout

__all__ = ["ReadEngine", "read_events"]



def read_events() -> data.StructLayout:
    """What the read engine counts: a burst ended (``beats`` of class ``traffic``), stalled and idle cycles."""
    return data.StructLayout(
        {"burst": unsigned(1), "traffic": TrafficClass, "beats": unsigned(7), "stall": unsigned(1), "idle": unsigned(1)}
    )


class ReadEngine(wiring.Component):
    """Executes LOADs in order: a run is cut into bursts, each burst is answered as one packet.

    Reads of programs (space PROGRAM, one run) have a queue of their own and go before the next burst of
    any other LOAD: a core never waits for instructions behind more than the bursts already in flight.

    Dataflow: ``load`` -> descriptor queue -> current LOAD -> AR (registered) and a note of the burst ->
    R joined with the oldest note -> ``data``. R passes through without a register.
    Latency: ARVALID is high in the third cycle after the LOAD's; R to ``data`` 0.
    Throughput: one burst per cycle is asked for, across runs and LOADs, up to ``outstanding_bursts`` in
    flight; one flit per cycle passes, without a bubble between bursts.

    DRAM addresses are modulo 2**32. A planar LOAD for cores whose act_groups differ is an ILLEGAL_FIELD,
    and so is one into space PROGRAM with several runs.

    Members
    -------
    load
        LOAD instructions; one that cannot be executed is dropped and sets ``error``.
    data
        DATA packets.
    clear
        Held until ``idle``: drops all LOADs and the data of bursts in flight.
    halt
        No new bursts; LOADs are dropped; bursts in flight still become packets.
    error
        First `ErrorCode` since ``clear``.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        super().__init__(
            {
                "load": In(stream.Signature(Load)),
                "data": Out(stream.Signature(flit_layout(chip))),
                "axi": Out(Axi4Read(data_bits=8 * chip.link_bytes)),
                "node": In(7),
                "clear": In(1),
                "halt": In(1),
                "error": Out(8),
                "idle": Out(1),
                "events": Out(read_events()),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self._chip
        byte_bits = exact_log2(chip.link_bytes)
        axi = self.axi

        # --- descriptor queues: programs have their own, so that they never wait behind data ---
        wanted = (
            "dram_addr", "runs", "run_flits", "dram_stride", "space", "dst", "dst_stride",
            "planar", "traffic", "token_valid", "token",
        )  # fmt: skip
        descriptor = data.StructLayout({"cores": unsigned(chip.n_cores)} | {n: Load[n].shape for n in wanted})
        queues = [Fifo(shape=descriptor, depth=chip.memory_queue_depth) for _ in range(2)]
        queue, program_queue = queues
        m.submodules.queue = ResetInserter(self.clear)(queue)
        m.submodules.program_queue = ResetInserter(self.clear)(program_queue)
        load = self.load.payload
        fault = Signal(8)
        discard = Signal()
        is_program = Signal()
        m.d.comb += [
            is_program.eq(load.space == Space.PROGRAM),
            discard.eq(self.clear | self.halt | (fault != 0)),
            self.load.ready.eq(Mux(is_program, program_queue.i.ready, queue.i.ready) | discard),
            queue.i.valid.eq(self.load.valid & ~discard & ~is_program),
            program_queue.i.valid.eq(self.load.valid & ~discard & is_program),
        ]
        for one in queues:
            m.d.comb += one.i.payload.cores.eq(load.cores)
            m.d.comb += [one.i.payload[name].eq(load[name]) for name in wanted]
        with m.If(self.load.valid):
            unknown = load.cores[chip.n_cores :].any() if chip.n_cores < 64 else 0
            mixed = mixed_planes(chip, load.planar, load.cores)
            illegal = (load.runs == 0) | (load.run_flits == 0) | (load.cores == 0) | unknown | mixed
            illegal |= (Value.cast(load.traffic) > max(TrafficClass)) | (is_program & (load.runs != 1))
            with m.If(illegal):
                m.d.comb += fault.eq(ErrorCode.ILLEGAL_FIELD)
            with m.Elif(load.dram_addr[:byte_bits] != 0):
                m.d.comb += fault.eq(ErrorCode.MISALIGNED)
        self._keep_first_error(m, fault)

        # --- bursts of the current program read, else of the current LOAD ---
        note = data.StructLayout(
            {
                "cores": unsigned(chip.n_cores),
                "space": Space,
                "planar": unsigned(1),
                "addr": unsigned(32),
                "beats": unsigned(7),
                "traffic": TrafficClass,
                "token_valid": unsigned(1),
                "token": unsigned(7),
            }
        )
        m.submodules.notes = notes = Fifo(shape=note, depth=chip.outstanding_bursts)
        active = Signal()
        current = Signal(descriptor)
        next_addr, dst, next_dst = Signal(32), Signal(32), Signal(32)
        flits_left, runs_left = Signal(16), Signal(12)
        addr = Signal(32)
        program_active = Signal()
        program = Signal(descriptor)  # dram_addr, dst and run_flits are of what is left
        source = Signal(descriptor)
        ask_addr, ask_left, ask_dst = Signal(32), Signal(16), Signal(32)
        limit, beats = Signal(7), Signal(7)
        to_page_end = Signal(range(AXI_PAGE_BYTES // chip.link_bytes + 1))
        ask, end_of_run, end_of_load = Signal(), Signal(), Signal()
        with m.If(program_active):
            m.d.comb += [
                source.eq(program),
                ask_addr.eq(program.dram_addr),
                ask_left.eq(program.run_flits),
                ask_dst.eq(program.dst),
            ]
        with m.Elif(active):
            m.d.comb += [source.eq(current), ask_addr.eq(addr), ask_left.eq(flits_left), ask_dst.eq(dst)]
        with m.If(program_active | active):
            m.d.comb += [
                to_page_end.eq(AXI_PAGE_BYTES // chip.link_bytes - ask_addr[byte_bits : exact_log2(AXI_PAGE_BYTES)]),
                limit.eq(Mux(to_page_end < chip.max_packet_flits, to_page_end, chip.max_packet_flits)),
                beats.eq(Mux(ask_left < limit, ask_left, limit)),
                end_of_run.eq(ask_left == beats),
                end_of_load.eq(end_of_run & (program_active | (runs_left == 0))),
                ask.eq(notes.i.ready & (~axi.arvalid | axi.arready) & ~self.halt & ~self.clear),
            ]
        next_load, next_program = Signal(), Signal()
        m.d.comb += [
            next_load.eq(~active | (ask & ~program_active & end_of_load)),
            next_program.eq(~program_active | (ask & end_of_load)),
            queue.o.ready.eq(next_load & ~self.halt),
            program_queue.o.ready.eq(next_program & ~self.halt),
            axi.arid.eq(0),
            axi.arsize.eq(byte_bits),
            axi.arburst.eq(Burst.INCR),
        ]
        m.d.comb += [notes.i.payload[n].eq(source[n]) for n in ("cores", "space", "planar", "traffic", "token")]
        m.d.comb += [
            notes.i.valid.eq(ask),
            notes.i.payload.addr.eq(ask_dst),
            notes.i.payload.beats.eq(beats),
            notes.i.payload.token_valid.eq(source.token_valid & end_of_load),
        ]
        with m.If(ask):
            m.d.sync += [axi.arvalid.eq(1), axi.araddr.eq(ask_addr), axi.arlen.eq(beats - 1)]
            with m.If(program_active):
                m.d.sync += [
                    program.dram_addr.eq(program.dram_addr + (beats << byte_bits)),
                    program.dst.eq(program.dst + beats),
                    program.run_flits.eq(program.run_flits - beats),
                ]
            with m.Elif(end_of_run):
                m.d.sync += [
                    addr.eq(next_addr),
                    next_addr.eq(next_addr + (current.dram_stride << byte_bits)),
                    dst.eq(next_dst),
                    next_dst.eq(next_dst + current.dst_stride),
                    flits_left.eq(current.run_flits),
                    runs_left.eq(runs_left - 1),
                ]
            with m.Else():
                m.d.sync += [
                    addr.eq(addr + (beats << byte_bits)),
                    dst.eq(dst + Mux(current.planar, self._planar_step(current.cores, beats), beats)),
                    flits_left.eq(flits_left - beats),
                ]
        with m.Elif(axi.arready):
            m.d.sync += axi.arvalid.eq(0)
        with m.If(next_program):
            m.d.sync += program_active.eq(program_queue.o.valid & ~self.halt)
            with m.If(program_queue.o.valid):
                m.d.sync += program.eq(program_queue.o.payload)
        head = queue.o.payload
        with m.If(next_load):
            m.d.sync += active.eq(queue.o.valid & ~self.halt)
            with m.If(queue.o.valid):
                m.d.sync += [
                    current.eq(head),
                    addr.eq(head.dram_addr),
                    next_addr.eq(head.dram_addr + (head.dram_stride << byte_bits)),
                    dst.eq(head.dst),
                    next_dst.eq(head.dst + head.dst_stride),
                    flits_left.eq(head.run_flits),
                    runs_left.eq(head.runs - 1),
                ]
        with m.If(self.clear):
            m.d.sync += [active.eq(0), program_active.eq(0)]

        # --- R to packets ---
        first = Signal(init=1)
        flit = self.data.payload
        oldest = notes.o.payload
        m.d.comb += [
            self.data.valid.eq(axi.rvalid & ~self.clear),
            axi.rready.eq(self.data.ready | self.clear),
            notes.o.ready.eq(axi.rvalid & axi.rready & axi.rlast),
            self.idle.eq(~(active | program_active | queue.o.valid | program_queue.o.valid | notes.o.valid)),
        ]
        with m.If(axi.rvalid):
            m.d.comb += [
                flit.data.eq(axi.rdata),
                flit.first.eq(first),
                flit.last.eq(axi.rlast),
                flit.header.dest.eq(oldest.cores),
                flit.header.src.eq(self.node),
                flit.header.kind.eq(Kind.DATA),
                flit.header.flits.eq(oldest.beats),
                flit.header.lane_offset.eq(0),
                flit.header.lanes.eq(chip.link_bytes),
            ]
            same = ("space", "planar", "addr", "traffic", "token_valid", "token")
            m.d.comb += [flit.header[name].eq(oldest[name]) for name in same]
            with m.If(axi.rready):
                m.d.sync += first.eq(axi.rlast)

        m.d.comb += [
            self.events.burst.eq(notes.o.ready),
            self.events.traffic.eq(oldest.traffic),
            self.events.beats.eq(oldest.beats),
            self.events.stall.eq(axi.rvalid & ~axi.rready),
            self.events.idle.eq(self.idle),
        ]
        return m

    def _keep_first_error(self, m: Module, fault: Value) -> None:
        with m.If(self.clear):
            m.d.sync += self.error.eq(0)
        with m.Elif(self.error == 0):
            with m.If(fault != 0):
                m.d.sync += self.error.eq(fault)
            with m.Elif(self.axi.rvalid & self.axi.rready & (self.axi.rresp != Resp.OKAY)):
                m.d.sync += self.error.eq(ErrorCode.AXI_READ)

    def _planar_step(self, cores: Value, flits: Value) -> Value:
        """Scratchpad flit addresses from the first of ``flits`` planar flits to the one behind the last."""
        masks = plane_masks(self._chip)
        if len(masks) == 1:
            return flits << next(iter(masks))
        step: Value = Const(0)
        for shift, mask in masks.items():
            step = step | Mux((cores & mask).any(), flits << shift, 0)
        return step
