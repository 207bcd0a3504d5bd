"""Proofs of a memory node's engines: the rules of AXI4, and nothing lost between network and memory."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data as layouts

from rtl.contract.isa import Load, Space
from rtl.contract.params import ChipParams
from rtl.contract.regs import ErrorCode
from rtl.dram.axi import Burst
from rtl.dram.memory_node import MemoryNode
from rtl.dram.memory_read import ReadEngine
from rtl.dram.memory_write import WriteEngine
from rtl.lib.fifo import Fifo
from rtl.noc.flit import Kind
from tests.formal.harness import Harness, Inside, follow, keeps
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

STAYS = "what is offered stays"
BURSTS = "bursts are INCR, full-width, aligned, of at most a packet's beats, within 4 KB"
LIMIT = "no more bursts are under way than the limit allows"
BEATS = "a burst has as many beats as it said, and LAST is at the last one"
QUEUED = "legal LOADs, and no others, are queued, unchanged"
FIRST = "programs go before data"
WRITTEN = "each flit of a legal packet, and nothing else, is the next beat of its burst, with its bytes enabled"
REFUSED = "a packet that cannot be executed never reaches the bus; its error stays"
ACKED = "each written packet is acknowledged once, behind its response, in order, to its source"
IDLE = "idle means that nothing is under way, and comes when nothing is"
CLEARED = "under clear nothing new begins, what is left of a burst enables no byte, and errors are forgotten"

SPLIT = "a READ's two flits are one LOAD, a WRITE's flits pass unchanged, and nothing else reaches an engine"
WRONG = "a packet of another kind, or a READ of another length, is an error until clear"
MERGED = "each flit of data, unchanged, and each acknowledgement, to its source, leaves once; packets stay whole"
ASKED = "a LOAD asks for its runs in order, each flit once"
PASSED = "each beat becomes a flit, in the packet that its burst was asked for"
HALTED = "while halted no burst is added to those that wait for their address"
DROPPED = "a LOAD that cannot be executed asks for nothing; its error stays"

BEATS_MAX = 8
OUTSTANDING = 2
OKAY = 0


def _chip() -> ChipParams:
    return small_chip(2, 1, 1, outstanding_bursts=OUTSTANDING, memory_queue_depth=2, tokens=16)


def _address_rules(h: Harness, bus: Any, prefix: str) -> None:
    """Rules for an address channel; the bus has 4 bytes."""

    def field(name: str) -> Value:
        return getattr(bus, f"{prefix}{name}")

    valid, addr, beats = field("valid"), field("addr"), Signal(9, name=f"{prefix}_beats")
    h.m.d.comb += beats.eq(field("len") + 1)
    fits = (addr[:2] == 0) & (beats <= BEATS_MAX) & (addr[2:12] + beats <= 1024)
    h.always(BURSTS, ~valid | (fits & (field("burst") == Burst.INCR) & (field("size") == 2) & (field("id") == 0)))
    payload = Cat(addr, field("len"), field("burst"), field("size"), field("id"))
    h.always(STAYS, keeps(h, prefix, valid=valid, ready=field("ready"), payload=payload))


def _clear(h: Harness, idle: Value) -> tuple[Value, Value, Value]:
    """A clear at any time, held until idle; that it was in the cycle before; and that it may end now."""
    clear = h.free(1, "clear")
    unfinished = h.past(clear & ~idle, "unfinished")
    h.assume(~unfinished | clear)
    cleared = h.past(clear, "cleared")
    return clear, cleared, cleared & ~unfinished


def write() -> Harness:
    """Links of 4 bytes, bursts of up to 8 beats, 2 under way; payload of 2 bits.

    Packets are as long as their headers say where that is a legal length, and begin anew behind clear.
    """
    h = Harness()
    m = h.m
    dut = WriteEngine(chip=_chip())
    inside = Inside(m, "dut", dut)
    axi, flit, header = dut.axi, dut.packet.payload, dut.packet.payload.header
    clear, cleared, over = _clear(h, dut.idle)
    h.drive(axi.awready, axi.wready, axi.bvalid, axi.bresp, dut.ack.ready, dut.packet.valid)
    inner, last = Signal(), h.free(1, "last")
    m.d.comb += [
        dut.clear.eq(clear),
        flit.header.eq(h.free(header.shape(), "header")),
        flit.data.eq(h.free(2, "data")),
        flit.first.eq(~inner),
        flit.last.eq(last),
    ]
    h.assume(~clear | dut.ack.ready)
    packet = Cat(last, flit.data[:2], header.as_value())
    h.assume(keeps(h, "packet", valid=dut.packet.valid, ready=dut.packet.ready, payload=packet) | cleared)

    # Packets: flits behind the next one; a packet may end anywhere if its header's length is no length.
    left, odd = Signal(4), Signal()
    accept = dut.packet.valid & dut.packet.ready
    no_length = Mux(inner, odd, (header.flits == 0) | (header.flits > BEATS_MAX))
    behind = Mux(inner, left, (header.flits - 1)[:4])
    h.assume(no_length | (last == (behind == 0)))
    illegal = (header.flits == 0) | (header.flits > BEATS_MAX) | (header.addr[2:12] + header.flits > 1024)
    illegal |= (header.addr[:2] != 0) | (header.lanes == 0) | (header.lane_offset + header.lanes > 4)
    illegal |= Value.cast(header.traffic) > 4
    refused = Signal()
    bad = Mux(inner, refused, illegal)
    with m.If(accept):
        m.d.sync += [inner.eq(~last), left.eq(behind - 1), odd.eq(no_length), refused.eq(bad)]
    with m.If(clear):
        m.d.sync += inner.eq(0)
    writes = accept & ~bad & ~clear
    begins = writes & flit.first

    # The bus: the burst that W is in, and bursts without their response.
    _address_rules(h, axi, "aw")
    w_payload = Cat(axi.wdata[:2], axi.wlast, axi.wstrb)
    h.always(STAYS, keeps(h, "w", valid=axi.wvalid, ready=axi.wready, payload=w_payload))
    h.always(STAYS, keeps(h, "ack", valid=dut.ack.valid, ready=dut.ack.ready, payload=dut.ack.payload))
    w, ends = axi.wvalid & axi.wready, axi.wvalid & axi.wready & axi.wlast
    to_go = Signal(4)  # beats of the burst that have not passed
    with m.If(begins):
        m.d.sync += to_go.eq(header.flits)
    with m.Elif(w):
        m.d.sync += to_go.eq(to_go - 1)
    h.always(BEATS, ~axi.wvalid | ((to_go != 0) & (axi.wlast == (to_go == 1))))
    h.always(BEATS, ~begins | (to_go == 0) | ((to_go == 1) & w))
    counts = ("addressed", "finished", "under_way", "responses", "owed")
    addressed, finished, under_way, responses, owed = (Signal(range(2 * OUTSTANDING), name=name) for name in counts)
    answered, acked = axi.bvalid & axi.bready, dut.ack.valid & dut.ack.ready
    m.d.sync += [
        addressed.eq(addressed + (axi.awvalid & axi.awready) - answered),
        finished.eq(finished + ends - answered),
        under_way.eq(under_way + begins - answered),
        responses.eq(responses + answered - acked),
        owed.eq(owed + begins - acked),
    ]
    h.assume(~axi.bvalid | ((addressed != 0) & (finished != 0)))
    h.always(LIMIT, under_way <= OUTSTANDING)

    lanes = Cat((header.lane_offset <= lane) & (lane < header.lane_offset + header.lanes) for lane in range(4))
    enabled = Signal(4)
    with m.If(begins):
        m.d.sync += enabled.eq(lanes)
    wrote, began = h.past(writes, "wrote"), h.past(begins, "began")
    data = h.past(flit.data[:2], "data_before")
    h.always(WRITTEN, ~wrote | (axi.wvalid & (axi.wdata[:2] == data) & (axi.wstrb == enabled)))
    address, size = h.past(header.addr, "address"), h.past((header.flits - 1)[:8], "size")
    h.always(WRITTEN, ~began | (axi.awvalid & (axi.awaddr == address) & (axi.awlen == size)))
    new_beat = axi.wvalid & ~h.past(axi.wvalid & ~axi.wready, "w_waits")
    new_address = axi.awvalid & ~h.past(axi.awvalid & ~axi.awready, "aw_waits")
    h.always(WRITTEN, (~new_beat | wrote | cleared) & (~new_address | began))
    h.always(CLEARED, ~cleared | ((dut.error == 0) & ~new_address & (~new_beat | (axi.wstrb == 0))))
    h.always(CLEARED, ~clear | dut.packet.ready)
    stopped = h.past(dut.packet.valid & flit.first & illegal & ~clear, "stopped")
    error = h.past(dut.error, "error")
    failed = h.past(axi.bvalid & (axi.bresp != OKAY) & ~clear, "failed")
    h.always(REFUSED, ~stopped | (dut.error != 0))
    h.always(REFUSED, cleared | (error == 0) | (dut.error == error))
    h.always(REFUSED, (dut.error == 0) | (error != 0) | stopped | failed)
    h.always(REFUSED, (dut.error != 0) | ~failed)

    h.always(ACKED, dut.ack.valid == (responses != 0))
    followed, word, ahead = follow(h, "source", push=begins, payload=header.src, pop=acked, level=owed)
    h.always(ACKED, ~(followed & (ahead == 0) & dut.ack.valid) | (dut.ack.payload == word))
    nothing = (owed == 0) & ~axi.wvalid & ~axi.awvalid & (to_go == 0) & ((addressed | finished) == 0)
    h.always(IDLE, dut.idle == nothing)

    beats_left = inside.signal("beats_left")
    (strobe,) = inside.nameless(4)
    level = inside.signal("level", "sources")
    h.invariant((level == owed) & (inside.signal("done") == responses))
    h.invariant((owed == under_way + responses) & (owed <= OUTSTANDING))
    h.invariant((under_way == addressed + axi.awvalid) & (under_way == finished + (to_go != 0)))
    h.invariant(to_go == beats_left + axi.wvalid)
    h.invariant(~inner | (inside.signal("dropping") == refused))
    h.invariant(~(inner & odd) | refused)
    h.invariant(~(inner & ~refused) | ((beats_left == left + 1) & (strobe == enabled)))
    h.invariant((beats_left == 0) | (inner & ~refused) | (cleared & ~over))
    h.invariant(~inner | ~cleared)
    h.invariant(~over | dut.idle)
    read_at = inside.signal("read_at", "sources")
    stored = inside.word((read_at + ahead)[:1], 7, "sources", "words")
    h.invariant(~followed | ((ahead < owed) & (stored == word)))
    h.cover("a burst ends while another waits for its response", (under_way == 2) & (finished == 1) & ends)
    h.cover("clear completes a burst", cleared & ends & (axi.wstrb == 0))
    return h


def read() -> Harness:
    """Links of 4 bytes, bursts of up to 8 beats, 2 under way, queues of 2 LOADs; strides below 8, payload of 2 bits."""
    h = Harness()
    m = h.m
    fifos: list[Fifo] = []

    def recorded(**parameters: Any) -> Fifo:
        fifos.append(Fifo(**parameters))
        return fifos[-1]

    dut = ReadEngine(chip=_chip())
    with patch.dict(ReadEngine.elaborate.__globals__, Fifo=recorded):
        inside = Inside(m, "dut", dut)
    queue, program_queue, notes = fifos
    axi, load = dut.axi, dut.load.payload
    clear, cleared, over = _clear(h, dut.idle)
    halt, data = h.free(1, "halt"), h.free(2, "data")
    m.d.comb += [dut.clear.eq(clear), dut.halt.eq(halt), axi.rdata.eq(data)]
    h.drive(axi.arready, axi.rvalid, axi.rlast, axi.rresp, dut.data.ready)
    h.drive(dut.load.valid, dut.load.payload)
    h.assume((load.dram_stride < 8) & (load.dst_stride < 8))
    h.assume((Value.cast(load.space) != int(Space.PROGRAM)) | (load.dst[:16] == 0))
    kept = keeps(h, "load", valid=dut.load.valid, ready=dut.load.ready, payload=dut.load.payload)
    h.assume(kept | cleared)

    # LOADs: what is legal enters its queue unchanged.
    traffic = load.as_value()[Load["traffic"].offset :][:3]
    is_program = Value.cast(load.space) == int(Space.PROGRAM)
    illegal = (load.runs == 0) | (load.run_flits == 0) | (load.cores == 0) | (load.cores >= 4) | (traffic > 4)
    illegal |= (is_program & (load.runs != 1)) | ((load.dram_addr & 3) != 0)
    queued = dut.load.valid & dut.load.ready & ~illegal & ~halt & ~clear
    for one, mine in ((queue, ~is_program), (program_queue, is_program)):
        h.always(QUEUED, (one.i.valid & one.i.ready) == (queued & mine))
        same = [
            Value.cast(one.i.payload[name]) == Value.cast(load[name])
            for name, _ in one.i.payload.shape()
            if name != "cores"
        ]
        h.always(QUEUED, ~one.i.valid | (Cat(same).all() & (one.i.payload.cores == load.cores)))
    refused, error = h.past(dut.load.valid & illegal & ~clear, "refused"), h.past(dut.error, "error")
    failed = h.past(axi.rvalid & axi.rready & (axi.rresp != OKAY) & ~clear, "failed")
    h.always(DROPPED, ~refused | (dut.error != 0))
    h.always(DROPPED, cleared | (error == 0) | (dut.error == error))
    h.always(DROPPED, (dut.error == 0) | (error != 0) | refused | failed)
    h.always(DROPPED, (dut.error != 0) | ~failed)

    # What is asked for: LOADs as they leave their queues, run by run.
    ask = notes.i.valid
    of_program = Value.cast(notes.i.payload.space) == int(Space.PROGRAM)
    program_active = inside.signal("program_active")
    first_address, beats = Signal(32), Signal(7)
    models = []
    for name, one, mine in (("loads", queue, ask & ~of_program), ("programs", program_queue, ask & of_program)):
        begins = one.o.valid & one.o.ready & ~clear
        work = Signal(one.o.payload.shape(), name=f"{name}_work")
        busy = Signal(name=f"{name}_busy")
        at, base, to, to_base = (Signal(32, name=f"{name}_{part}") for part in ("at", "base", "to", "to_base"))
        left, runs = Signal(16, name=f"{name}_left"), Signal(12, name=f"{name}_runs")
        models.append((busy, work, at, base, to, to_base, left, runs))
        note = notes.i.payload
        end_of_run = left == note.beats
        end = end_of_run & (runs == 1)
        step = Mux(work.planar, note.beats << 2, note.beats) if name == "loads" else note.beats
        with m.If(mine):
            m.d.comb += [first_address.eq(at), beats.eq(note.beats)]
            m.d.sync += [at.eq(at + (note.beats << 2)), to.eq(to + step), left.eq(left - note.beats), busy.eq(~end)]
            with m.If(end_of_run):
                m.d.sync += [
                    *(value.eq(base + (work.dram_stride << 2)) for value in (at, base)),
                    *(value.eq(to_base + work.dst_stride) for value in (to, to_base)),
                    left.eq(work.run_flits),
                    runs.eq(runs - 1),
                ]
        with m.If(begins):
            word = one.o.payload
            m.d.sync += [work.eq(word), busy.eq(1), left.eq(word.run_flits), runs.eq(word.runs)]
            m.d.sync += [
                *(value.eq(word.dram_addr) for value in (at, base)),
                *(value.eq(word.dst) for value in (to, to_base)),
            ]
        with m.If(clear):
            m.d.sync += busy.eq(0)
        same = Cat(Value.cast(note[n]) == Value.cast(work[n]) for n in ("cores", "space", "planar", "traffic", "token"))
        h.always(ASKED, ~mine | (busy & (note.addr == to) & same.all() & (note.beats != 0) & (note.beats <= left)))
        h.always(ASKED, ~mine | (note.token_valid == (work.token_valid & end)))
        h.always(ASKED, ~(begins & busy) | (mine & end))
    new = axi.arvalid & ~h.past(axi.arvalid & ~axi.arready, "ar_waits")
    h.always(ASKED, new == h.past(ask, "asked"))
    address, size = h.past(first_address, "address"), h.past((beats - 1)[:8], "size")
    h.always(ASKED, ~new | ((axi.araddr == address) & (axi.arlen == size)))
    h.always(FIRST, ~ask | of_program | ~models[1][0])
    h.always(HALTED, ~halt | ~ask)
    _address_rules(h, axi, "ar")

    # The bursts under way, oldest first: their lengths, and what their packets are to say.
    note = notes.i.payload
    count, beat = Signal(range(2 * OUTSTANDING)), Signal(4)
    lengths = [Signal(7, name=f"length_{i}") for i in range(OUTSTANDING)]
    r = axi.rvalid & axi.rready
    ends = r & axi.rlast
    m.d.sync += count.eq(count + ask - ends)
    with m.If(r):
        m.d.sync += beat.eq(Mux(axi.rlast, 0, beat + 1))
    with m.If(ends):
        m.d.sync += lengths[0].eq(lengths[1])
    for i, length in enumerate(lengths):
        with m.If(ask & (count - ends == i)):
            m.d.sync += length.eq(note.beats)
    h.assume(~axi.rvalid | ((count - axi.arvalid != 0) & (axi.rlast == (beat + 1 == lengths[0]))))
    h.assume(keeps(h, "r", valid=axi.rvalid, ready=axi.rready, payload=Cat(data, axi.rlast)))
    h.always(LIMIT, count <= OUTSTANDING)
    flit, header = dut.data.payload, dut.data.payload.header
    kept = keeps(h, "data_out", valid=dut.data.valid, ready=dut.data.ready, payload=flit)
    h.always(STAYS, kept | clear)
    h.always(PASSED, (dut.data.valid == (axi.rvalid & ~clear)) & (axi.rready == (dut.data.ready | clear)))
    h.always(
        PASSED, ~dut.data.valid | ((flit.data[:2] == data) & (flit.first == (beat == 0)) & (flit.last == axi.rlast))
    )
    fields = ("space", "planar", "addr", "traffic", "token_valid", "token")
    pushed = Cat(note.cores, *(note[n] for n in fields), note.beats)
    followed, word, ahead = follow(h, "burst", push=ask, payload=pushed, pop=ends, level=count)
    out = Cat(header.dest[:2], *(header[n] for n in fields), header.flits)
    h.always(PASSED, ~(followed & (ahead == 0) & dut.data.valid) | (out == word))
    h.always(PASSED, ~dut.data.valid | ((header.kind == Kind.DATA) & (header.lane_offset == 0) & (header.lanes == 4)))
    h.always(PASSED, ~dut.data.valid | ((header.flits == lengths[0]) & (header.dest[2:] == 0)))
    nothing = (count == 0) & ~axi.arvalid & ~models[0][0] & ~models[1][0] & ~queue.o.valid & ~program_queue.o.valid
    h.always(IDLE, dut.idle == nothing)
    h.always(CLEARED, ~clear | ~ask)
    h.always(CLEARED, ~cleared | ((dut.error == 0) & ~queue.o.valid & ~program_queue.o.valid & ~new))
    h.always(CLEARED, ~over | (dut.idle & (beat == 0)))

    # Invariants: the models' state is the engine's.
    busy, work, at, base, to, to_base, left, runs = models[0]
    current = Value.cast(inside.signal("current"))
    (next_addr, dst), (flits_left,) = inside.nameless(32), inside.nameless(16)
    runs_left, next_dst = inside.signal("runs_left"), inside.signal("next_dst")
    h.invariant(busy == inside.signal("active"))
    same = [
        at == inside.signal("addr"),
        to == dst,
        left == flits_left,
        runs == runs_left + 1,
        (base + (work.dram_stride << 2))[:32] == next_addr,
        (to_base + work.dst_stride)[:32] == next_dst,
        work.as_value() == current,
        (left != 0) & (left <= work.run_flits) & (runs != 0) & (at[:2] == 0) & (base[:2] == 0),
        Value.cast(work.space) != int(Space.PROGRAM),
    ]
    h.invariant(~busy | Cat(*(one.bool() for one in same)).all())
    busy, work, at, base, to, to_base, left, runs = models[1]
    program = layouts.View(program_queue.o.payload.shape(), inside.signal("program"))
    h.invariant(busy == program_active)
    same = [
        at == program.dram_addr,
        to == program.dst,
        left == program.run_flits,
        (runs == 1) & (left != 0) & (at[:2] == 0) & (to + left <= 1 << 18),
        Value.cast(work.space) == int(Space.PROGRAM),
        *(
            Value.cast(work[n]) == Value.cast(program[n])
            for n in ("cores", "space", "planar", "traffic", "token_valid", "token")
        ),
    ]
    h.invariant(~busy | Cat(*(one.bool() for one in same)).all())
    for name, one in (("queue", queue), ("program_queue", program_queue)):
        read_at = inside.signal("read_at", name)
        for slot in range(2):
            index = read_at[:1] ^ slot
            stored = layouts.View(
                queue.o.payload.shape(), inside.word(index, len(one.o.payload.as_value()), name, "words")
            )
            ok = (stored.run_flits != 0) & (stored.runs != 0) & (stored.dram_addr[:2] == 0)
            for_program = Value.cast(stored.space) == int(Space.PROGRAM)
            ok &= for_program & (stored.runs == 1) & (stored.dst[:16] == 0) if one is program_queue else ~for_program
            h.invariant((one.level <= slot) | ok)
        h.invariant(one.level <= 2)
    h.invariant((notes.level == count) & (count >= axi.arvalid))
    read_at = inside.signal("read_at", "notes")
    for slot in range(OUTSTANDING):
        stored = layouts.View(note.shape(), inside.word(read_at[:1] ^ slot, len(note.as_value()), "notes", "words"))
        h.invariant((count <= slot) | ((stored.beats == lengths[slot]) & (lengths[slot] != 0) & (lengths[slot] <= 8)))
    stored = layouts.View(note.shape(), inside.word((read_at + ahead)[:1], len(note.as_value()), "notes", "words"))
    h.invariant(~followed | ((ahead < count) & (Cat(stored.cores, *(stored[n] for n in fields), stored.beats) == word)))
    h.invariant((beat == 0) | ((count > axi.arvalid) & (beat < lengths[0])))
    h.invariant(inside.signal("first") == (beat == 0))
    h.cover(
        "the second run begins while the first burst is answered",
        (models[0][7] == 1) & (models[0][1].runs == 2) & ask & r,
    )
    h.cover("a program goes before a LOAD", ask & program_active & models[0][0])
    h.cover("clear drops a beat", clear & r & (count == 2))
    return h


class _Reads(ReadEngine):
    """Nothing in it: what comes out is driven."""

    def elaborate(self, platform: Any) -> Module:
        return Module()


class _Writes(WriteEngine):
    """As above."""

    def elaborate(self, platform: Any) -> Module:
        return Module()


def node() -> Harness:
    """Links of 16 bytes, so READs of 2 flits; stand-ins for the engines do anything; payload of 2 bits."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 1, 1, link_bytes=16)
    dut = MemoryNode(chip=chip)
    reads, writes = _Reads(chip=chip), _Writes(chip=chip)
    stand_ins = {"ReadEngine": lambda **_: reads, "WriteEngine": lambda **_: writes}
    with patch.dict(MemoryNode.elaborate.__globals__, stand_ins):
        inside = Inside(m, "dut", dut)
    clear = h.free(1, "clear")
    m.d.comb += [dut.clear.eq(clear), dut.node.eq(2)]
    h.drive(reads.load.ready, writes.packet.ready, writes.ack.valid, writes.ack.payload, reads.error, writes.error)
    h.assume(keeps(h, "ack", valid=writes.ack.valid, ready=writes.ack.ready, payload=writes.ack.payload))

    # Requests: packets of any kind and length.
    flit, header = dut.request_in.payload, dut.request_in.payload.header
    inner, last, kind, data = Signal(), h.free(1, "last"), Signal(3), h.free(2, "data")
    h.drive(dut.request_in.valid)
    m.d.comb += [
        flit.first.eq(~inner),
        flit.last.eq(last),
        flit.data.eq(Cat(Const(0, 60), data)),
        header.kind.eq(h.free(3, "kind")),
        header.addr.eq(h.free(2, "addr")),
    ]
    kept = keeps(h, "request", valid=dut.request_in.valid, ready=dut.request_in.ready, payload=Cat(flit.as_value()))
    h.assume(kept)
    now = Mux(inner, kind, Value.cast(header.kind))
    asked, taken = dut.request_in.valid, dut.request_in.valid & dut.request_in.ready
    count, before = Signal(2), Signal(2)
    with m.If(taken):
        m.d.sync += [
            inner.eq(~last),
            kind.eq(now),
            before.eq(data),
            count.eq(Mux(last, 0, Mux(count == 3, 3, count + 1))),
        ]
    is_write, is_read = now == int(Kind.WRITE), now == int(Kind.READ)
    h.always(SPLIT, writes.packet.valid == (asked & is_write))
    h.always(SPLIT, ~asked | ~is_write | (writes.packet.payload.as_value() == flit.as_value()))
    h.always(SPLIT, ~(asked & is_write) | (taken == writes.packet.ready))
    complete = asked & is_read & last & (count == 1)
    h.always(SPLIT, Mux(reads.load.valid, asked & is_read & last & (count != 0), ~complete))
    whole = Cat(Const(0, 60), before, Const(0, 66), Const(0, 60), data, Const(0, 66))
    h.always(SPLIT, ~complete | ((reads.load.payload.as_value() == whole) & (taken == reads.load.ready)))
    wrong = asked & ~is_write & (~is_read | (last & (count == 0)) | (~last & (count == 1)))
    h.always(WRONG, ~h.past(wrong & ~clear, "wrong") | (dut.error == int(ErrorCode.ILLEGAL_FIELD)))
    cleared = h.past(clear, "cleared")
    h.always(WRONG, ~cleared | (dut.error == Mux(reads.error != 0, reads.error, writes.error)))

    # Responses: DATA packets whole, an acknowledgement between two of them.
    data_flit, out = reads.data.payload, dut.response_out.payload
    middle, data_last, word = Signal(), h.free(1, "data_last"), h.free(2, "word")
    h.drive(reads.data.valid, dut.response_out.ready)
    m.d.comb += [data_flit.first.eq(~middle), data_flit.last.eq(data_last), data_flit.data.eq(word)]
    kept = keeps(
        h, "data", valid=reads.data.valid, ready=reads.data.ready, payload=Cat(data_flit.first, data_last, word)
    )
    h.assume(kept | cleared)
    h.assume(~clear | ~reads.data.valid)
    passes, acked = reads.data.valid & reads.data.ready, writes.ack.valid & writes.ack.ready
    with m.If(passes):
        m.d.sync += middle.eq(~data_last)
    with m.If(clear):
        m.d.sync += middle.eq(0)
    sent = dut.response_out.valid & dut.response_out.ready
    payload = Cat(out.first, out.last, out.data[:2], out.header.dest, out.header.kind)
    kept = keeps(h, "out", valid=dut.response_out.valid, ready=dut.response_out.ready, payload=payload)
    h.always(STAYS, kept | clear)
    is_ack = out.first & out.last & (out.header.kind == Kind.ACK) & (out.header.flits == 1) & (out.header.src == 2)
    to = (1 << writes.ack.payload)[: chip.n_nodes]
    h.always(MERGED, ~(passes & acked) | clear)
    h.always(MERGED, clear | (sent == (passes | acked)))
    h.always(MERGED, ~clear | ~dut.response_out.valid)
    h.always(MERGED, clear | ~acked | (is_ack & (out.header.dest == to) & ~middle))
    h.always(MERGED, ~(passes & sent) | (out.as_value() == data_flit.as_value()))

    (kept_kind,), (position,) = inside.nameless(3), inside.nameless(2)
    h.invariant(~inner | (kept_kind == kind))
    h.invariant(~(inner & (kind == int(Kind.READ))) | (position == 1))
    h.invariant((count == 0) == ~inner)
    h.invariant(~middle | inside.signal("in_packet"))
    h.invariant(~(inner & (kind == int(Kind.READ)) & (count == 1)) | (inside.signal("collected")[128:] == whole[:128]))
    h.cover("an acknowledgement waits for the end of a packet", middle & writes.ack.valid & passes & data_last)
    h.cover("a LOAD", reads.load.valid & reads.load.ready & (before != data))
    return h


