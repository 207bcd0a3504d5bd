"""Network interface of a core: inbound packets into its memories, outbound packets of its units onto the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.isa import PARAM_FLITS, Space
from rtl.contract.params import ChipParams, CoreParams
from rtl.contract.regs import ErrorCode
from rtl.core.fetch import UNIT_SHIFT, program_flit
from rtl.core.scratchpad import scratchpad_write
from rtl.core.tokens import increment_signature
from rtl.lib.bits import ones_between
from rtl.noc.flit import Kind, flit_layout

__all__ = ["Inbound", "Outbound"]

"""Flits of a parameter block."""


@dataclass(frozen=True)
class _Source:
    """What an inbound stream brings this cycle."""

    flit: Any
    """Payload of the stream."""
    flit_data: Value
    addr: Value
    mask: Value
    wanted: dict[Space, Signal]
    """The space that the flit goes to."""
    within: dict[Space, Signal]
    """The address lies in that space."""


class Inbound(wiring.Component):
    """Writes arriving DATA into scratchpads, parameter memory and instruction queues; counts tokens and ACKs.

    Latency: none; the write happens in the cycle in which the flit is taken, and so does the token increment.
    Throughput: one flit of each class per cycle. When both want the same memory, the response goes first.

    Members
    -------
    response, request
        Flits of the two message classes, addressed to this core.
    act, weight : Out(`scratchpad_write`)
    param_valid, param_addr, param_data, param_mask
        Writes of the parameter memory: the lanes of a flit that the mask chooses, none if it is not valid.
    program
        Flits of instructions, to `rtl.core.fetch.Fetch`.
    increments : Out(`increment_signature`), two
        Tokens of arrived responses and requests.
    ack
        A write is acknowledged.
    error : ErrorCode
        A flit lies outside its memory; stays. It is not written.
    """

    def __init__(self, *, core: CoreParams, chip: ChipParams) -> None:
        self.core = core
        self.chip = chip
        self.flits = {
            Space.ACT: core.act_bytes // chip.link_bytes,
            Space.WEIGHT: core.weight_bytes // chip.link_bytes,
            Space.PARAM: PARAM_FLITS * core.param_blocks,
        }
        flit = flit_layout(chip)
        super().__init__(
            {
                "response": In(stream.Signature(flit)),
                "request": In(stream.Signature(flit)),
                "act": Out(scratchpad_write(size_bytes=core.act_bytes, write_bytes=chip.link_bytes)),
                "weight": Out(scratchpad_write(size_bytes=core.weight_bytes, write_bytes=chip.link_bytes)),
                "param_valid": Out(1),
                "param_addr": Out(exact_log2(self.flits[Space.PARAM])),
                "param_data": Out(8 * chip.link_bytes),
                "param_mask": Out(chip.link_bytes),
                "program": Out(stream.Signature(program_flit(chip))),
                "increments": Out(increment_signature()).array(2),
                "ack": Out(1),
                "error": Out(8),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        response = self._source(m, "response", self.response, self.increments[0])
        request = self._source(m, "request", self.request, self.increments[1])

        clash = Signal()
        m.d.comb += clash.eq(
            (response.wanted[Space.ACT] & request.wanted[Space.ACT])
            | (response.wanted[Space.WEIGHT] & request.wanted[Space.WEIGHT])
            | (response.wanted[Space.PARAM] & request.wanted[Space.PARAM])
        )
        m.d.comb += [
            self.response.ready.eq(~response.wanted[Space.PROGRAM] | self.program.ready),
            self.request.ready.eq(~clash),
            self.program.valid.eq(response.wanted[Space.PROGRAM]),
            self.program.payload.unit.eq(response.addr[UNIT_SHIFT:]),
            self.program.payload.data.eq(response.flit_data),
            self.ack.eq(self.response.valid & self.response.payload.first & (response.flit.header.kind == Kind.ACK)),
        ]

        for space, port in ((Space.ACT, self.act), (Space.WEIGHT, self.weight)):
            for index, source in enumerate((response, request)):
                with m.If(source.wanted[space]) if index == 0 else m.Elif(source.wanted[space]):
                    m.d.comb += [
                        port.valid.eq(source.within[space]),
                        port.addr.eq(source.addr),
                        port.data.eq(source.flit_data),
                        port.mask.eq(source.mask),
                    ]
        for index, source in enumerate((response, request)):
            wanted = source.wanted[Space.PARAM]
            with m.If(wanted) if index == 0 else m.Elif(wanted):
                m.d.comb += [
                    self.param_valid.eq(source.within[Space.PARAM]),
                    self.param_addr.eq(source.addr),
                    self.param_data.eq(source.flit_data),
                ]
                with m.If(source.within[Space.PARAM]):
                    m.d.comb += self.param_mask.eq(source.mask)
        codes = {
            Space.ACT: ErrorCode.ACT_RANGE,
            Space.WEIGHT: ErrorCode.WEIGHT_RANGE,
            Space.PARAM: ErrorCode.PARAM_RANGE,
        }
        with m.If(self.error == 0):
            for source in (request, response):
                for space, code in codes.items():
                    with m.If(source.wanted[space] & ~source.within[space]):
                        m.d.sync += self.error.eq(code)
        return m

    def _source(self, m: Module, name: str, source: Any, increment: Any) -> _Source:
        """Follows the packets of one stream."""
        flit = source.payload
        header = flit.header
        link_bytes = self.chip.link_bytes
        fields = ("kind", "space", "planar", "lane_offset", "lanes", "token_valid", "token")
        layout = data.StructLayout({field: header.shape()[field].shape for field in fields})
        held = Signal(layout, name=f"{name}_held", reset_less=True)
        held_addr = Signal(32, name=f"{name}_held_addr", reset_less=True)
        now = Signal(layout, name=f"{name}_now")
        addr = Signal(32, name=f"{name}_addr")
        mask = Signal(link_bytes, name=f"{name}_mask")
        wanted = {space: Signal(name=f"{name}_to_{space.name.lower()}") for space in Space}
        within = {space: Signal(name=f"{name}_within_{space.name.lower()}") for space in self.flits}

        with m.If(source.valid):
            with m.If(flit.first):
                m.d.comb += addr.eq(header.addr)
                m.d.comb += [now[field].eq(header[field]) for field in fields]
            with m.Else():
                m.d.comb += [addr.eq(held_addr), now.eq(held)]
            m.d.comb += mask.eq(ones_between(now.lane_offset, now.lanes, link_bytes))
            with m.If(now.kind == Kind.DATA):
                m.d.comb += [signal.eq(now.space == space) for space, signal in wanted.items()]
                m.d.comb += [signal.eq(addr < self.flits[space]) for space, signal in within.items()]
            with m.If(source.ready):
                step = Mux(now.planar, self.core.act_groups(link_bytes), 1)
                m.d.sync += [held.eq(now), held_addr.eq(addr + step)]
                with m.If(flit.last):
                    m.d.comb += [
                        increment.valid.eq((now.kind == Kind.DATA) & now.token_valid | (now.kind == Kind.SIGNAL)),
                        increment.token.eq(now.token),
                    ]
        return _Source(flit, flit.data, addr, mask, wanted, within)


class Outbound(wiring.Component):
    """Merges packets of several units onto one stream, whole packets at a time.

    Latency: none. Throughput: one flit per cycle, also across packets. The lowest source goes first; once
    shown at ``o`` a packet is not displaced.

    Members
    -------
    i, o
        Streams of flits.
    """

    def __init__(self, *, chip: ChipParams, n_sources: int) -> None:
        self.n_sources = n_sources
        flit = flit_layout(chip)
        super().__init__(
            {
                "i": In(stream.Signature(flit)).array(n_sources),
                "o": Out(stream.Signature(flit)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        sources = list(self.i)
        locked = Signal()
        held = Signal(self.n_sources)
        valid = Cat(source.valid for source in sources)
        choice = Signal(self.n_sources)
        with m.If(locked):
            m.d.comb += choice.eq(held)
        with m.Else():
            m.d.comb += choice.eq(valid & (~valid + 1)[: self.n_sources])
        for index, source in enumerate(sources):
            with m.If(choice[index]) if index == 0 else m.Elif(choice[index]):
                m.d.comb += [
                    self.o.valid.eq(source.valid),
                    self.o.payload.eq(source.payload),
                    source.ready.eq(self.o.ready),
                ]
        with m.If(self.o.valid):
            m.d.sync += [locked.eq(~(self.o.ready & self.o.payload.last)), held.eq(choice)]
        return m
