"""Input-buffered wormhole router with virtual channels, credits and multicast."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from rtl.contract.params import ChipParams, Direction
from rtl.contract.regs import COUNTER_BITS, RouterCounter, RouterEvent
from rtl.contract.routing import CLAIM_ORDER
from rtl.noc.allocator import Allocator
from rtl.noc.buffer import N_PORTS, InputBuffer
from rtl.noc.flit import flit_layout, link_signature

__all__ = ["Router"]


class Router(wiring.Component):
    """Five-port router; a packet leaves by every port behind which one of its destinations lies.

    Latency: 2 cycles from an incoming to an outgoing link. Throughput: 1 flit per cycle on every link,
    with no gap between packets. All outputs come from registers (the flit by way of a multiplexer).

    Dataflow
        cycle 0   The flit is on the link. Its output ports are looked up (``dest & reach``) and queued
                  with it, in the buffer of its input and virtual channel.
        cycle 1   The flit is at the front of its queue. A head allocates its outputs; a flit with
                  outputs, credits and link time leaves the buffer memory.
        cycle 2   The flit is on the outgoing links, its header's ``dest`` reduced for each of them.

    Virtual channels are separate planes: a packet stays in its channel, and each output is held by at
    most one packet of each channel, from its head to its last flit. Channels share a link flit by
    flit: each cycle one channel goes first (the next one after a conflict), the others take the
    inputs and outputs that it leaves. A multicast flit moves to all its branches in one cycle: since
    the channel that goes first gets all the links it wants in this router at once, waiting for all of
    them costs no more turns than waiting for one, and no copies need to be kept account of.

    Allocation
        A head starts when all its outputs are free in its channel and each has a credit; a multicast
        head only where each has room for the whole packet, unless a node port that always drains (``sink``) is
        behind it. So once it has started it waits for no branch but those that drain by themselves.
        A head that must wait *claims* outputs, one after the other in the order east, west, north,
        south, local: the next one when all that it has claimed are free and have room. Nobody else may
        start a packet to a claimed output. Each output passes its claim round robin over the inputs.

    No deadlock
        Order all links of the mesh: eastward links first, then westward, northward, southward, and last
        those into nodes; links of one direction in the order in which packets pass them. By XY routing
        a packet in the buffer behind a link c wants only links after c. What can it wait for?
        (1) The packet that holds an output o. It has started, so it waits for o to drain if it is a
        unicast, and for nothing but sinks otherwise: the room at its branches is its own until `last`.
        Its flits arrive, since upstream too it has started and its source sends whole packets.
        (2) The claim of another head on an output o. That head waits for the first output in the order
        above that it cannot have yet, which is o or comes after it: for (1), (2) or (3) there.
        (3) Room in the buffer behind an output o, hence for the packets there, hence for links after o.
        So every wait is for something later in the order, and the last links lead into nodes, which
        drain: responses always, requests without waiting for requests. (Claiming all outputs at once
        would let a head that waits for a westward link block a northward one, and two such heads
        each other.) Packets to memory nodes are unicast: else they would have to be claimed last too.
    No starvation
        By the same order each claim is held for a finite time, and claims go round. The channel that
        goes first at the links changes after each conflict, and a flit that could move stays able to
        until it does.

    A packet without any destination in reach is dropped.

    Members
    -------
    i, o
        Links in and out, indexed by `rtl.contract.params.Direction`.
    reach
        Constant: the nodes that lie behind each port (`rtl.contract.routing.reach_masks`).
    capacity
        Constant: flits per channel that the receiver behind each port buffers; 0 for an unused port.
    sink
        Constant: ports behind which a node hangs that never holds one channel of a class back for another
        (`rtl.noc.port.merges_channels`).
    clear
        Soft reset. All routers and ports must be cleared together.
    running
        Counters count.
    progress
        A flit is on an outgoing link.
    counter_index, counter_value
        `rtl.contract.regs.router_counters`; the value follows one cycle later.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        link = link_signature(chip)
        super().__init__(
            {
                "i": In(link).array(N_PORTS),
                "o": Out(link).array(N_PORTS),
                "reach": In(chip.n_nodes).array(N_PORTS),
                "capacity": In(range(chip.vc_depth + 1)).array(N_PORTS),
                "sink": In(N_PORTS),
                "clear": In(1),
                "running": In(1),
                "progress": Out(1),
                "counter_index": In(6),
                "counter_value": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        ports, channels = range(N_PORTS), range(self._chip.n_vcs)
        clear = Signal()
        m.d.comb += clear.eq(self.clear | ResetSignal(allow_reset_less=True))

        # Inside, inputs and outputs are numbered by their place in CLAIM_ORDER.
        buffers, allocators = [], []
        for i, port in enumerate(CLAIM_ORDER):
            # A packet never turns back, except that a core may write to itself.
            buffer = InputBuffer(chip=self._chip, own=None if port == Direction.LOCAL else i)
            m.submodules[f"buffer_{port.name.lower()}"] = buffer
            buffers.append(buffer)
            connect(m, flipped(self.i[port]), buffer.link)
            m.d.comb += buffer.clear.eq(clear)
            m.d.comb += [buffer.reach[o].eq(self.reach[CLAIM_ORDER[o]]) for o in ports]
        for v in channels:
            m.submodules[f"allocator_{v}"] = allocator = Allocator(chip=self._chip)
            allocators.append(allocator)
            m.d.comb += [
                allocator.present.eq(Cat(buffer.present[v] for buffer in buffers)),
                *(allocator.front[i].eq(buffers[i].front[v]) for i in ports),
                *(allocator.capacity[o].eq(self.capacity[CLAIM_ORDER[o]]) for o in ports),
                allocator.sink.eq(Cat(self.sink[port] for port in CLAIM_ORDER)),
                allocator.credit.eq(Cat(self.o[port].credit[v] for port in CLAIM_ORDER)),
                allocator.clear.eq(clear),
                *(buffers[i].pop[v].eq(allocator.go[i]) for i in ports),
            ]
        self._share_links(m, clear, allocators)

        # From which input to which outputs the flits go that were popped in the last cycle.
        crossing = Signal(N_PORTS * N_PORTS, reset_less=True)
        m.d.sync += crossing.eq(reduce(or_, (allocator.going for allocator in allocators)))
        with m.If(clear):
            m.d.sync += crossing.eq(0)
        for o, port in enumerate(CLAIM_ORDER):
            output = self.o[port]
            flit = Signal(flit_layout(self._chip), name=f"flit_{port.name.lower()}")
            sources = [crossing[N_PORTS * i + o] for i in ports]
            m.d.comb += output.valid.eq(Cat(sources).any())
            for i in ports:
                with m.If(sources[i]) if i == 0 else m.Elif(sources[i]):
                    m.d.comb += [flit.eq(buffers[i].flit), output.vc.eq(buffers[i].vc)]
            m.d.comb += output.flit.eq(flit)
            m.d.comb += output.flit.header.dest.eq(flit.header.dest & self.reach[port])

        m.d.comb += self.progress.eq(crossing.any())
        self._count(m, clear, reduce(or_, (allocator.blocked for allocator in allocators)))
        return m

    def _share_links(self, m: Module, clear: Signal, allocators: list[Allocator]) -> None:
        """Flits that leave: all of the channel that goes first, and of the others what fits beside it."""
        channels, ports = range(len(allocators)), range(N_PORTS)
        leader = Signal(range(len(allocators)), reset_less=True)
        able = [allocator.able for allocator in allocators]
        contest = Signal()
        m.d.comb += contest.eq(reduce(or_, (able[v].any() & able[w].any() for v in channels for w in range(v))))
        for v in channels:
            m.d.comb += allocators[v].go.eq(able[v])
        with m.If(contest):
            for v in channels:
                # Of more than two channels, one that must wait itself still holds back those behind it.
                ahead = [(w, (leader - v)[: len(leader)] > (leader - w)[: len(leader)]) for w in channels if w != v]
                inputs = Signal(N_PORTS, name=f"inputs_before_{v}")
                outputs = Signal(N_PORTS, name=f"outputs_before_{v}")
                m.d.comb += [
                    inputs.eq(reduce(or_, (Mux(before, able[w], 0) for w, before in ahead))),
                    outputs.eq(reduce(or_, (Mux(before, allocators[w].wanted, 0) for w, before in ahead))),
                    allocators[v].go.eq(
                        able[v] & ~inputs & Cat((allocators[v].use[i] & outputs) == 0 for i in ports)
                    ),
                ]
            with m.If(reduce(or_, (able[v] & ~allocators[v].go for v in channels)).any()):
                m.d.sync += leader.eq(leader + 1)
        with m.If(clear):
            m.d.sync += leader.eq(0)

    def _count(self, m: Module, clear: Signal, blocked: Value) -> None:
        counters = [Signal(COUNTER_BITS, name=counter.name.lower(), reset_less=True) for counter in RouterCounter]
        events = [*(self.o[port].valid for port in Direction), blocked]
        with m.If(self.running & (self.progress | blocked)):
            for counter, event in zip(counters, events, strict=True):
                with m.If(event):
                    m.d.sync += counter.eq(counter + 1)
        if self._chip.counters:
            came = Signal(N_PORTS)
            flits_in = Signal(COUNTER_BITS, reset_less=True)
            m.d.comb += came.eq(Cat(self.i[port].valid for port in Direction))
            with m.If(self.running & came.any()):
                m.d.sync += flits_in.eq(flits_in + sum(came[port] for port in Direction))
            assert int(RouterEvent.FLITS_IN) == len(counters)
            counters.append(flits_in)
        with m.Switch(self.counter_index):
            for index, counter in enumerate(counters):
                with m.Case(index):
                    m.d.sync += self.counter_value.eq(counter)
            with m.Default():
                m.d.sync += self.counter_value.eq(0)
        with m.If(clear):
            m.d.sync += [counter.eq(0) for counter in counters]
