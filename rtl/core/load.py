"""Load unit: turns LOAD instructions into READ packets to memory nodes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract import isa
from rtl.contract.isa import Space, TrafficClass
from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode
from rtl.lib.bits import memory_dest
from rtl.noc.flit import Kind, flit_layout

__all__ = ["Load"]


class Load(wiring.Component):
    """Checks a LOAD and sends it to its memory node, which executes it.

    Latency: one cycle from ``instruction`` to the packet's first flit (it is checked meanwhile).
    Throughput: a LOAD every 1 + 32 / link_bytes cycles.

    Members
    -------
    instruction
        LOADs; stays until its packet is sent.
    node
        This core.
    o
        READ packets: the payload is the instruction, low bytes first.
    busy
        A LOAD is here.
    error : ErrorCode
        Stays, and stops the unit.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self.chip = chip
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(isa.INSTRUCTION_BITS))),
                "node": In(6),
                "o": Out(stream.Signature(flit_layout(chip))),
                "busy": Out(1),
                "error": Out(8),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self.chip
        word = self.instruction.payload
        load = data.View(isa.Load, word)
        checked = Signal()
        with m.If(self.instruction.valid & ~checked & (self.error == 0)):
            bad = Signal()
            m.d.comb += bad.eq(
                (load.runs == 0)
                | (load.run_flits == 0)
                | (load.memory >= len(chip.memory_nodes))
                | (load.cores == 0)
                | (load.cores >> chip.n_cores).any()
                | (load.token_valid & (load.token >= chip.tokens))
                | (load.as_value()[isa.Load["traffic"].offset :][:3] > int(TrafficClass.PROGRAM))
                | (load.space >= Space.PROGRAM)
            )
            with m.If(bad):
                m.d.sync += self.error.eq(ErrorCode.ILLEGAL_FIELD)
            with m.Elif((load.dram_addr & (chip.link_bytes - 1)).any()):
                m.d.sync += self.error.eq(ErrorCode.MISALIGNED)
            with m.Else():
                m.d.sync += checked.eq(1)

        n_flits = chip.request_flits
        index = Signal(range(max(2, n_flits)))
        header = self.o.payload.header
        m.d.comb += [
            self.busy.eq(self.instruction.valid),
            self.o.valid.eq(checked),
            self.o.payload.data.eq(word.word_select(index, 8 * chip.link_bytes) if n_flits > 1 else word),
            self.o.payload.first.eq(index == 0),
            self.o.payload.last.eq(index == n_flits - 1),
            header.dest.eq(memory_dest(chip, load.memory)),
            header.src.eq(self.node),
            header.kind.eq(Kind.READ),
            header.flits.eq(n_flits),
            header.traffic.eq(load.traffic),
        ]
        with m.If(self.o.valid & self.o.ready):
            if n_flits > 1:
                m.d.sync += index.eq(index + 1)
            with m.If(self.o.payload.last):
                m.d.comb += self.instruction.ready.eq(1)
                m.d.sync += checked.eq(0)
        return m
