"""What travels on a link: flits of one storage block each, with the packet header beside the first.

The header has wires of its own beside the payload, so a packet of n flits takes n link cycles.

A packet goes to a *set* of nodes: ``dest`` has one bit for each node. A router sends a copy to each port
behind which (by XY routing) some destination lies, with ``dest`` reduced to those.
"""

from __future__ import annotations

from amaranth.hdl import unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.isa import Space, TrafficClass
from rtl.contract.params import ChipParams

__all__ = ["Kind", "MessageClass", "flit_layout", "header_layout", "link_signature", "virtual_channel"]


class MessageClass(enum.IntEnum, shape=unsigned(1)):
    """Requests may wait for responses, responses for nothing: separate virtual channels.

    Virtual channel v carries class ``v % 2``; with two channels a class, a source uses one of them for all it
    sends (`virtual_channel`), so its packets stay in order.
    """

    REQUEST = 0
    RESPONSE = 1


def virtual_channel(chip: ChipParams, source: int, message_class: MessageClass) -> int:
    """The channel of all packets of a class from node ``source``."""
    return len(MessageClass) * (source % chip.vcs_per_class) + message_class


class Kind(enum.IntEnum, shape=unsigned(3)):
    READ = 0
    """Request, core to memory: payload is the 32 bytes of a LOAD instruction."""
    WRITE = 1
    """Request, core to memory: payload to DRAM byte address ``addr``; answered by ACK. Never crosses 4 KB."""
    DATA = 2
    """Payload to flit address ``addr`` of ``space``: read data (response) or a core's own (request)."""
    SIGNAL = 3
    """Request, core to core: adds one to counter ``token``. One flit, no payload."""
    ACK = 4
    """Response, memory to core: one WRITE packet is in memory. One flit, no payload."""


def header_layout(chip: ChipParams) -> data.StructLayout:
    """Packet header; meaningful beside a packet's first flit only."""
    return data.StructLayout(
        {
            "dest": unsigned(chip.n_nodes),
            "src": unsigned(7),
            "kind": Kind,
            "flits": unsigned(7),
            # Flits in the packet: a multicast starts only where there is room for all of them.
            "space": Space,
            "planar": unsigned(1),
            "addr": unsigned(32),
            "traffic": TrafficClass,
            "lane_offset": unsigned(6),
            "lanes": unsigned(7),
            # Valid bytes of every flit: [lane_offset, lane_offset + lanes).
            "token_valid": unsigned(1),
            "token": unsigned(7),
            # The packet's last flit adds one to this counter of every destination.
        }
    )


def flit_layout(chip: ChipParams) -> data.StructLayout:
    """One flit: payload, packet boundaries, header (beside the first flit)."""
    return data.StructLayout(
        {
            "data": unsigned(8 * chip.link_bytes),
            "first": unsigned(1),
            "last": unsigned(1),
            "header": header_layout(chip),
        }
    )


def link_signature(chip: ChipParams) -> wiring.Signature:
    """One direction of a link, seen from its sender.

    ``vc`` says which virtual channel a flit belongs to. A pulse of ``credit[v]`` gives back one slot of
    the receiver's buffer for channel v; a sender never has more flits there than it has credits for, so
    the link needs no ready.
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "vc": Out(range(chip.n_vcs)),
            "flit": Out(flit_layout(chip)),
            "credit": In(chip.n_vcs),
        }
    )
