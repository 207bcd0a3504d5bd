"""The network: a router for each core's tile, a port for each node, all joined by links."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.contract.params import ChipParams, Direction
from rtl.contract.regs import COUNTER_BITS
from rtl.contract.routing import OPPOSITE, neighbour, node_port, reach_masks
from rtl.lib.blackbox import place
from rtl.noc.flit import flit_layout
from rtl.noc.port import NetworkPort, merges_channels, receive_depth
from rtl.noc.router import Router

__all__ = ["Mesh"]


class Mesh(wiring.Component):
    """W x H routers and the ports of all nodes; members are indexed by node (routers by core).

    Latency: a packet's first flit takes ``2 + 2 * hops`` cycles from a send stream to a receive stream
    when nothing is in its way (`rtl.contract.routing.hops` counts routers); the others follow one a cycle.

    Members
    -------
    send_request, send_response, receive_request, receive_response
        For each node, the streams of its `rtl.noc.port.NetworkPort`.
    counter_index, counter_value
        For each router, a counter of `rtl.contract.regs.router_counters`, one cycle later.
    progress
        Some flit is on a router's outgoing link.
    clear, running
        Soft reset; counters count.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        flits = stream.Signature(flit_layout(chip))
        super().__init__(
            {
                "send_request": In(flits).array(chip.n_nodes),
                "send_response": In(flits).array(chip.n_nodes),
                "receive_request": Out(flits).array(chip.n_nodes),
                "receive_response": Out(flits).array(chip.n_nodes),
                "counter_index": In(6),
                "counter_value": Out(COUNTER_BITS).array(chip.n_cores),
                "progress": Out(1),
                "clear": In(1),
                "running": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        chip = self._chip
        routers = {}
        for core in range(chip.n_cores):
            x, y = chip.position(core)
            router = routers[x, y] = Router(chip=chip)
            m.submodules[f"router_{x}_{y}"] = place(router, platform, "systomesh_router")
            m.d.comb += [
                *(mask.eq(nodes) for mask, nodes in zip(router.reach, reach_masks(chip, x, y), strict=True)),
                router.clear.eq(self.clear),
                router.running.eq(self.running),
                router.counter_index.eq(self.counter_index),
                self.counter_value[core].eq(router.counter_value),
            ]
        m.d.comb += self.progress.eq(Cat(router.progress for router in routers.values()).any())

        for (x, y), router in routers.items():
            for side in (Direction.EAST, Direction.SOUTH):
                onward = neighbour(chip, x, y, side)
                if onward is not None:
                    other, back = routers[onward], OPPOSITE[side]
                    connect(m, router.o[side], other.i[back])
                    connect(m, other.o[back], router.i[side])
                    m.d.comb += [router.capacity[side].eq(chip.vc_depth), other.capacity[back].eq(chip.vc_depth)]

        # An edge port without a node keeps its inputs at zero: no capacity, no flits.
        for node in range(chip.n_nodes):
            x, y, side = node_port(chip, node)
            router = routers[x, y]
            port = NetworkPort(chip=chip)
            m.submodules[f"port_{node}"] = place(port, platform, "systomesh_port")
            connect(m, port.link_out, router.i[side])
            connect(m, router.o[side], port.link_in)
            connect(m, flipped(self.send_request[node]), port.send_request)
            connect(m, flipped(self.send_response[node]), port.send_response)
            connect(m, port.receive_request, flipped(self.receive_request[node]))
            connect(m, port.receive_response, flipped(self.receive_response[node]))
            m.d.comb += [
                port.source.eq(node),
                port.clear.eq(self.clear),
                router.capacity[side].eq(receive_depth(chip)),
                router.sink[side].eq(not merges_channels(chip)),
            ]
        return m
