"""Fetch: keeps the instruction queues of the three units filled from memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract import isa
from rtl.contract.isa import Opcode, Space, TrafficClass
from rtl.contract.params import ChipParams, CoreParams
from rtl.contract.regs import ErrorCode
from rtl.lib.bits import memory_dest
from rtl.lib.fifo import Fifo
from rtl.noc.flit import Kind, flit_layout

__all__ = ["UNIT_SHIFT", "Fetch", "program_flit"]

N_UNITS = 3
UNIT_SHIFT = 16
"""The unit stands in these bits of a PROGRAM flit address, above whatever a burst adds to it."""


def program_flit(chip: ChipParams) -> data.StructLayout:
    """A flit of instructions and the unit they are for."""
    return data.StructLayout({"unit": unsigned(2), "data": unsigned(8 * chip.link_bytes)})


class Fetch(wiring.Component):
    """Requests the three instruction streams of a core, in blocks, and puts them into the units' queues.

    A block (`CoreParams.fetch_block` instructions) is requested when the unit's queue has room for all of it, so
    arriving flits never wait for the units. The stream's end is the first END; what lies behind it in
    its block, and in a block that was requested before END arrived, is read and dropped: the memory
    must be readable for up to ``queue_depth`` instructions behind END.

    Latency: a flit that completes an instruction shows it at ``o`` the next cycle.
    Throughput: one flit per cycle in (one every two cycles with 64-byte links: two instructions each).

    Members
    -------
    start
        Fetches from the beginning; the component must be fresh from reset.
    halt
        No new requests.
    node, home
        This core; the memory node that holds its program.
    program_base, program_stride
        The stream of unit u of core i starts at ``program_base + (3*i + u) * program_stride``.
    program : stream of `program_flit`
    request
        READ packets.
    o
        Instructions for the three units.
    outstanding
        Instructions requested and not yet arrived.
    error : ErrorCode
        MISALIGNED streams; stays.
    """

    def __init__(self, *, core: CoreParams, chip: ChipParams) -> None:
        self.core = core
        self.chip = chip
        super().__init__(
            {
                "start": In(1),
                "halt": In(1),
                "node": In(6),
                "home": In(4),
                "program_base": In(32),
                "program_stride": In(32),
                "program": In(stream.Signature(program_flit(chip))),
                "request": Out(stream.Signature(flit_layout(chip))),
                "o": Out(stream.Signature(unsigned(isa.INSTRUCTION_BITS))).array(N_UNITS),
                "outstanding": Out(16),
                "error": Out(8),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        block = self.core.fetch_block
        depth = self.core.queue_depth
        queues = [Fifo(shape=unsigned(isa.INSTRUCTION_BITS), depth=depth) for _ in range(N_UNITS)]
        for unit, queue in enumerate(queues):
            m.submodules[f"queue{unit}"] = queue
            m.d.comb += [
                self.o[unit].payload.eq(queue.o.payload),
                self.o[unit].valid.eq(queue.o.valid),
                queue.o.ready.eq(self.o[unit].ready),
            ]

        instruction = Signal(isa.INSTRUCTION_BITS)
        arrived = Signal()
        self._assemble(m, instruction, arrived)
        ended = Signal(N_UNITS)
        unit_in = self.program.payload.unit
        for unit, queue in enumerate(queues):
            m.d.comb += queue.i.payload.eq(instruction)
            with m.If(arrived & (unit_in == unit) & ~ended[unit]):
                m.d.comb += queue.i.valid.eq(1)
                with m.If(instruction[:4] == Opcode.END):
                    m.d.sync += ended[unit].eq(1)

        # Requests.
        running = Signal()
        addresses = [Signal(32, name=f"address{unit}", reset_less=True) for unit in range(N_UNITS)]
        claimed = [Signal(range(depth + 1), name=f"claimed{unit}") for unit in range(N_UNITS)]
        sending = Signal()
        accepted = Signal()  # the last flit of a request
        chosen = Signal(range(N_UNITS))
        align = max(isa.INSTRUCTION_BYTES, self.chip.link_bytes)
        with m.If(self.start):
            first = self.program_base + self.program_stride * (self.node * 3)
            m.d.sync += [
                running.eq(1),
                *(address.eq(first + self.program_stride * unit) for unit, address in enumerate(addresses)),
            ]
            with m.If(((self.program_base | self.program_stride) & (align - 1)).any()):
                m.d.sync += [running.eq(0), self.error.eq(ErrorCode.MISALIGNED)]
        wants = Signal(N_UNITS)
        with m.If(running):
            m.d.comb += wants.eq(Cat(count <= depth - block for count in claimed) & ~ended)
        with m.If(~sending & ~self.halt & wants.any()):
            m.d.sync += sending.eq(1)
            for unit in range(N_UNITS):
                with m.If(wants[unit]) if unit == 0 else m.Elif(wants[unit]):
                    m.d.sync += chosen.eq(unit)
        with m.If(accepted):
            m.d.sync += sending.eq(0)
        for unit, (address, count) in enumerate(zip(addresses, claimed, strict=True)):
            requested = accepted & (chosen == unit)
            popped = self.o[unit].valid & self.o[unit].ready
            with m.If(requested):
                m.d.sync += [address.eq(address + block * isa.INSTRUCTION_BYTES), count.eq(count + block - popped)]
            with m.Elif(popped):
                m.d.sync += count.eq(count - 1)
        with m.If(accepted):
            m.d.sync += self.outstanding.eq(self.outstanding + block - arrived)
        with m.Elif(arrived):
            m.d.sync += self.outstanding.eq(self.outstanding - 1)
        self._send(m, sending, accepted, chosen, Array(addresses)[chosen])
        return m

    def _assemble(self, m: Module, instruction: Signal, arrived: Signal) -> None:
        """Instructions from flits; packets hold whole instructions, so units share the register."""
        program = self.program
        flit = program.payload.data
        if self.chip.link_bytes == 2 * isa.INSTRUCTION_BYTES:
            second = Signal()
            m.d.comb += [
                instruction.eq(flit.word_select(second, isa.INSTRUCTION_BITS)),
                arrived.eq(program.valid),
                program.ready.eq(second),
            ]
            with m.If(program.valid):
                m.d.sync += second.eq(~second)
            return
        m.d.comb += program.ready.eq(1)
        parts = isa.INSTRUCTION_BYTES // self.chip.link_bytes
        if parts == 1:
            m.d.comb += [instruction.eq(flit), arrived.eq(program.valid)]
            return
        collected = Signal(isa.INSTRUCTION_BITS - len(flit), reset_less=True)
        part = Signal(range(parts))
        m.d.comb += [instruction.eq(Cat(collected, flit)), arrived.eq(program.valid & (part == parts - 1))]
        with m.If(program.valid):
            m.d.sync += [collected.eq(Cat(collected, flit)[len(flit) :]), part.eq(part + 1)]

    def _send(self, m: Module, sending: Signal, accepted: Signal, chosen: Signal, address: Any) -> None:
        """The READ packet: a LOAD of one block into the queue of unit `chosen`."""
        chip = self.chip
        n_flits = chip.request_flits
        load = Signal(isa.Load)
        request = self.request
        header = request.payload.header
        m.d.comb += [
            load.opcode.eq(Opcode.LOAD),
            load.cores.eq(1 << self.node),
            load.dram_addr.eq(address),
            load.runs.eq(1),
            load.run_flits.eq(self.core.fetch_block * isa.INSTRUCTION_BYTES // chip.link_bytes),
            load.space.eq(Space.PROGRAM),
            load.dst.eq(chosen << UNIT_SHIFT),
            load.memory.eq(self.home),
            load.traffic.eq(TrafficClass.PROGRAM),
            request.valid.eq(sending),
            header.dest.eq(memory_dest(chip, self.home)),
            header.src.eq(self.node),
            header.kind.eq(Kind.READ),
            header.flits.eq(n_flits),
            header.traffic.eq(TrafficClass.PROGRAM),
        ]
        index = Signal(range(max(2, n_flits)))
        m.d.comb += [
            request.payload.data.eq(load.as_value().word_select(index, 8 * chip.link_bytes) if n_flits > 1 else load),
            request.payload.first.eq(index == 0),
            request.payload.last.eq(index == n_flits - 1),
            accepted.eq(request.valid & request.ready & request.payload.last),
        ]
        if n_flits > 1:
            with m.If(request.valid & request.ready):
                m.d.sync += index.eq(index + 1)
