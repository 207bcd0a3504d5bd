"""A memory node: executes the READ and WRITE packets of the cores on an AXI4 master."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.isa import INSTRUCTION_BITS, INSTRUCTION_BYTES, TrafficClass
from rtl.contract.params import ChipParams
from rtl.contract.regs import COUNTER_BITS, ErrorCode, MemoryCounter
from rtl.dram.axi import Axi4
from rtl.dram.memory_read import ReadEngine
from rtl.dram.memory_write import WriteEngine
from rtl.noc.flit import Kind, flit_layout

__all__ = ["MemoryNode"]


class MemoryNode(wiring.Component):
    """Splits requests into reads and writes, merges data and acknowledgements into responses.

    Dataflow: ``request_in`` -> `ReadEngine` (its payload collected into a LOAD) or `WriteEngine`;
    DATA packets and ACK packets -> ``response_out``, whole packets at a time, ACK first.
    Latency: see the engines; ARVALID is high in the third cycle after the last flit of a READ.
    Throughput: one flit per cycle each way. Reads and writes wait for each other only in that
    ``request_in`` is one queue: a WRITE behind a READ for which there is no free descriptor waits for it.

    Members
    -------
    request_in, response_out
        Packets from and to the cores.
    axi
        AXI4 master: INCR bursts of at most ``max_packet_flits`` beats, always id 0.
    node
        Own node number.
    clear
        Drops all work; must be held until ``idle``, because AXI transactions under way are completed.
    halt
        Asks for no more read data; writes and packets under way are completed.
    running
        The counters count.
    error
        `ErrorCode`, sticky until ``clear``.
    idle
        Nothing is queued or under way.
    progress
        Something moves in this cycle.
    counter_index, counter_value
        `MemoryCounter` to read, and its value one cycle later.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        flits = stream.Signature(flit_layout(chip))
        super().__init__(
            {
                "request_in": In(flits),
                "response_out": Out(flits),
                "axi": Out(Axi4(data_bits=8 * chip.link_bytes)),
                "node": In(7),
                "clear": In(1),
                "halt": In(1),
                "running": In(1),
                "error": Out(8),
                "idle": Out(1),
                "progress": Out(1),
                "counter_index": In(6),
                "counter_value": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.read = read = ReadEngine(chip=self._chip)
        m.submodules.write = write = WriteEngine(chip=self._chip)
        for engine in (read, write):
            m.d.comb += engine.clear.eq(self.clear)
            for name, member in engine.axi.signature.members.items():
                inner, outer = getattr(engine.axi, name), getattr(self.axi, name)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        m.d.comb += [read.halt.eq(self.halt), read.node.eq(self.node)]

        fault = self._split_requests(m, read, write)
        self._merge_responses(m, read, write)
        self._count(m, read, write)

        own_error = Signal(8)
        with m.If(self.clear):
            m.d.sync += own_error.eq(0)
        with m.Elif(fault):
            m.d.sync += own_error.eq(ErrorCode.ILLEGAL_FIELD)
        with m.If(own_error != 0):
            m.d.comb += self.error.eq(own_error)
        with m.Elif(read.error != 0):
            m.d.comb += self.error.eq(read.error)
        with m.Else():
            m.d.comb += self.error.eq(write.error)

        def moves(channel: str) -> Value:
            return getattr(self.axi, f"{channel}valid") & getattr(self.axi, f"{channel}ready")

        m.d.comb += [
            self.idle.eq(read.idle & write.idle),
            self.progress.eq(
                (self.request_in.valid & self.request_in.ready)
                | (self.response_out.valid & self.response_out.ready)
                | Cat(moves(channel) for channel in ("ar", "r", "aw", "w", "b")).any()
            ),
        ]
        return m

    def _split_requests(self, m: Module, read: ReadEngine, write: WriteEngine) -> Value:
        """Hand each packet to its engine; the result says that a packet is neither or has a wrong length."""
        chip = self._chip
        request = self.request_in
        flit = request.payload
        load_flits = max(1, INSTRUCTION_BYTES // chip.link_bytes)
        kind, kind_now = Signal(Kind), Signal(Kind)
        collected = Signal(INSTRUCTION_BITS)  # low flits enter at the top and move down
        position, position_now = Signal(range(load_flits + 1)), Signal(range(load_flits + 1))
        fault = Signal()
        whole = Cat(collected[8 * chip.link_bytes :], flit.data)[:INSTRUCTION_BITS]
        m.d.comb += [
            kind_now.eq(Mux(flit.first, flit.header.kind, kind)),
            position_now.eq(Mux(flit.first, 0, position)),
            read.load.payload.eq(whole if load_flits > 1 else flit.data[:INSTRUCTION_BITS]),
            write.packet.payload.eq(flit),
        ]
        with m.If(request.valid & request.ready & flit.first):
            m.d.sync += kind.eq(kind_now)
        with m.If(request.valid):
            with m.If(kind_now == Kind.WRITE):
                m.d.comb += [write.packet.valid.eq(1), request.ready.eq(write.packet.ready)]
            with m.Elif(kind_now == Kind.READ):
                complete = position_now == load_flits - 1
                with m.If(flit.last & complete):
                    m.d.comb += [read.load.valid.eq(1), request.ready.eq(read.load.ready)]
                with m.Else():
                    m.d.comb += [request.ready.eq(1), fault.eq(flit.last | complete)]
                with m.If(~complete):
                    m.d.sync += position.eq(position_now + 1)
                    if load_flits > 1:
                        m.d.sync += collected.eq(whole)
            with m.Else():
                m.d.comb += [request.ready.eq(1), fault.eq(1)]
        return fault

    def _merge_responses(self, m: Module, read: ReadEngine, write: WriteEngine) -> None:
        """One flit per cycle: an acknowledgement whenever no DATA packet is offered or under way."""
        response = self.response_out
        in_packet = Signal()
        send_ack = Signal()
        m.d.comb += [
            send_ack.eq(write.ack.valid & ~in_packet),
            response.valid.eq((send_ack | read.data.valid) & ~self.clear),
            write.ack.ready.eq((send_ack & response.ready) | self.clear),
            read.data.ready.eq(~send_ack & response.ready),
        ]
        with m.If(send_ack):
            m.d.comb += [
                response.payload.first.eq(1),
                response.payload.last.eq(1),
                response.payload.header.dest.eq(1 << write.ack.payload),
                response.payload.header.src.eq(self.node),
                response.payload.header.kind.eq(Kind.ACK),
                response.payload.header.flits.eq(1),
            ]
        with m.Elif(read.data.valid):
            m.d.comb += response.payload.eq(read.data.payload)
            m.d.sync += in_packet.eq(~(response.ready & read.data.payload.last))
        with m.If(self.clear):
            m.d.sync += in_packet.eq(0)

    def _count(self, m: Module, read: ReadEngine, write: WriteEngine) -> None:
        counters = {
            index: Signal(COUNTER_BITS, name=f"counter_{index}")
            for base in (MemoryCounter.READ_BYTES, MemoryCounter.WRITE_BYTES)
            for index in range(base, base + len(TrafficClass))
        }
        cycles = {
            MemoryCounter.READ_STALL: read.events.stall,
            MemoryCounter.WRITE_STALL: write.events.stall,
            MemoryCounter.READ_IDLE: read.events.idle,
        }
        counters |= {int(index): Signal(COUNTER_BITS, name=index.name.lower()) for index in cycles}

        def add_bytes(base: int, traffic: Value, count: Value) -> None:
            with m.Switch(traffic):
                for cls in TrafficClass:
                    with m.Case(cls):
                        m.d.sync += counters[base + cls].eq(counters[base + cls] + count)

        with m.If(self.clear):
            m.d.sync += [counter.eq(0) for counter in counters.values()]
        with m.Elif(self.running):
            with m.If(read.events.burst):
                bytes_read = read.events.beats << exact_log2(self._chip.link_bytes)
                add_bytes(MemoryCounter.READ_BYTES, read.events.traffic, bytes_read)
            with m.If(write.events.flit):
                add_bytes(MemoryCounter.WRITE_BYTES, write.events.traffic, write.events.lanes)
            for index, event in cycles.items():
                with m.If(event):
                    m.d.sync += counters[index].eq(counters[index] + 1)
        with m.Switch(self.counter_index):
            for index, counter in counters.items():
                with m.Case(index):
                    m.d.sync += self.counter_value.eq(counter)
            with m.Default():
                m.d.sync += self.counter_value.eq(0)
