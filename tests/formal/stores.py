"""Proofs of the store unit: what it promises its parts, the packets that it cuts, and the entries that it reads."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import data as layouts

from rtl.contract.isa import Opcode
from rtl.contract.params import CoreParams
from rtl.core.drain import Drain
from rtl.core.postproc import MIN_SWAP_CYCLES, PostProcessor
from rtl.core.store import Packets, Store, job_layout
from rtl.lib.fifo import Fifo
from rtl.noc.flit import Kind
from tests.formal.harness import Harness, Inside, keeps, source
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

STAYS = "an offered word stays"
CUT = "a packet has as many flits as its header says, at most the limit, within 4 KB of memory"
ALL_OF_IT = (
    "a job's packets hold its flits, each once, at consecutive addresses, with its header; the token is in the last"
)
KEPT_BACK = "no packet begins while that is held, but for the one that had begun"
COUNTED = "busy while a flit is missing, and told of each WRITE packet once"

PIXELS = "a job takes its pixels, the last of them marked, and busy is until then; each comes out in the next cycle"
LINEAR = "a job that is not pooled reads consecutive entries, each once"
HELD = "nothing is read without room, and the last step waits as long as it is held"
WINDOWS = "a pooled job reads the entries of its windows that lie in the map, in order, and nothing else"

BUFFERED = "a flit that leaves post-processing always finds room"
IDLE = "not busy means that nothing is under way, and nothing comes before the next instruction"
OUTSTANDING = "what is outstanding is the WRITE packets sent less the acknowledgements"
SWAPS = "parameters are swapped no sooner than post-processing allows, and not loaded too soon behind a swap"
TABLE = "the table is not written while a flit is under way in post-processing"
REFUSED = "an error stays, and stops the unit"


def packets(*, multicast: bool = False) -> Harness:
    """Links of 4 bytes, packets of at most 8 flits, two cores with planar steps of 4; jobs perhaps for both cores."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 1, 1)
    dut = Packets(chip=chip, lanes=4, multicast=multicast)
    layout = job_layout(multicast=multicast)

    def cores_of(word: Any) -> Any:
        """The set of cores that a job names, and whether they exist."""
        if not multicast:
            return 1 << word.core[:1], word.core < 2
        return Cat(word.core == 0, word.last == 1), (word.core <= word.last) & (word.last < 2)

    inside = Inside(m, "dut", dut)
    job, out = dut.job.payload, dut.o.payload
    header = out.header
    m.d.comb += dut.node.eq(1)
    h.drive(dut.o.ready, dut.hold)
    source(h, "job", dut.job)
    source(h, "flit", dut.flit)
    h.assume((job.flits != 0) & (job.lane_offset < 4) & cores_of(job)[1] & (job.memory == 0))
    h.assume(job.to_core | (job.addr[:2] == 0))
    accept, fired = dut.job.valid & dut.job.ready, dut.o.valid & dut.o.ready
    begins = fired & out.first
    h.always(STAYS, keeps(h, "o", valid=dut.o.valid, ready=dut.o.ready, payload=out))

    # Flits of all jobs, and of the packet under way.
    owed, inner = Signal(16), Signal(4)
    m.d.sync += owed.eq(owed + Mux(accept, job.flits, 0) - fired)
    with m.If(fired):
        m.d.sync += inner.eq(Mux(out.first, header.flits - 1, inner - 1))
    h.always(CUT, ~dut.o.valid | (out.first == (inner == 0)))
    h.always(CUT, ~dut.o.valid | (out.last == Mux(out.first, header.flits == 1, inner == 1)))
    whole = (header.kind != Kind.WRITE) | ((header.addr[2:12] + header.flits <= 1024) & (header.addr[:2] == 0))
    h.always(CUT, ~(dut.o.valid & out.first) | (whole & (header.flits != 0) & (header.flits <= 8)))
    h.always(COUNTED, dut.busy == (owed != 0))
    h.always(COUNTED, ~dut.o.valid | ((owed != 0) & dut.flit.valid))
    h.always(COUNTED, (dut.flit.valid & dut.flit.ready) == fired)
    h.always(COUNTED, dut.write_sent == (begins & (header.kind == Kind.WRITE)))
    may_begin = Signal()  # since the packet in front did
    m.d.sync += may_begin.eq(~dut.hold | (may_begin & ~begins))
    h.always(KEPT_BACK, ~(dut.o.valid & out.first) | may_begin)

    # One job is followed, any one: flits in front of it, its own that are missing, its next packet's address.
    start, followed, word = h.free(1, "start"), Signal(), Signal(layout, name="word")
    ahead, missing, at = Signal(16), Signal(13), Signal(32)
    follows = accept & start & ~followed
    mine = followed & (ahead == 0)

    def step(flits: Value) -> Value:
        return Mux(word.to_core, Mux(word.planar, flits << 2, flits), flits << 2)

    with m.If(follows):
        m.d.sync += [followed.eq(1), word.eq(job), ahead.eq(owed - fired), missing.eq(job.flits), at.eq(job.addr)]
    with m.Elif(fired & mine):
        m.d.sync += [missing.eq(missing - 1), followed.eq(missing != 1)]
        with m.If(out.first):
            m.d.sync += at.eq(at + step(header.flits))
    with m.Elif(fired & followed):
        m.d.sync += ahead.eq(ahead - 1)
    same = ("space", "planar", "traffic", "lane_offset", "lanes", "token")
    offered = dut.o.valid & mine
    to = Mux(word.to_core, cores_of(word)[0], 0b100)
    last = header.flits == missing
    checks = [
        header.addr == at,
        header.flits <= missing,
        header.dest == to,
        header.src == 1,
        header.kind == Mux(word.to_core, Kind.DATA, Kind.WRITE),
        header.token_valid == (word.token_valid & last),
        *(Value.cast(header[name]) == Value.cast(word[name]) for name in same),
    ]
    h.always(ALL_OF_IT, ~(offered & out.first) | Cat(*(one.bool() for one in checks)).all())
    lanes = Cat(Const(0, 3), word.lane_offset[:2])
    h.always(ALL_OF_IT, ~offered | ((missing != 0) & (out.data == (dut.flit.payload << lanes)[:32])))

    # Invariants: where the followed job's flits are.
    rest, head = layouts.View(layout, inside.signal("rest")), layouts.View(header.shape(), inside.signal("head"))
    rest_valid, head_valid, left = (inside.signal(name) for name in ("rest_valid", "head_valid", "left"))
    cut = rest_valid & (~head_valid | begins) & ~dut.hold
    in_rest, in_head, in_left = (Signal(name=f"in_{part}") for part in ("rest", "head", "left"))
    unfinished = ~inside.signal("final")
    with m.If(follows):
        m.d.sync += in_rest.eq(1)
    with m.Elif(cut):
        m.d.sync += in_rest.eq(in_rest & unfinished)
    with m.If(cut):
        m.d.sync += in_head.eq(in_rest)
    with m.Elif(begins):
        m.d.sync += in_head.eq(0)
    with m.If(fired):
        m.d.sync += in_left.eq(Mux(out.first, in_head & (header.flits != 1), in_left & (inner != 1)))
    rest_flits, head_flits = Mux(rest_valid, rest.flits, 0), Mux(head_valid, head.flits, 0)
    h.invariant((owed == rest_flits + head_flits + left) & (inner == left))
    h.invariant(~head_valid | may_begin)
    h.invariant(~rest_valid | (rest.flits != 0))
    h.invariant(~rest_valid | ((rest.lane_offset < 4) & cores_of(rest)[1] & (rest.memory == 0)))
    h.invariant(~rest_valid | rest.to_core | (rest.addr[:2] == 0))
    within = (head.kind != Kind.WRITE) | ((head.addr[2:12] + head.flits <= 1024) & (head.addr[:2] == 0))
    h.invariant(~head_valid | (within & (head.flits != 0) & (head.flits <= 8)))
    h.invariant((followed == (in_rest | in_head | in_left)) & (left <= 7))
    h.invariant((~in_rest | rest_valid) & (~in_head | head_valid) & (~in_left | (left != 0)))
    h.invariant(~(in_rest & in_left & head_valid) | in_head)
    h.invariant(
        ~followed | (missing == Mux(in_rest, rest.flits, 0) + Mux(in_head, head.flits, 0) + Mux(in_left, left, 0))
    )
    in_front = Mux(in_left, 0, left + Mux(in_head | ~in_rest, 0, head_flits))
    h.invariant(~followed | (ahead == in_front))
    h.invariant(~(in_left & ~in_head & head_valid) | ~in_rest)
    fields = [name for name, _ in layout if name not in {"addr", "flits"}]
    equal = Cat(Value.cast(rest[name]) == Value.cast(word[name]) for name in fields).all()
    behind = (at + Mux(in_head, step(head.flits), 0))[:32]
    h.invariant(~in_rest | (equal & (rest.addr == behind)))
    found = [
        head.addr == at,
        head.dest == to,
        head.src == 1,
        head.kind == Mux(word.to_core, Kind.DATA, Kind.WRITE),
        head.token_valid == (word.token_valid & ~in_rest),
        *(Value.cast(head[name]) == Value.cast(word[name]) for name in same),
    ]
    h.invariant(~in_head | Cat(*(one.bool() for one in found)).all())
    h.invariant(~in_left | (inside.signal("offset") == word.lane_offset))
    h.invariant(~followed | ((word.lane_offset < 4) & cores_of(word)[1] & (word.memory == 0)))
    h.invariant(~followed | word.to_core | (word.addr[:2] == 0))
    h.cover(
        "a job's second packet begins behind a boundary of 4 KB", begins & mine & (at[:12] == 0) & (at != word.addr)
    )
    if multicast:
        h.cover("a packet to both cores", begins & mine & (header.dest == 0b11))
    h.cover("a packet follows one of another job at once", h.past(fired & out.last & ~mine, "ended") & begins & mine)
    return h


