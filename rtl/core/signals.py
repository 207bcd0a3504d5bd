"""Signals between units and cores: from an instruction's signal fields to token increments and SIGNAL packets."""

from typing import Any

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract import isa
from rtl.contract.params import ChipParams
from rtl.core.tokens import increment_signature
from rtl.lib.bits import core_dest
from rtl.noc.flit import Kind, flit_layout

__all__ = ["SIGNAL", "SignalRouter", "SignalSender"]

SIGNAL = data.StructLayout({"token": unsigned(7), "core": unsigned(6)})
"""Adds one to counter ``token`` of core ``core``."""


class SignalSender(wiring.Component):
    """Sends the signals of one instruction, one after the other.

    Latency: one cycle from ``fire`` to the first signal. Throughput: one signal per cycle.

    Members
    -------
    fire
        Sends what ``signals`` hold now; only while ``busy`` is low.
    signals
        The signal fields of the instruction.
    o
        The valid ones, lowest first.
    busy
        Some signal has not been sent yet.
    """

    fire: In(1)
    signals: In(isa.Signals)
    o: Out(stream.Signature(SIGNAL))
    busy: Out(1)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        pending = Signal(3)
        held = Signal(isa.Signals, reset_less=True)
        with m.If(self.fire):
            m.d.sync += [
                held.eq(self.signals),
                pending.eq(
                    self.signals.signal0_valid | self.signals.signal1_valid << 1 | self.signals.signal2_valid << 2
                ),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += pending.eq(pending & (pending - 1)[:3])
        m.d.comb += [self.busy.eq(pending.any()), self.o.valid.eq(pending.any())]
        for index in range(3):
            with m.If(pending[index]) if index == 0 else m.Elif(pending[index]):
                m.d.comb += [
                    self.o.payload.token.eq(held[f"signal{index}_token"]),
                    self.o.payload.core.eq(held[f"signal{index}_core"]),
                ]
        return m


class SignalRouter(wiring.Component):
    """Takes signals from all units of a core to the core's own token counters or into SIGNAL packets.

    Latency: none to the own counters, one cycle to the network. Throughput: one signal per cycle to
    each of the two, independent of the other; lower sources first.

    Members
    -------
    i : streams of `SIGNAL`
    node
        This core.
    increment : Out(`increment_signature`)
        To the own token counters.
    o
        SIGNAL packets.
    busy
        A packet has not been taken yet.
    """

    def __init__(self, *, chip: ChipParams, n_sources: int) -> None:
        self.chip = chip
        self.n_sources = n_sources
        super().__init__(
            {
                "i": In(stream.Signature(SIGNAL)).array(n_sources),
                "node": In(6),
                "increment": Out(increment_signature()),
                "o": Out(stream.Signature(flit_layout(chip))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self.chip
        sources = list(self.i)
        local = Signal(self.n_sources)
        remote = Signal(self.n_sources)
        for index, source in enumerate(sources):
            own = source.payload.core == self.node
            m.d.comb += [local[index].eq(source.valid & own), remote[index].eq(source.valid & ~own)]

        m.d.comb += self.increment.valid.eq(local.any())
        for index, source in enumerate(sources):
            with m.If(local[index]) if index == 0 else m.Elif(local[index]):
                m.d.comb += [source.ready.eq(1), self.increment.token.eq(source.payload.token)]

        held = Signal(SIGNAL, reset_less=True)
        full = Signal()
        free = Signal()
        m.d.comb += free.eq(~full | self.o.ready)
        with m.If(free):
            m.d.sync += full.eq(remote.any())
            for index, source in enumerate(sources):
                with m.If(remote[index]) if index == 0 else m.Elif(remote[index]):
                    m.d.comb += source.ready.eq(1)
                    m.d.sync += held.eq(source.payload)
        header = self.o.payload.header
        m.d.comb += [
            self.busy.eq(full),
            self.o.valid.eq(full),
            self.o.payload.first.eq(1),
            self.o.payload.last.eq(1),
            header.dest.eq(core_dest(chip, held.core)),
            header.src.eq(self.node),
            header.kind.eq(Kind.SIGNAL),
            header.flits.eq(1),
            header.token.eq(held.token),
        ]
        return m
