"""Network port of a node: its message streams on one side, the link to its router on the other."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.params import ChipParams
from rtl.lib.fifo import Fifo
from rtl.noc.flit import MessageClass, flit_layout, link_signature

__all__ = ["RECEIVE_DEPTH", "NetworkPort", "merges_channels", "receive_depth"]

RECEIVE_DEPTH = 8
"""Flits that a port buffers for each virtual channel: two round trips of a credit (4 cycles)."""


def merges_channels(chip: ChipParams) -> bool:
    """Whether ports merge the channels of a class, packet by packet: then they hold one back for the other."""
    return chip.vcs_per_class > 1


def receive_depth(chip: ChipParams) -> int:
    """Flits that a port buffers for each virtual channel.

    A port that merges channels stops one in the middle of a packet. A multicast to two such ports may then wait at
    one of them for a second multicast that waits for it at the other: so each must have room for whole packets.
    """
    return chip.vc_depth if merges_channels(chip) else RECEIVE_DEPTH


class NetworkPort(wiring.Component):
    """Sends and receives the packets of one node.

    Sending takes 1 cycle from stream to link, 1 flit per cycle over both classes together; when both
    have flits (and credit) they take turns flit by flit. Receiving takes 1 cycle from link to stream,
    1 flit per cycle. With two virtual channels in a class, all of this node's packets use the one that
    ``source`` picks, and received packets are merged whole, taking turns packet by packet.

    Whoever reads the receive streams must keep taking: responses always, requests without waiting for
    another request to be delivered. Else the network may stop.

    Members
    -------
    send_request, send_response
        Streams of whole packets into the network. ``ready`` depends on both ``valid``.
    receive_request, receive_response
        Streams of whole packets out of the network.
    link_out, link_in
        To and from the router.
    source
        Constant: this node's index.
    clear
        Soft reset.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        flits = stream.Signature(flit_layout(chip))
        super().__init__(
            {
                "send_request": In(flits),
                "send_response": In(flits),
                "receive_request": Out(flits),
                "receive_response": Out(flits),
                "link_out": Out(link_signature(chip)),
                "link_in": In(link_signature(chip)),
                "source": In(7),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Elaboratable:
        m = Module()
        self._send(m)
        self._receive(m)
        return ResetInserter(self.clear)(m)

    def _send(self, m: Module) -> None:
        chip, link = self._chip, self.link_out
        streams = [self.send_request, self.send_response]
        valid = Signal()
        vc = Signal(range(chip.n_vcs), reset_less=True)
        flit = Signal(flit_layout(chip), reset_less=True)
        able = Signal(len(streams))
        leader = Signal()
        m.d.sync += valid.eq(able.any())
        m.d.comb += [link.valid.eq(valid), link.vc.eq(vc), link.flit.eq(flit)]
        for kind, source in enumerate(streams):
            credits = Signal(range(chip.vc_depth + 1), init=chip.vc_depth, name=f"credits_{kind}")
            channels = Array(link.credit[v] for v in range(kind, chip.n_vcs, len(MessageClass)))
            back = channels[self.source[0]] if merges_channels(chip) else channels[0]
            go = source.valid & source.ready
            m.d.comb += able[kind].eq(source.valid & (credits != 0))
            m.d.comb += source.ready.eq(able[kind] & ((leader == kind) | ~able[1 - kind]))
            with m.If(go):
                m.d.sync += flit.eq(source.payload)
                m.d.sync += vc.eq(Cat(kind, self.source[0]) if merges_channels(chip) else kind)
            with m.If(go ^ back):
                m.d.sync += credits.eq(credits + Mux(back, 1, -1))
        with m.If(able.all()):
            m.d.sync += leader.eq(~leader)

    def _receive(self, m: Module) -> None:
        chip, link = self._chip, self.link_in
        queues = []
        for v in range(chip.n_vcs):
            m.submodules[f"queue_{v}"] = queue = Fifo(shape=flit_layout(chip), depth=receive_depth(chip))
            queues.append(queue)
            m.d.comb += [
                queue.i.valid.eq(link.valid & (link.vc == v)),
                queue.i.payload.eq(link.flit),
            ]
            m.d.sync += link.credit[v].eq(queue.o.valid & queue.o.ready)
        for kind, sink in enumerate([self.receive_request, self.receive_response]):
            members = [queues[v].o for v in range(kind, chip.n_vcs, len(MessageClass))]
            if not merges_channels(chip):
                wiring.connect(m, members[0], wiring.flipped(sink))
            else:
                self._merge(m, members, sink, MessageClass(kind).name.lower())

    @staticmethod
    def _merge(m: Module, members: list[Any], sink: Any, name: str) -> None:
        """Two streams of packets into one; the other goes first after each packet."""
        locked = Signal(name=f"{name}_locked")  # inside a packet, or offering its first flit
        current = Signal(name=f"{name}_current")
        choice = Signal(name=f"{name}_choice")
        first, second = members
        m.d.comb += [
            choice.eq(Mux(locked | Mux(current, second.valid, first.valid), current, ~current)),
            sink.valid.eq(Mux(choice, second.valid, first.valid)),
            sink.payload.eq(Mux(choice, second.payload.as_value(), first.payload.as_value())),
            first.ready.eq(sink.ready & ~choice),
            second.ready.eq(sink.ready & choice),
        ]
        with m.If(sink.valid):
            done = sink.ready & sink.payload.last
            m.d.sync += [locked.eq(~done), current.eq(choice ^ done)]