def _pool(h: Harness, pool: Any) -> None:
    """A POOL that the store unit takes, of small maps: kernels and strides up to 3, maps up to 7."""
    names = ("kernel_h", "kernel_w", "stride_h", "stride_w")
    fields = {name: h.free(2, name) for name in names} | {name: h.free(3, name) for name in ("in_h", "in_w", "out_w")}
    pads = {name: h.free(2, name) for name in ("pad_top", "pad_left")}
    h.m.d.comb += [pool[name].eq(value) for name, value in (fields | pads).items()]
    h.assume(Cat(value != 0 for value in fields.values()).all())
    h.assume((pads["pad_top"] < fields["kernel_h"]) & (pads["pad_left"] < fields["kernel_w"]))


def drain() -> Harness:
    """4 columns, 32 entries; jobs of all lengths, pools of small maps."""
    h = Harness()
    m = h.m
    core = CoreParams(rows=4, cols=4, acc_entries=32)
    dut = Drain(core=core, link_bytes=4)
    inside = Inside(m, "dut", dut)
    job = dut.job
    h.drive(dut.pool_valid, dut.start, job, dut.go, dut.hold, dut.acc.ready)
    _pool(h, dut.pool)
    h.assume(~dut.start | ((job.pixels != 0) & (~dut.busy | dut.last) & (~job.pooled | dut.has_pool)))
    read = dut.acc.valid & dut.acc.ready
    missing, number, base, pooled = Signal(13), Signal(5), Signal(5), Signal()
    with m.If(dut.taken):
        m.d.sync += [missing.eq(missing - 1), number.eq(number + 1)]
    with m.If(dut.start):
        m.d.sync += [missing.eq(job.pixels), number.eq(0), base.eq(job.base), pooled.eq(job.pooled)]
    h.always(PIXELS, (dut.busy == (missing != 0)) & (dut.last == (dut.taken & (missing == 1))))
    h.always(PIXELS, ~dut.taken | (missing != 0))
    h.always(PIXELS, dut.o_valid == h.past(dut.taken, "took"))
    linear = dut.busy & ~pooled
    h.always(LINEAR, ~linear | ((dut.taken == read) & (~dut.acc.valid | (dut.acc.addr == (base + number)[:5]))))
    h.always(LINEAR, ~linear | (dut.acc.valid == (dut.go & ~(dut.hold & (missing == 1)))))
    h.always(HELD, ~dut.hold | ~dut.last)
    h.always(HELD, dut.go | ~(dut.taken | dut.acc.valid))
    h.always(HELD, dut.busy | ~(dut.taken | dut.acc.valid))
    h.invariant(inside.signal("pooled") == pooled)
    h.invariant(~dut.busy | (inside.signal("left") == missing))
    h.invariant(~linear | (inside.signal("entry") == (base + number)[:5]))
    h.cover("a job follows at once", h.past(dut.last & dut.start, "both") & read & (missing == 2))
    h.cover("a pixel of a window of two", dut.taken & pooled & h.past(dut.busy & pooled & ~dut.taken & dut.go, "tap"))
    return h


