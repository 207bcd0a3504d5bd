"""Output allocation of a router for one virtual channel: who may use which outputs, and when."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.params import ChipParams
from rtl.noc.buffer import N_PORTS, front_layout

__all__ = ["Allocator"]


class Allocator(wiring.Component):
    """Decides which flits of one virtual channel could leave, and keeps the outputs of their packets.

    Purely combinational from ``present`` and ``front`` to ``able``, ``use`` and ``wanted``, and on from
    ``go`` to ``going``. Outputs are numbered in the order in which waiting heads claim them; the rules,
    and why they neither deadlock nor starve, are told in `rtl.noc.router.Router`.

    Members
    -------
    present, front
        For each input, whether its queue holds a flit, and what it is.
    capacity, sink
        Constant, for each output: flits that the receiver buffers; whether it is a node that always drains.
    credit
        For each output, a slot that the receiver gives back.
    able, use, wanted
        Inputs whose flit has its outputs and credits; the outputs of each; the outputs of all these.
    go
        Inputs of ``able`` whose flit leaves, now that the links are shared out.
    going
        For input i and output o, in bit ``i * 5 + o``: a flit goes from i to o.
    blocked
        Some flit does not leave.
    clear
        Forgets everything.
    """

    def __init__(self, *, chip: ChipParams) -> None:
        self._chip = chip
        super().__init__(
            {
                "present": In(N_PORTS),
                "front": In(front_layout(chip)).array(N_PORTS),
                "capacity": In(range(chip.vc_depth + 1)).array(N_PORTS),
                "sink": In(N_PORTS),
                "credit": In(N_PORTS),
                "able": Out(N_PORTS),
                "use": Out(N_PORTS).array(N_PORTS),
                "wanted": Out(N_PORTS),
                "go": In(N_PORTS),
                "going": Out(N_PORTS * N_PORTS),
                "blocked": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        ports = range(N_PORTS)
        # Five groups of five bits: group i belongs to input i, bit o in it to output o.
        route = Signal(N_PORTS * N_PORTS, reset_less=True)  # outputs held by the packet at the front
        claims = Signal(N_PORTS * N_PORTS, reset_less=True)  # outputs claimed by the waiting head
        behind = Signal(N_PORTS * N_PORTS, reset_less=True)  # this input comes after the last that claimed the output
        used = [Signal(range(self._chip.vc_depth + 1), name=f"used_{o}", reset_less=True) for o in ports]

        def of(groups: Value, i: int) -> Value:
            return groups[N_PORTS * i : N_PORTS * (i + 1)]

        def union(groups: Value) -> Value:
            return reduce(or_, (of(groups, i) for i in ports))

        full = Signal(N_PORTS)
        closed = Signal(N_PORTS)
        start = [Signal(name=f"start_{i}") for i in ports]
        waiting = [Signal(name=f"waiting_{i}") for i in ports]
        tight = [Signal(N_PORTS, name=f"tight_{i}") for i in ports]  # no room for a whole multicast packet
        taken = [Signal(N_PORTS, name=f"taken_{i}") for i in range(N_PORTS + 1)]
        # Everything is inside this branch, so that an idle channel costs a simulator one test.
        with m.If(self.present.any()):
            m.d.comb += [
                full.eq(Cat(used[o] == self.capacity[o] for o in ports)),
                closed.eq(union(route) | full),
                taken[0].eq(union(claims)),
            ]
            for i in ports:
                front, held, mine = self.front[i], of(route, i), of(claims, i)
                with m.If(self.present[i]):
                    with m.If(held.any()):
                        m.d.comb += self.use[i].eq(held)
                        m.d.comb += self.able[i].eq((held & full) == 0)
                    with m.Else():
                        with m.If(~front.single):
                            m.d.comb += tight[i].eq(
                                Cat(~self.sink[o] & (used[o] + front.flits > self.capacity[o]) for o in ports)
                            )
                        obstacles = closed | tight[i] | (taken[i] & ~mine)
                        m.d.comb += [
                            start[i].eq((front.wants & obstacles) == 0),
                            waiting[i].eq(~start[i]),
                            self.able[i].eq(start[i]),
                        ]
                        with m.If(start[i]):
                            m.d.comb += self.use[i].eq(front.wants)
                            m.d.sync += mine.eq(0)
                m.d.comb += taken[i + 1].eq(taken[i] | Mux(start[i], front.wants, 0))
                with m.If(self.able[i]):
                    m.d.sync += held.eq(Mux(self.go[i] & front.last, 0, self.use[i]))
            m.d.comb += [
                self.wanted.eq(reduce(or_, (Mux(self.able[i], self.use[i], 0) for i in ports))),
                self.going.eq(Cat(Mux(self.go[i], self.use[i], 0) for i in ports)),
                self.blocked.eq((self.present & ~self.go).any()),
            ]

        self._claim(m, of, claims, behind, start, waiting, closed, tight)

        sent = Signal(N_PORTS)
        m.d.comb += sent.eq(union(self.going))
        with m.If((sent | self.credit).any()):
            for o in ports:
                with m.If(sent[o] ^ self.credit[o]):
                    m.d.sync += used[o].eq(used[o] + Mux(sent[o], 1, -1))

        with m.If(self.clear):
            m.d.sync += [register.eq(0) for register in (route, claims, behind, *used)]
        return m

    def _claim(
        self,
        m: Module,
        of: Callable[[Value, int], Value],
        claims: Signal,
        behind: Signal,
        start: list[Signal],
        waiting: list[Signal],
        closed: Signal,
        tight: list[Signal],
    ) -> None:
        """One more output for each waiting head that has secured all outputs it claimed so far.

        An output nobody claims goes to the first input that asks behind its last owner, else to the first.
        """
        ports = range(N_PORTS)
        asked = [Signal(N_PORTS, name=f"asked_{i}") for i in ports]
        early = [Signal(N_PORTS, name=f"early_{i}") for i in ports]  # asked by an input behind the last owner
        pool = [Signal(N_PORTS, name=f"pool_{i}") for i in ports]
        seen = [Signal(N_PORTS, name=f"seen_{i}") for i in range(N_PORTS + 1)]
        free = Signal(N_PORTS)
        any_early = Signal(N_PORTS)
        with m.If(Cat(waiting).any()):
            m.d.comb += free.eq(~reduce(or_, (Mux(start[i], 0, of(claims, i)) for i in ports)))
            for i in ports:
                mine = of(claims, i)
                with m.If(waiting[i] & ((mine & (closed | tight[i])) == 0)):
                    more = self.front[i].wants & ~mine
                    m.d.comb += asked[i].eq(more & (~more + 1) & free)
                m.d.comb += early[i].eq(asked[i] & of(behind, i))
            m.d.comb += any_early.eq(reduce(or_, early))
            for i in ports:
                m.d.comb += pool[i].eq(early[i] | (asked[i] & ~any_early))
                m.d.comb += seen[i + 1].eq(seen[i] | pool[i])
            granted = seen[N_PORTS]
            with m.If(granted.any()):
                for i in ports:
                    with m.If(waiting[i]):
                        m.d.sync += of(claims, i).eq(of(claims, i) | (pool[i] & ~seen[i]))
                    m.d.sync += of(behind, i).eq((of(behind, i) & ~granted) | (seen[i] & granted))
