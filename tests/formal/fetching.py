"""Proof of fetch: what is asked for always finds room, and reaches its unit in order, up to END."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from amaranth.hdl import Cat, Const, Mux, Signal
from amaranth.lib import data as layouts

from rtl.contract import isa
from rtl.contract.isa import Opcode, Space, TrafficClass
from rtl.contract.params import CoreParams
from rtl.core.fetch import Fetch
from rtl.lib.fifo import Fifo
from rtl.noc.flit import Kind
from tests.formal.harness import Harness, Inside, follow, keeps
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

ROOM = "an instruction that arrives finds room in its queue"
IN_ORDER = "a unit gets the instructions that arrived for it, unchanged and in order, END the last"
STAYS = "an offered word stays"
ASKED = "a request is one packet, a LOAD of the unit's next block, to the core's memory node"
OUTSTANDING = "what is outstanding is what was asked for less what arrived"
NO_MORE = "nothing new is asked for while halted, for a unit whose END is there, or from a misaligned stream"

DEPTH, BLOCK = 4, 2


def fetch() -> Harness:
    """Links of 16 bytes, so 2 flits an instruction; queues of 4, blocks of 2; 2 cores, this one is the second.

    Of an instruction 3 bits beside the opcode are there. Flits come only for what was asked for, whole instructions.
    """
    h = Harness()
    m = h.m
    chip = small_chip(2, 1, 1, link_bytes=16)
    fifos: list[Fifo] = []

    def recorded(**parameters: Any) -> Fifo:
        fifos.append(Fifo(**parameters))
        return fifos[-1]

    dut = Fetch(core=CoreParams(queue_depth=DEPTH), chip=chip)
    with patch.dict(Fetch.elaborate.__globals__, Fifo=recorded):
        inside = Inside(m, "dut", dut)
    base, stride = h.constant(32, "base"), h.constant(8, "stride")
    start, started = h.free(1, "start"), Signal()
    h.assume(~(start & started))
    with m.If(start):
        m.d.sync += started.eq(1)
    program, low, high = dut.program.payload, h.free(5, "low"), h.free(2, "high")
    m.d.comb += [
        dut.node.eq(1),
        dut.home.eq(0),
        dut.start.eq(start),
        dut.program_base.eq(base),
        dut.program_stride.eq(stride),
        program.data.eq(Cat(low, Const(0, 121), high)),
        program.unit.eq(h.free(2, "unit")),
    ]
    h.drive(dut.halt, dut.program.valid, dut.request.ready, *(o.ready for o in dut.o))

    # Requests: what they say, and how many flits each unit is still to get.
    request, header = dut.request.payload, dut.request.payload.header
    asks = dut.request.valid & dut.request.ready
    second = Signal()
    with m.If(asks):
        m.d.sync += second.eq(~second)
    chosen, sending = inside.signal("chosen"), inside.signal("sending")
    whole, inner, unit, first_part = asks & second, Signal(), Signal(2), Signal(7)
    come = dut.program.valid & dut.program.ready
    with m.If(come):
        m.d.sync += [inner.eq(~inner), unit.eq(program.unit), first_part.eq(Cat(low, high))]
    arrives = come & inner
    h.assume((program.unit < 3) & (~inner | (program.unit == unit)))
    running = Signal()
    bad = ((base | stride) & 31) != 0
    with m.If(start & ~bad):
        m.d.sync += running.eq(1)

    word = Signal(isa.INSTRUCTION_BITS)
    m.d.comb += word.eq(Cat(first_part[:5], Const(0, 121), first_part[5:], program.data))
    is_end = first_part[:4] == int(Opcode.END)
    at = h.constant(2, "at")  # the unit whose instructions are followed
    h.assume(at < 3)
    owed_all, levels, ended_of = [], [], []
    expected_addr = Signal(32)
    for u, queue in enumerate(fifos):
        owed, ended, addr = Signal(4, name=f"owed_{u}"), Signal(name=f"ended_{u}"), Signal(32, name=f"next_{u}")
        m.d.sync += owed.eq(owed + Mux(whole & (chosen == u), 2 * BLOCK, 0) - (come & (program.unit == u)))
        h.assume(~(dut.program.valid & (program.unit == u)) | (owed != 0))
        with m.If(start):
            m.d.sync += addr.eq(base + stride * (3 + u))
        with m.Elif(whole & (chosen == u)):
            m.d.sync += addr.eq(addr + 32 * BLOCK)
        with m.If(chosen == u):
            m.d.comb += expected_addr.eq(addr)
        push = arrives & (unit == u) & ~ended
        with m.If(push & is_end):
            m.d.sync += ended.eq(1)
        h.always(ROOM, ~queue.i.valid | queue.i.ready)
        h.always(IN_ORDER, queue.i.valid == push)
        h.always(IN_ORDER, ~push | (queue.i.payload == word))
        h.always(STAYS, keeps(h, f"o{u}", valid=dut.o[u].valid, ready=dut.o[u].ready, payload=dut.o[u].payload))
        owed_all.append(owed)
        levels.append(queue.level)
        ended_of.append(ended)
        claimed, is_inner = inside.signal(f"claimed{u}"), inner & (unit == u)
        missing = (owed + is_inner) >> 1
        h.invariant((claimed <= DEPTH) & (claimed >= queue.level + missing) & (owed[0] == is_inner))
        h.invariant(ended | (claimed == queue.level + missing))
        h.invariant(~(sending & (chosen == u)) | (claimed <= DEPTH - BLOCK))
        h.invariant((inside.signal("ended").bit_select(u, 1) == ended) & (addr == inside.signal(f"address{u}")))
        h.invariant(started | ((owed == 0) & ~ended & (queue.level == 0)))
        h.invariant(queue.level <= DEPTH)
    popped, level = (
        Mux(at == 0, values[0], Mux(at == 1, values[1], values[2]))
        for values in ([o.valid & o.ready for o in dut.o], levels)
    )
    shown = Mux(at == 0, dut.o[0].payload, Mux(at == 1, dut.o[1].payload, dut.o[2].payload))
    pushed = arrives & (unit == at) & ~Cat(ended_of).bit_select(at, 1)
    followed, kept, ahead = follow(h, "word", push=pushed, payload=word, pop=popped, level=level)
    h.always(IN_ORDER, ~(followed & (ahead == 0)) | (shown == kept))
    h.always(IN_ORDER, dut.program.ready == 1)
    for u in range(3):
        read_at = inside.signal("read_at", f"queue{u}")
        stored = inside.word((read_at + ahead)[:2], isa.INSTRUCTION_BITS, f"queue{u}", "words")
        h.invariant(~(followed & (at == u)) | ((stored == kept) & (ahead < levels[u])))
        front = inside.word(read_at[:2], isa.INSTRUCTION_BITS, f"queue{u}", "words")
        waited, before = h.past(dut.o[u].valid & ~dut.o[u].ready, f"w{u}"), h.past(dut.o[u].payload, f"b{u}")
        h.invariant(~waited | ((levels[u] != 0) & (front == before)))

    load = layouts.View(isa.Load, Signal(isa.Load.size, name="expected_load"))
    m.d.comb += [
        load.opcode.eq(Opcode.LOAD),
        load.cores.eq(2),
        load.dram_addr.eq(expected_addr),
        load.runs.eq(1),
        load.run_flits.eq(2 * BLOCK),
        load.space.eq(Space.PROGRAM),
        load.dst.eq(chosen << 16),
        load.traffic.eq(TrafficClass.PROGRAM),
    ]
    part = load.as_value().word_select(second, 128)
    h.always(ASKED, ~dut.request.valid | (request.data == part))
    ends = (request.first == ~second) & (request.last == second) & (header.flits == 2)
    h.always(
        ASKED, ~dut.request.valid | (ends & (header.dest == 0b100) & (header.src == 1) & (header.kind == Kind.READ))
    )
    h.always(STAYS, keeps(h, "request", valid=dut.request.valid, ready=dut.request.ready, payload=request))
    h.always(
        OUTSTANDING, dut.outstanding == sum((owed + (inner & (unit == u))) >> 1 for u, owed in enumerate(owed_all))
    )
    new = dut.request.valid & ~h.past(dut.request.valid, "asking")
    h.always(NO_MORE, ~new | ~h.past(dut.halt, "halted"))
    h.always(NO_MORE, ~new | ~h.past(Cat(ended_of), "had_ended").bit_select(chosen, 1))
    h.always(NO_MORE, ~dut.request.valid | running)
    h.always(NO_MORE, dut.error.any() == (started & bad))
    h.invariant((inside.signal("running") == running) & (~running | (started & ~bad)) & (~sending | running))
    h.invariant((inside.signal("index") == second) & (~second | sending) & (chosen < 3))
    part_of, collected = inside.signal("part"), inside.signal("collected")
    h.invariant((part_of == inner) & (~inner | (collected == word[:128])))
    h.invariant(~inner | (unit < 3))
    h.invariant(running | ~inner)
    h.invariant(running | (Cat(owed_all) == 0))
    h.cover("a queue fills up", levels[1] == DEPTH)
    h.cover("an instruction behind END is dropped", arrives & (unit == 0) & ended_of[0])
    return h


def _fetch(old: str, new: str) -> Bug:
    return Bug("rtl.core.fetch", old, new)


_BUGS = {
    ROOM: [_fetch("count <= depth - block for count", "count <= depth - block + 1 for count")],
    IN_ORDER: [
        _fetch("with m.If(arrived & (unit_in == unit) & ~ended[unit]):", "with m.If(arrived & (unit_in == unit)):"),
        _fetch("part.eq(part + 1)", "part.eq(part + self.halt)"),
    ],
    STAYS: [_fetch("with m.If(~sending & ~self.halt & wants.any()):", "with m.If(~self.halt & wants.any()):")],
    ASKED: [
        _fetch("address.eq(address + block * isa.INSTRUCTION_BYTES)", "address.eq(address + block)"),
        _fetch("self.program_stride * (self.node * 3)", "self.program_stride * self.node"),
    ],
    OUTSTANDING: [_fetch("self.outstanding + block - arrived", "self.outstanding + block")],
    NO_MORE: [
        _fetch("with m.If(~sending & ~self.halt & wants.any()):", "with m.If(~sending & wants.any()):"),
        _fetch("for count in claimed) & ~ended)", "for count in claimed))"),
        _fetch("m.d.sync += [running.eq(0), self.error", "m.d.sync += [self.error"),
    ],
}
PROOFS = [Proof("Fetch", fetch, 1, _BUGS, bug_steps=20, quick=False)]