def windows() -> Harness:
    """As above, but every job is pooled, by one POOL that comes first; sums of products say where each tap lies."""
    h = Harness()
    m = h.m
    dut = Drain(core=CoreParams(rows=4, cols=4, acc_entries=32), link_bytes=4)
    m.submodules.dut = dut
    begun, running = Signal(), Signal()
    m.d.sync += begun.eq(1)
    pool = Signal(dut.pool.shape())
    _pool(h, dut.pool)
    with m.If(~begun):
        m.d.sync += pool.eq(dut.pool)
    base, pixels = h.constant(5, "base"), h.constant(3, "pixels")
    start = begun & ~running
    m.d.sync += running.eq(begun)
    h.drive(dut.go, dut.acc.ready)
    h.assume(pixels != 0)
    m.d.comb += [
        dut.pool_valid.eq(~begun),
        dut.start.eq(start),
        dut.job.base.eq(base),
        dut.job.pixels.eq(pixels),
        dut.job.pooled.eq(1),
    ]
    oy, ox, ky, kx = (Signal(4, name=name) for name in ("oy", "ox", "ky", "kx"))
    iy, ix = Signal(8), Signal(8)
    entry = Signal(5)
    m.d.comb += [
        iy.eq(oy * pool.stride_h + ky - pool.pad_top),
        ix.eq(ox * pool.stride_w + kx - pool.pad_left),
        entry.eq(base + iy.as_signed() * pool.in_w + ix.as_signed()),
    ]
    within = (iy < pool.in_h) & (ix < pool.in_w)
    moves = dut.busy & dut.go & (dut.acc.ready | ~within)
    last_x, last_y = kx + 1 == pool.kernel_w, ky + 1 == pool.kernel_h
    with m.If(moves):
        m.d.sync += kx.eq(Mux(last_x, 0, kx + 1))
        with m.If(last_x):
            m.d.sync += ky.eq(Mux(last_y, 0, ky + 1))
            with m.If(last_y):
                m.d.sync += ox.eq(Mux(ox + 1 == pool.out_w, 0, ox + 1))
                with m.If(ox + 1 == pool.out_w):
                    m.d.sync += oy.eq(oy + 1)
    h.always(WINDOWS, dut.acc.valid == (dut.busy & dut.go & within))
    h.always(WINDOWS, ~dut.acc.valid | (dut.acc.addr == entry))
    h.always(WINDOWS, dut.taken == (moves & last_x & last_y))
    h.cover("the first tap of the second row of windows", dut.acc.valid & (oy == 1) & (ky == 0) & (kx == 0) & (ox == 0))
    return h


