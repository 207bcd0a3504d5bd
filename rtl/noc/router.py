"""Input-buffered wormhole router with virtual channels, credits and multicast."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Array, Cat, Elaboratable, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from rtl.memory import Ram
from rtl.noc.flit import flit_layout, header_layout, link_signature
from rtl.params import ChipParams, Direction
from rtl.regs import COUNTER_BITS, RouterCounter

__all__ = ["Router"]

N_PORTS = len(Direction)


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
    inputs and outputs that it leaves. A multicast flit moves to all its branches in one cycle. That is
    as fast as letting branches run ahead of each other, because the channel that goes first gets all
    links that it wants in this router at once; and it needs no book-keeping of copies.

    Allocation
        A head starts when all its outputs are free in its channel and each has a credit; a multicast
        head only where each has room for the whole packet, unless a node port (``sink``) is behind it.
        So once it has started it waits for no branch but those that drain by themselves.
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
        Links in and out, indexed by `rtl.params.Direction`.
    reach
        Constant: the nodes that lie behind each port (`rtl.noc.routing.reach_masks`).
    capacity
        Constant: flits per channel that the receiver behind each port buffers; 0 for an unused port.
    sink
        Constant: ports behind which a node hangs.
    clear
        Soft reset. All routers and ports must be cleared together.
    running
        Counters count.
    progress
        A flit is on an outgoing link.
    counter_index, counter_value
        `rtl.regs.RouterCounter`; the value follows one cycle later.
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

    def elaborate(self, platform: Any) -> Elaboratable:
        m = Module()
        chip = self._chip
        ports, channels = range(N_PORTS), range(chip.n_vcs)
        layout = flit_layout(chip)
        # What allocation must know of a flit; `wants` is zero in all but heads.
        front_layout = data.StructLayout(
            {
                "last": 1,
                "single": 1,
                "flits": header_layout(chip)["flits"].shape,
                "wants": N_PORTS,
            }
        )
        slot_bits = ceil_log2(chip.vc_depth)

        def signals(name: str, shape: Any) -> list[list[Signal]]:
            """One signal for each channel and input."""
            return [[Signal(shape, name=f"{name}_{v}_{i}") for i in ports] for v in channels]

        # One bit more than an address, so that a full buffer differs from an empty one.
        write_at, read_at = signals("write_at", slot_bits + 1), signals("read_at", slot_bits + 1)
        route = signals("route", N_PORTS)  # outputs held by the packet at the front; 0: none
        move = [Signal(N_PORTS, name=f"move_{v}") for v in channels]  # inputs whose front flit leaves
        use = signals("use", N_PORTS)  # by these outputs
        present = [Signal(N_PORTS, name=f"present_{v}") for v in channels]  # inputs that have a flit
        front = signals("front", front_layout)
        sent = [Signal(N_PORTS, name=f"sent_{v}") for v in channels]  # outputs that get a flit
        moving_to = [Signal(N_PORTS, name=f"moving_to_{i}") for i in ports]  # for each input
        vc_of = [Signal(range(chip.n_vcs), name=f"vc_of_{i}", reset_less=True) for i in ports]
        flit_of = [Signal(layout, name=f"flit_of_{i}") for i in ports]

        for i in ports:
            self._buffer(m, i, front_layout, write_at, read_at, front, move, flit_of[i])

        # Credits: the slots of each receiver that are free for us.
        credits = [
            [Signal(range(chip.vc_depth + 1), name=f"credits_{v}_{o}") for o in ports] for v in channels
        ]
        loaded = Signal()
        for v in channels:
            for o in ports:
                back = self.o[o].credit[v]
                with m.If(back ^ sent[v][o]):
                    m.d.sync += credits[v][o].eq(credits[v][o] + Mux(back, 1, -1))
        with m.If(~loaded):
            m.d.sync += loaded.eq(1)
            m.d.sync += [credits[v][o].eq(self.capacity[o]) for v in channels for o in ports]

        able = [Signal(N_PORTS, name=f"able_{v}") for v in channels]
        for v in channels:
            for i in ports:
                m.d.comb += present[v][i].eq(write_at[v][i] != read_at[v][i])
            self._allocate(m, v, present[v], front[v], route[v], credits[v], use[v], able[v], move[v])
        self._share_links(m, use, able, move)

        for v in channels:
            m.d.comb += sent[v].eq(reduce(or_, (Mux(move[v][i], use[v][i], 0) for i in ports)))
        for i in ports:
            m.d.sync += moving_to[i].eq(reduce(or_, (Mux(move[v][i], use[v][i], 0) for v in channels)))
            for v in channels:
                m.d.sync += self.i[i].credit[v].eq(move[v][i])
                with m.If(move[v][i]):
                    m.d.sync += [read_at[v][i].eq(read_at[v][i] + 1), vc_of[i].eq(v)]

        for o in ports:
            flit = Signal(layout, name=f"flit_to_{o}")
            m.d.comb += [
                self.o[o].valid.eq(Cat(moving_to[i][o] for i in ports).any()),
                self.o[o].vc.eq(reduce(or_, (Mux(moving_to[i][o], vc_of[i], 0) for i in ports))),
                flit.eq(_choose([moving_to[i][o] for i in ports], flit_of)),
                self.o[o].flit.eq(flit),
                self.o[o].flit.header.dest.eq(flit.header.dest & self.reach[o]),
            ]

        m.d.comb += self.progress.eq(reduce(or_, moving_to).any())
        self._count(m, reduce(or_, (present[v] & ~move[v] for v in channels)).any())
        return ResetInserter(self.clear)(m)

    def _buffer(
        self,
        m: Module,
        i: int,
        front_layout: data.StructLayout,
        write_at: list[list[Signal]],
        read_at: list[list[Signal]],
        front: list[list[data.View]],
        move: list[Signal],
        flit: data.View,
    ) -> None:
        """The queues of one input: flits in a block RAM, what allocation needs of them beside it."""
        chip, link = self._chip, self.i[i]
        channels = range(chip.n_vcs)
        slot_bits = ceil_log2(chip.vc_depth)
        depth = chip.n_vcs << slot_bits
        flits = Ram(width=Value.cast(link.flit).shape().width, depth=depth)
        fronts = Memory(shape=unsigned(front_layout.size), depth=depth, init=())
        m.submodules[f"flits_{i}"] = flits
        m.submodules[f"fronts_{i}"] = fronts

        def address(at: list[list[Signal]], vc: Value) -> Value:
            return Cat(Array(at[v][i] for v in channels)[vc][:slot_bits], vc)

        incoming = Signal(front_layout, name=f"incoming_{i}")
        # A packet never turns back, except that a core may write to itself.
        outputs = [o for o in range(N_PORTS) if o != i or o == Direction.LOCAL]
        wants = [
            link.flit.first & (link.flit.header.dest & self.reach[o]).any() if o in outputs else 0
            for o in range(N_PORTS)
        ]
        m.d.comb += incoming.wants.eq(Cat(wants))
        m.d.comb += [
            incoming.last.eq(link.flit.last),
            incoming.single.eq((incoming.wants & (incoming.wants - 1)) == 0),
            incoming.flits.eq(link.flit.header.flits),
        ]
        write = fronts.write_port()
        m.d.comb += [
            write.en.eq(link.valid),
            write.addr.eq(address(write_at, link.vc)),
            write.data.eq(incoming),
            flits.write_enable.eq(link.valid),
            flits.write_addr.eq(write.addr),
            flits.write_data.eq(link.flit),
        ]
        for v in channels:
            read = fronts.read_port(domain="comb")
            m.d.comb += [
                read.addr.eq(read_at[v][i][:slot_bits] | v << slot_bits),
                front[v][i].eq(read.data),
            ]
            with m.If(link.valid & (link.vc == v)):
                m.d.sync += write_at[v][i].eq(write_at[v][i] + 1)
        # At most one channel of an input moves.
        source = Signal(range(chip.n_vcs), name=f"source_{i}")
        for v in channels[1:]:
            with m.If(move[v][i]):
                m.d.comb += source.eq(v)
        m.d.comb += [
            flits.read_enable.eq(Cat(move[v][i] for v in channels).any()),
            flits.read_addr.eq(address(read_at, source)),
            flit.eq(flits.read_data),
        ]

    def _allocate(
        self,
        m: Module,
        v: int,
        present: Signal,
        front: list[data.View],
        route: list[Signal],
        credits: list[Signal],
        use: list[Signal],
        able: Signal,
        move: Signal,
    ) -> None:
        """Outputs of one channel: which heads start, which flits could leave if links were free."""
        ports = range(N_PORTS)
        heads = Signal(N_PORTS, name=f"heads_{v}")
        start = Signal(N_PORTS, name=f"start_{v}")
        no_credit = Signal(N_PORTS, name=f"no_credit_{v}")
        closed = Signal(N_PORTS, name=f"closed_{v}")
        claims = [Signal(N_PORTS, name=f"claims_{v}_{i}") for i in ports]
        claimed = Signal(N_PORTS, name=f"claimed_{v}")
        m.d.comb += [
            no_credit.eq(Cat(credits[o] == 0 for o in ports)),
            heads.eq(Cat(present[i] & (route[i] == 0) for i in ports)),
            closed.eq(reduce(or_, route) | no_credit),
            claimed.eq(reduce(or_, claims)),
        ]
        rooms = []
        taken: Value = claimed
        for i in ports:
            wants = front[i].wants
            room = Signal(N_PORTS, name=f"room_{v}_{i}")
            rooms.append(room)
            others = Signal(N_PORTS, name=f"others_{v}_{i}")
            m.d.comb += [
                room.eq(Cat(front[i].single | self.sink[o] | (credits[o] >= front[i].flits) for o in ports)),
                others.eq(taken & ~claims[i]),
                start[i].eq(heads[i] & ((wants & (closed | others | ~room)) == 0)),
                use[i].eq(Mux(start[i], wants, route[i])),
                able[i].eq(start[i] | (present[i] & (route[i] != 0) & ((route[i] & no_credit) == 0))),
            ]
            following = Signal(N_PORTS, name=f"taken_{v}_{i}")
            m.d.comb += following.eq(taken | Mux(start[i], wants, 0))
            taken = following
            with m.If(move[i] & front[i].last):
                m.d.sync += route[i].eq(0)
            with m.Elif(start[i]):
                m.d.sync += route[i].eq(wants)

        waiting = Signal(N_PORTS, name=f"waiting_{v}")
        m.d.comb += waiting.eq(heads & ~start)
        requests = []
        for i in ports:
            request = Signal(N_PORTS, name=f"request_{v}_{i}")
            requests.append(request)
            secured = (claims[i] & (closed | ~rooms[i])) == 0
            with m.If(waiting[i] & secured):
                m.d.comb += request.eq(_first_in_claim_order(front[i].wants & ~claims[i]))
        with m.If(waiting.any()):
            for o in ports:
                owner = Signal(N_PORTS, init=1, name=f"owner_{v}_{o}")  # the last to claim it
                candidates = Cat(request[o] for request in requests)
                kept = Cat(claims[i][o] & ~start[i] for i in ports).any()
                with m.If(candidates.any() & ~kept):
                    later = candidates & ~(owner | (owner - 1)[:N_PORTS])
                    grant = _lowest(Mux(later.any(), later, candidates))
                    m.d.sync += owner.eq(grant)
                    for i in ports:
                        with m.If(grant[i]):
                            m.d.sync += claims[i][o].eq(1)
        for i in ports:
            with m.If(start[i]):
                m.d.sync += claims[i].eq(0)

    def _share_links(
        self, m: Module, use: list[list[Signal]], able: list[Signal], move: list[Signal]
    ) -> None:
        """Flits that leave: all of the channel that goes first, and of the others what fits beside it."""
        ports, channels = range(N_PORTS), range(self._chip.n_vcs)
        leader = Signal(range(self._chip.n_vcs))
        outputs = [Signal(N_PORTS, name=f"outputs_{v}") for v in channels]
        for v in channels:
            m.d.comb += outputs[v].eq(reduce(or_, (Mux(able[v][i], use[v][i], 0) for i in ports)))
        for v in channels:
            # With more than two channels, one that must wait itself still blocks those behind it: rare, and simple.
            ahead = [(w, (leader - v)[: len(leader)] > (leader - w)[: len(leader)]) for w in channels if w != v]
            inputs_taken = reduce(or_, (Mux(before, able[w], 0) for w, before in ahead))
            outputs_taken = reduce(or_, (Mux(before, outputs[w], 0) for w, before in ahead))
            m.d.comb += move[v].eq(
                Cat(able[v][i] & ~inputs_taken[i] & ((use[v][i] & outputs_taken) == 0) for i in ports)
            )
        with m.If(Cat(able[v] & ~move[v] for v in channels).any()):
            m.d.sync += leader.eq(leader + 1)

    def _count(self, m: Module, blocked: Value) -> None:
        counters = [Signal(COUNTER_BITS, name=counter.name.lower()) for counter in RouterCounter]
        events = [*(self.o[port].valid for port in range(N_PORTS)), blocked]
        with m.If(self.running):
            for counter, event in zip(counters, events, strict=True):
                with m.If(event):
                    m.d.sync += counter.eq(counter + 1)
        with m.Switch(self.counter_index):
            for index, counter in enumerate(counters):
                with m.Case(index):
                    m.d.sync += self.counter_value.eq(counter)
            with m.Default():
                m.d.sync += self.counter_value.eq(0)


def _choose(selects: list[Value], words: list[data.View]) -> Value:
    """The word whose select is set; the last one if none is."""
    choice = Value.cast(words[-1])
    for select, word in zip(reversed(selects[:-1]), reversed(words[:-1]), strict=True):
        choice = Mux(select, Value.cast(word), choice)
    return choice


def _lowest(bits: Value) -> Value:
    """The lowest bit that is set, alone."""
    return (bits & (~bits + 1))[: len(bits)]


_CLAIM_ORDER = (Direction.EAST, Direction.WEST, Direction.NORTH, Direction.SOUTH, Direction.LOCAL)


def _first_in_claim_order(ports: Value) -> Value:
    ordered = _lowest(Cat(ports[port] for port in _CLAIM_ORDER))
    return Cat(ordered[_CLAIM_ORDER.index(port)] for port in Direction)
