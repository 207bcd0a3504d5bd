"""Input buffer of a router port: a queue of flits for each virtual channel."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl.contract.params import ChipParams, Direction
from rtl.lib.ram import Ram
from rtl.noc.flit import flit_layout, header_layout, link_signature

__all__ = ["N_PORTS", "InputBuffer", "front_layout"]

N_PORTS = len(Direction)


def front_layout(chip: ChipParams) -> data.StructLayout:
    """What allocation must know of a queue's first flit.

    ``wants``: bit for each output it goes to; zero in all but heads. ``single``: at most one of these.
    ``flits``: of the packet; heads only.
    """
    return data.StructLayout({"last": 1, "single": 1, "flits": header_layout(chip)["flits"].shape, "wants": N_PORTS})


class InputBuffer(wiring.Component):
    """Buffers the flits of one incoming link until the allocators let them go.

    A flit on the link in cycle 0 can be at the front of its queue in cycle 1; if it is popped then, it
    is on ``flit`` in cycle 2. One flit in and one out per cycle. Credits keep the sender from ever
    overfilling a queue, which is why there is no check. The flits lie in one RAM with synchronous read,
    what allocation needs of them in a narrow memory with an asynchronous one.

    Parameters
    ----------
    own
        Output that belongs to this input, if packets must not turn back to it.

    Members
    -------
    link
        Incoming link; its credits go back the cycle after a pop.
    reach
        Constant: the nodes behind each output.
    present, front
        Queues (by virtual channel) that hold a flit, and what it is.
    pop
        Queues whose front flit leaves: at most one.
    flit, vc
        The flit popped last, and its virtual channel.
    clear
        Empties all queues.
    """

    def __init__(self, *, chip: ChipParams, own: int | None = None) -> None:
        self._chip = chip
        self._own = own
        super().__init__(
            {
                "link": In(link_signature(chip)),
                "reach": In(chip.n_nodes).array(N_PORTS),
                "present": Out(chip.n_vcs),
                "front": Out(front_layout(chip)).array(chip.n_vcs),
                "pop": In(chip.n_vcs),
                "flit": Out(flit_layout(chip)),
                "vc": Out(range(chip.n_vcs)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip, link = self._chip, self.link
        channels = range(chip.n_vcs)
        slot_bits = ceil_log2(chip.vc_depth)
        depth = chip.n_vcs << slot_bits
        m.submodules.flits = flits = Ram(width=flit_layout(chip).size, depth=depth)
        m.submodules.fronts = fronts = Memory(shape=unsigned(front_layout(chip).size), depth=depth, init=())

        # One bit more than an address, so that a full queue differs from an empty one.
        write_at = [Signal(slot_bits + 1, name=f"write_at_{v}", reset_less=True) for v in channels]
        read_at = [Signal(slot_bits + 1, name=f"read_at_{v}", reset_less=True) for v in channels]

        def address(at: list[Signal], vc: Value) -> Value:
            return Cat(Array(at)[vc][:slot_bits], vc)

        incoming = Signal(front_layout(chip))
        wants = Signal(N_PORTS)
        write = fronts.write_port()
        m.d.comb += [
            write.en.eq(link.valid),
            write.addr.eq(address(write_at, link.vc)),
            write.data.eq(incoming),
            flits.write_enable.eq(link.valid),
            flits.write_addr.eq(write.addr),
            flits.write_data.eq(link.flit),
        ]
        with m.If(link.valid):
            m.d.comb += [
                incoming.last.eq(link.flit.last),
                incoming.flits.eq(link.flit.header.flits),
                incoming.wants.eq(wants),
                incoming.single.eq((wants & (wants - 1)) == 0),
            ]
            with m.If(link.flit.first):
                m.d.comb += wants.eq(
                    Cat(
                        C(0, 1) if o == self._own else (link.flit.header.dest & self.reach[o]).any()
                        for o in range(N_PORTS)
                    )
                )
            for v in channels:
                with m.If(link.vc == v):
                    m.d.sync += write_at[v].eq(write_at[v] + 1)

        source = Signal(range(chip.n_vcs))
        for v in channels:
            read = fronts.read_port(domain="comb")
            m.d.comb += [
                self.present[v].eq(write_at[v] != read_at[v]),
                read.addr.eq(Cat(read_at[v][:slot_bits], C(v, link.vc.shape()))),
            ]
            with m.If(self.present[v]):
                m.d.comb += self.front[v].eq(read.data)
            with m.If(self.pop[v]):
                m.d.comb += source.eq(v)
                m.d.sync += [read_at[v].eq(read_at[v] + 1), self.vc.eq(v)]
        m.d.sync += link.credit.eq(self.pop)
        m.d.comb += [
            flits.read_enable.eq(self.pop.any()),
            flits.read_addr.eq(address(read_at, source)),
            self.flit.eq(flits.read_data),
        ]

        with m.If(self.clear):
            m.d.sync += [at.eq(0) for at in (*write_at, *read_at)]
            m.d.sync += link.credit.eq(0)
        return m