def store() -> Harness:
    """4 columns and links of 64 bytes, so that a group's parameters are one flit; instructions of all kinds."""
    h = Harness()
    m = h.m
    chip = small_chip(1, 1, 1, link_bytes=64)
    core = CoreParams(rows=4, cols=4, acc_entries=32, param_blocks=32)
    dut = Store(core=core, chip=chip)
    parts: dict[type, list[Any]] = {kind: [] for kind in (Fifo, Drain, PostProcessor)}

    def recorded(kind: type) -> Any:
        def made(**parameters: Any) -> Any:
            parts[kind].append(kind(**parameters))
            return parts[kind][-1]

        return made

    with patch.dict(Store.elaborate.__globals__, {kind.__name__: recorded(kind) for kind in parts}):
        inside = Inside(m, "dut", dut)
    (buffer, jobs), (drained,), (post,) = parts.values()
    waits = source(h, "instruction", dut.instruction)
    opcode = dut.instruction.payload[:4]
    h.assume((opcode == int(Opcode.STORE)) | (opcode == int(Opcode.POOL)) | (opcode == int(Opcode.TABLE)))
    h.drive(dut.acc.ready, dut.o.ready, dut.signal.ready, dut.ack)
    h.assume(~dut.ack | (dut.outstanding != 0))
    m.d.comb += dut.node.eq(0)

    in_post, arriving_last = inside.signal("valid", "post"), inside.signal("arriving_last", "drain")
    under_way = sum(in_post[i] for i in range(4)) + (drained.arriving & arriving_last)
    credits = inside.signal("credits")
    h.always(BUFFERED, ~buffer.i.valid | buffer.i.ready)
    h.invariant(credits + buffer.level + under_way == 8)
    h.invariant(~(drained.arriving & ~arriving_last) | drained.busy)
    quiet = ~(dut.o.valid | dut.signal.valid | dut.acc.valid | drained.arriving | post.busy | buffer.o.valid)
    h.always(IDLE, dut.busy | quiet)
    h.always(IDLE, dut.busy | (h.past(dut.busy, "was_busy") | ~h.past(quiet, "was_quiet")) | quiet)

    sent = dut.o.valid & dut.o.ready & dut.o.payload.first & (dut.o.payload.header.kind == Kind.WRITE)
    expected = Signal(16)
    m.d.sync += expected.eq(expected + sent - dut.ack)
    h.always(OUTSTANDING, dut.outstanding == expected)

    since = Signal(4, init=8)  # cycles since the last swap
    m.d.sync += since.eq(Mux(post.swap, 1, Mux(since == 8, 8, since + 1)))
    h.always(SWAPS, ~post.swap | (since >= MIN_SWAP_CYCLES))
    h.always(SWAPS, ~post.load | (since >= 2))
    h.always(SWAPS, ~(post.load & post.swap))
    index, loaded = inside.signal("index", width=4), inside.signal("loaded")
    h.invariant((since != 0) & (since <= 8) & (index <= 4) & (loaded == (index == 4)))
    h.invariant((since == 8) | (index < since))
    checked = inside.signal("checked")
    h.invariant((dut.error == 0) | ~checked)
    h.invariant(~checked | (waits & (opcode != int(Opcode.POOL))))
    h.invariant((index == 0) | (checked & (opcode == int(Opcode.STORE))))
    h.invariant(~post.load | (index == 1) | (index == 2) | ((index == 0) & (since > 2)))
    h.invariant((since != 1) | drained.busy)
    h.always(TABLE, ~post.table_write | ~(post.busy | post.valid))
    error = h.past(dut.error, "error")
    h.always(REFUSED, (error == 0) | ((dut.error == error) & ~dut.instruction.ready))
    h.cover("all credits are out", credits == 0)
    h.cover("a swap as early as the unit makes it", post.swap & (since == MIN_SWAP_CYCLES + 1))
    h.cover("a packet leaves, a job waits", dut.o.valid & dut.o.ready & jobs.o.valid)
    return h