def _node(old: str, new: str) -> Bug:
    return Bug("rtl.dram.memory_node", old, new)


def _write(old: str, new: str) -> Bug:
    return Bug("rtl.dram.memory_write", old, new)


def _read(old: str, new: str) -> Bug:
    return Bug("rtl.dram.memory_read", old, new)


_WRITE_BUGS = {
    BURSTS: [_write("| (header.addr[byte_bits:page_bits] + header.flits > 1 << page_bits - byte_bits)", "")],
    STAYS: [
        _write("aw_free.eq(~axi.awvalid | axi.awready)", "aw_free.eq(1)"),
        _write("w_free.eq(~axi.wvalid | axi.wready)", "w_free.eq(~axi.wvalid | axi.awready)"),
    ],
    BEATS: [
        _write("axi.wlast.eq(header.flits == 1)", "axi.wlast.eq(0)"),
        _write("self.clear & w_free & (beats_left != 0)", "self.clear & (beats_left != 0)"),
    ],
    LIMIT: [_write("(aw_free & w_free & sources.i.ready)", "(aw_free & w_free)")],
    WRITTEN: [
        _write("                strobe.eq(strobe_now),", "                strobe.eq(-1),"),
        _write("axi.awlen.eq(header.flits - 1)", "axi.awlen.eq(header.flits)"),
        _write("dropping.eq((fault != 0) & ~flit.last)", "dropping.eq(0)"),
    ],
    REFUSED: [_write("with m.Elif(self.error == 0):", "with m.Else():")],
    ACKED: [
        _write("with m.If(axi.bvalid & ~acked):", "with m.If(axi.bvalid):"),
        _write("sources.i.payload.eq(header.src)", "sources.i.payload.eq(header.src & 1)"),
    ],
    IDLE: [_write("& (beats_left == 0) & ~sources.o.valid", "& (beats_left == 0)")],
    CLEARED: [_write("m.d.sync += axi.wstrb.eq(0)", "m.d.sync += axi.wstrb.eq(strobe)")],
}
_READ_BUGS = {
    QUEUED: [_read("self.load.valid & ~discard & ~is_program", "self.load.valid & ~is_program")],
    DROPPED: [
        _read("illegal = (load.runs == 0) |", "illegal ="),
        _read("with m.Elif(self.error == 0):", "with m.Else():"),
    ],
    ASKED: [
        _read("flits_left.eq(flits_left - beats)", "flits_left.eq(flits_left)"),
        _read("source.token_valid & end_of_load", "source.token_valid & end_of_run"),
        _read("program.dst.eq(program.dst + beats)", "program.dst.eq(program.dst)"),
    ],
    FIRST: [
        _read(
            "with m.If(program_active):\n            m.d.comb += [\n                source",
            "with m.If(program_active & ~active):\n            m.d.comb += [\n                source",
        )
    ],
    HALTED: [_read("& ~self.halt & ~self.clear),", "& ~self.clear),")],
    BURSTS: [
        _read("Mux(to_page_end < chip.max_packet_flits, to_page_end, chip.max_packet_flits)", "chip.max_packet_flits")
    ],
    STAYS: [_read("notes.i.ready & (~axi.arvalid | axi.arready)", "notes.i.ready")],
    LIMIT: [_read("notes.i.ready & (~axi.arvalid", "(~axi.arvalid")],
    PASSED: [
        _read("first.eq(axi.rlast)", "first.eq(0)"),
        _read("axi.rvalid & axi.rready & axi.rlast)", "axi.rvalid & axi.rready & first)"),
    ],
    IDLE: [_read("| notes.o.valid)", ")")],
    CLEARED: [_read("& ~self.halt & ~self.clear),", "& ~self.halt),")],
}
_NODE_BUGS = {
    SPLIT: [
        _node("Mux(flit.first, flit.header.kind, kind)", "flit.header.kind"),
        _node("m.d.sync += collected.eq(whole)", "m.d.sync += collected.eq(flit.data)"),
    ],
    WRONG: [_node("fault.eq(flit.last | complete)", "fault.eq(flit.last)")],
    STAYS: [
        _node(
            "in_packet.eq(~(response.ready & read.data.payload.last))",
            "in_packet.eq(response.ready & ~read.data.payload.last)",
        )
    ],
    MERGED: [
        _node("send_ack.eq(write.ack.valid & ~in_packet)", "send_ack.eq(write.ack.valid)"),
        _node("read.data.ready.eq(~send_ack & response.ready)", "read.data.ready.eq(response.ready)"),
    ],
}
PROOFS = [
    Proof("WriteEngine, 2 bursts under way", write, 1, _WRITE_BUGS, bug_steps=8, quick=False),
    Proof("MemoryNode, split and merge", node, 1, _NODE_BUGS, bug_steps=6, quick=False),
    Proof("ReadEngine, 2 bursts under way", read, 1, _READ_BUGS, bug_steps=8, quick=False),
]
