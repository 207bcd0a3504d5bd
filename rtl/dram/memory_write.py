"""Write half of a memory node: WRITE packets become AXI write bursts, B responses become acknowledgements."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.isa import TrafficClass
from rtl.contract.params import AXI_PAGE_BYTES, ChipParams
from rtl.contract.regs import ErrorCode
from rtl.dram.axi import Axi4Write, Burst, Resp
from rtl.lib.fifo import Fifo
from rtl.noc.flit import flit_layout

__all__ = ["WriteEngine", "write_events"]



def write_events() -> data.StructLayout:
    """What the write engine counts: a flit taken (``lanes`` bytes of class ``traffic``) and stalled cycles."""
    return data.StructLayout({"flit": unsigned(1), "traffic": TrafficClass, "lanes": unsigned(7), "stall": unsigned(1)})


class WriteEngine(wiring.Component):
    """Sends each WRITE packet as one AXI burst and asks for its acknowledgement when B has come.

    Dataflow: ``packet`` -> AW and W (both registered, both valid in the cycle after the first flit) ->
    B -> ``ack``. Latency: one cycle to W, one from B to ``ack``. Throughput: one flit per cycle, across
    packets; up to ``outstanding_bursts`` packets wait for B or for their ``ack``.

    Members
    -------
    packet
        Flits of WRITE packets; a packet that cannot be executed is dropped and sets ``error``.
    ack
        Source of each packet that is in memory, in the order of the packets.
    clear
        Held until ``idle``: packets are dropped; the burst under way is completed without byte enables.
        Whoever holds ``clear`` takes the pending ``ack`` and drops them.
    error
        First `ErrorCode` since ``clear``.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        super().__init__(
            {
                "packet": In(stream.Signature(flit_layout(chip))),
                "ack": Out(stream.Signature(unsigned(7))),
                "axi": Out(Axi4Write(data_bits=8 * chip.link_bytes)),
                "clear": In(1),
                "error": Out(8),
                "idle": Out(1),
                "events": Out(write_events()),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self._chip
        byte_bits = exact_log2(chip.link_bytes)
        axi = self.axi
        flit = self.packet.payload
        header = flit.header

        m.submodules.sources = sources = Fifo(shape=unsigned(7), depth=chip.outstanding_bursts)
        beats_left = Signal(7)  # of the burst under way
        dropping = Signal()  # the rest of a packet with a fault
        fault = Signal(8)
        starts = Signal()
        aw_free, w_free = Signal(), Signal()
        take = Signal()  # a beat enters the W register
        strobe, strobe_now = Signal(chip.link_bytes), Signal(chip.link_bytes)
        traffic, lanes = Signal(TrafficClass), Signal(7)
        m.d.comb += [
            starts.eq(self.packet.valid & flit.first & ~self.clear),
            aw_free.eq(~axi.awvalid | axi.awready),
            w_free.eq(~axi.wvalid | axi.wready),
            axi.awid.eq(0),
            axi.awsize.eq(byte_bits),
            axi.awburst.eq(Burst.INCR),
        ]
        with m.If(starts):
            m.d.comb += fault.eq(self._fault_of(header))

        with m.If(self.clear):
            m.d.comb += self.packet.ready.eq(1)
            m.d.sync += dropping.eq(0)
        with m.Elif(self.packet.valid):
            with m.If(flit.first):
                m.d.comb += self.packet.ready.eq((fault != 0) | (aw_free & w_free & sources.i.ready))
                m.d.comb += take.eq((fault == 0) & self.packet.ready)
                m.d.sync += dropping.eq((fault != 0) & ~flit.last)
            with m.Elif(dropping):
                m.d.comb += self.packet.ready.eq(1)
                m.d.sync += dropping.eq(~flit.last)
            with m.Else():
                m.d.comb += [self.packet.ready.eq(w_free), take.eq(w_free)]

        with m.If(take & flit.first):
            m.d.comb += strobe_now.eq(((1 << header.lanes) - 1)[: chip.link_bytes] << header.lane_offset)
            m.d.sync += [
                axi.awvalid.eq(1),
                axi.awaddr.eq(header.addr),
                axi.awlen.eq(header.flits - 1),
                beats_left.eq(header.flits - 1),
                strobe.eq(strobe_now),
                traffic.eq(header.traffic),
                lanes.eq(header.lanes),
                axi.wlast.eq(header.flits == 1),
            ]
        with m.Else():
            m.d.comb += strobe_now.eq(strobe)
            with m.If(axi.awready):
                m.d.sync += axi.awvalid.eq(0)
            with m.If(take | (self.clear & w_free & (beats_left != 0))):
                m.d.sync += [beats_left.eq(beats_left - 1), axi.wlast.eq(beats_left == 1)]

        with m.If(take):
            m.d.sync += [axi.wvalid.eq(1), axi.wdata.eq(flit.data), axi.wstrb.eq(strobe_now)]
        with m.Elif(w_free):
            m.d.sync += axi.wvalid.eq(self.clear & (beats_left != 0))
            with m.If(self.clear):
                m.d.sync += axi.wstrb.eq(0)

        # --- B to acknowledgements: one count suffices, B come in order ---
        done = Signal(range(chip.outstanding_bursts + 1))
        acked = Signal()
        m.d.comb += [
            sources.i.valid.eq(take & flit.first),
            sources.i.payload.eq(header.src),
            axi.bready.eq(1),
            self.ack.valid.eq(done != 0),
            self.ack.payload.eq(sources.o.payload),
            acked.eq(self.ack.valid & self.ack.ready),
            sources.o.ready.eq(acked),
            self.idle.eq(~axi.awvalid & ~axi.wvalid & (beats_left == 0) & ~sources.o.valid),
        ]
        with m.If(axi.bvalid & ~acked):
            m.d.sync += done.eq(done + 1)
        with m.Elif(acked & ~axi.bvalid):
            m.d.sync += done.eq(done - 1)

        with m.If(self.clear):
            m.d.sync += self.error.eq(0)
        with m.Elif(self.error == 0):
            with m.If(fault != 0):
                m.d.sync += self.error.eq(fault)
            with m.Elif(axi.bvalid & (axi.bresp != Resp.OKAY)):
                m.d.sync += self.error.eq(ErrorCode.AXI_WRITE)

        m.d.comb += [
            self.events.flit.eq(take),
            self.events.traffic.eq(Mux(flit.first, header.traffic, traffic)),
            self.events.lanes.eq(Mux(flit.first, header.lanes, lanes)),
            self.events.stall.eq(self.packet.valid & ~self.packet.ready),
        ]
        return m

    def _fault_of(self, header: Any) -> Value:
        chip = self._chip
        byte_bits, page_bits = exact_log2(chip.link_bytes), exact_log2(AXI_PAGE_BYTES)
        illegal = (
            (header.flits == 0)
            | (header.flits > chip.max_packet_flits)
            | (header.addr[byte_bits:page_bits] + header.flits > 1 << page_bits - byte_bits)
            | (header.lanes == 0)
            | (header.lane_offset + header.lanes > chip.link_bytes)
            | (Value.cast(header.traffic) > max(TrafficClass))
        )
        misaligned = header.addr[:byte_bits] != 0
        return Mux(illegal, ErrorCode.ILLEGAL_FIELD, Mux(misaligned, ErrorCode.MISALIGNED, ErrorCode.NONE))