def _store(old: str, new: str) -> Bug:
    return Bug("rtl.core.store", old, new)


def _drain(old: str, new: str) -> Bug:
    return Bug("rtl.core.drain", old, new)


_PACKET_BUGS = {
    STAYS: [_store("with m.If(rest_valid & (~head_valid | head_taken) & ~self.hold):", "with m.If(rest_valid):")],
    CUT: [
        _store("with m.If(~rest.to_core & (page_left < chip.max_packet_flits)):", "with m.If(0):"),
        _store("Mux(first, head.flits == 1, left == 1)", "left == 1"),
    ],
    KEPT_BACK: [_store("(~head_valid | head_taken) & ~self.hold", "(~head_valid | head_taken)")],
    COUNTED: [
        _store("rest_valid | head_valid | (left != 0)", "head_valid | (left != 0)"),
        _store("head_taken & (head.kind == Kind.WRITE)", "head_valid & (head.kind == Kind.WRITE)"),
    ],
    ALL_OF_IT: [
        _store("Mux(rest.to_core, core_step, length << flit_bits)", "Mux(rest.to_core, core_step, length)"),
        _store("head.token_valid.eq(rest.token_valid & final)", "head.token_valid.eq(rest.token_valid)"),
        _store("Mux(first, head.lane_offset, offset)", "head.lane_offset"),
    ],
}
_MULTICAST_BUGS = {
    ALL_OF_IT: [
        *_PACKET_BUGS[ALL_OF_IT],
        Bug("rtl.lib.bits", "(first <= core) & (last >= core)", "(first == core)"),
        Bug("rtl.lib.bits", "(first <= core) & (last >= core)", "(last >= core)"),
    ]
}
_DRAIN_BUGS = {
    PIXELS: [
        _drain("with m.If(left == 1):", "with m.If(self.job.pixels == 1):"),
        _drain("self.o_valid.eq(self.arriving & arriving_last)", "self.o_valid.eq(self.arriving)"),
    ],
    LINEAR: [_drain("step.eq(allowed & (self.acc.ready | ~inside))", "step.eq(allowed)")],
    HELD: [
        _drain("self.busy & self.go & ~(self.hold & final)", "self.busy & self.go"),
        _drain("self.busy & self.go & ~(self.hold & final)", "self.busy & ~(self.hold & final)"),
    ],
}
_WINDOW_BUGS = {
    WINDOWS: [
        _drain(
            "value.eq(line + geometry.in_w) for value in (entry, line)",
            "value.eq(entry + geometry.in_w) for value in (entry, line)",
        ),
        _drain("(ix >= 0) & (ix < geometry.in_w)", "(ix < geometry.in_w)"),
        _drain("value.eq(y0 + geometry.stride_h)", "value.eq(y0 + geometry.stride_w)"),
    ]
}
_STORE_BUGS = {
    BUFFERED: [_store("drain.go.eq(credits != 0)", "drain.go.eq(1)")],
    IDLE: [_store("packets.busy | sender.busy", "packets.busy")],
    OUTSTANDING: [_store("with m.If(packets.write_sent & ~self.ack):", "with m.If(packets.write_sent):")],
    SWAPS: [_store("max(post.param_flits, MIN_SWAP_CYCLES - 2)", "post.param_flits")],
    TABLE: [_store("~drain.busy & ~drain.arriving & ~post.busy", "~drain.busy & ~post.busy")],
    REFUSED: [_store("self.error.eq(code), checked.eq(code == 0)", "self.error.eq(code), checked.eq(1)")],
}
PROOFS = [
    Proof("Packets of the store unit", packets, 1, _PACKET_BUGS, bug_steps=8, quick=False),
    Proof(
        "Packets of the store unit, to several cores",
        lambda: packets(multicast=True),
        1,
        _PACKET_BUGS | _MULTICAST_BUGS,
        bug_steps=8,
        quick=False,
    ),
    Proof("Drain", drain, 1, _DRAIN_BUGS, bug_steps=6, quick=False),
    Proof("Drain, pooled", windows, 9, _WINDOW_BUGS, induction=False, bug_steps=9, quick=False),
    Proof("Store", store, 1, _STORE_BUGS, bug_steps=21, quick=False),
]
