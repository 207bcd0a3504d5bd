"""Proofs of what the three units of a core share: issue, signals and LOAD packets."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Mux, Signal, Value
from amaranth.lib import data
from amaranth.utils import exact_log2

from rtl.contract import isa
from rtl.contract.isa import Opcode, Space, Unit
from rtl.contract.regs import ErrorCode, UnitState
from rtl.core.issue import Issue
from rtl.core.load import Load
from rtl.core.signals import SIGNAL, SignalRouter, SignalSender
from rtl.noc.flit import Kind
from tests.formal.harness import Harness, Inside, keeps, source
from tests.formal.prover import Bug, Proof
from tests.unit.rtl.noc.noc_models import small_chip

__all__ = ["PROOFS"]

STAYS = "an offered word stays"
ONCE = "each instruction goes to the unit once, in order and unchanged; END and SYNC do not"
TOKENS = "an instruction leaves its queue in the cycle in which all its tokens are taken, and none are taken otherwise"
DONE_BEFORE = "END, SYNC and fences wait for the unit, its signals and, where they must, its writes"
ENDED = "behind END nothing is issued"
HALTED = "nothing is issued while halted"
REFUSED = "an illegal instruction is never issued; it stops the unit, and its error stays"
MARKED = "a SYNC tells its mark, if it has one, in the cycle in which it executes, and nothing else tells any"
SENT = "the signals of a SYNC come after it, each once, lowest first, and nothing else is sent"

EACH_ONCE = "each valid signal of an instruction is sent once, lowest first, and no other"
ON_ITS_WAY = "a taken signal reaches its own counter at once, or another core's packet in the next cycle"
INDEPENDENT = "own signals do not wait for the network"
LOWEST = "the lowest source of its kind goes first"
ONE_PACKET = "each LOAD is one packet: its words in order, and it leaves with the last of them"
ADDRESSED = "the packet says READ, goes to the LOAD's memory node, and says whose it is"

LEGAL = {
    Unit.LOAD: (Opcode.END, Opcode.SYNC, Opcode.LOAD),
    Unit.COMPUTE: (Opcode.END, Opcode.SYNC, Opcode.SETUP, Opcode.COMPUTE),
    Unit.STORE: (Opcode.END, Opcode.SYNC, Opcode.STORE, Opcode.POOL, Opcode.TABLE),
}
SIGNALLING = (Opcode.SYNC, Opcode.COMPUTE, Opcode.STORE, Opcode.TABLE)


def _one_of(opcode: Value, codes: tuple[Opcode, ...]) -> Value:
    return Cat(opcode == int(code) for code in codes).any()


def _lowest(pending: Value) -> Value:
    return pending & (~pending + 1)[: len(pending)]


def _signal_model(h: Harness, fire: Value, signals: data.View, sink: Any) -> tuple[Value, Value, Value]:
    """What is to be sent: which signals of which fields; and whether exactly that is offered."""
    pending, held = Signal(3, name="to_send"), Signal(isa.Signals, name="to_send_fields")
    with h.m.If(fire):
        h.m.d.sync += [pending.eq(Cat(signals[f"signal{i}_valid"] for i in range(3))), held.eq(signals)]
    with h.m.Elif(sink.valid & sink.ready):
        h.m.d.sync += pending.eq(pending & ~_lowest(pending))
    first = _lowest(pending)
    expected = [Cat(held[f"signal{i}_token"], held[f"signal{i}_core"]) for i in range(3)]
    payload = reduce(or_, (Mux(first[i], expected[i], 0) for i in range(3)))
    h.cover("three signals, the last one goes", (pending == 4) & sink.valid & sink.ready & held.signal0_valid)
    offered = (sink.valid == pending.any()) & (~pending.any() | (sink.payload.as_value() == payload))
    return pending, held.as_value(), offered


def _same_signals(h: Harness, inside: Inside, to_send: Value, fields: Value, *path: str) -> None:
    pending, held = inside.signal("pending", *path), Value.cast(inside.signal("held", *path))
    h.invariant((pending == to_send) & ((pending == 0) | (held == fields)))


def issue(unit: Unit, marks: int = 0) -> Harness:
    """16 tokens, two cores; tokens, unit and network do anything. What issue does not read has 2 bits."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 1, 1, tokens=16)
    dut = Issue(chip=chip, unit=unit, marks=marks)
    inside = Inside(m, "dut", dut)
    state = dut.state
    grant = h.free(1, "grant")
    h.drive(dut.o.ready, dut.nonzero, dut.signal.ready, dut.idle, dut.drained, dut.halt)
    m.d.comb += dut.take.grant.eq(dut.take.valid & grant)
    word = dut.i.payload
    fields = isa.Sync["fence"].offset + 1 + (isa.MARK_BITS if marks else 0)
    mark = word[isa.Sync["mark"].offset :][: isa.MARK_BITS]
    m.d.comb += word.eq(Cat(h.free(fields, "fields"), Const(0, len(word) - fields - 2), h.free(2, "rest")))
    waited = source(h, "queue", dut.i, drive_payload=False)

    prefix = data.View(isa.Prefix, word[: isa.Prefix.size])
    signals = data.View(isa.Signals, word[isa.Prefix.size :][: isa.Signals.size])
    opcode, fence = word[:4], word[isa.Sync["fence"].offset]
    is_end, is_sync = opcode == int(Opcode.END), opcode == int(Opcode.SYNC)
    issued = dut.i.valid & dut.i.ready
    waits = [(prefix[f"wait{i}_first"], prefix[f"wait{i}_count"]) for i in range(3)]
    ranges = [Cat((first <= t) & (t < first + count) for t in range(chip.tokens)) for first, count in waits]

    h.always(STAYS, keeps(h, "o", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload))
    h.always(STAYS, keeps(h, "signal", valid=dut.signal.valid, ready=dut.signal.ready, payload=dut.signal.payload))

    given, kept = Signal(), Signal(isa.INSTRUCTION_BITS)
    to_unit = issued & ~is_end & ~is_sync
    with m.If(to_unit):
        m.d.sync += [given.eq(1), kept.eq(word)]
    with m.Elif(dut.o.ready):
        m.d.sync += given.eq(0)
    h.always(ONCE, (dut.o.valid == given) & (~given | (dut.o.payload == kept)))
    h.always(ONCE, ~(to_unit & given & ~dut.o.ready))

    h.always(TOKENS, dut.take.grant == issued)
    h.always(TOKENS, ~dut.take.valid | (dut.take.mask == reduce(or_, ranges)))
    h.always(TOKENS, ~dut.take.valid | ((dut.take.mask & ~dut.nonzero) == 0))

    to_send, fields, offered = _signal_model(h, issued & is_sync, signals, dut.signal)
    h.always(SENT, offered)
    quiet = dut.idle & ~dut.o.valid & ~dut.signal.valid
    h.always(DONE_BEFORE, ~(issued & (is_end | is_sync)) | quiet)
    needs_drain = (is_sync & fence) | (is_end if unit == Unit.STORE else 0)
    h.always(DONE_BEFORE, ~(issued & needs_drain) | dut.drained)
    ended = Signal()
    with m.If(issued & is_end):
        m.d.sync += ended.eq(1)
    h.always(ENDED, (dut.ended == ended) & ~(ended & (dut.take.valid | dut.i.ready | dut.o.valid | dut.signal.valid)))
    h.always(HALTED, ~dut.halt | ~(issued | dut.take.valid))

    outside = Cat((count != 0) & (first + count > chip.tokens) for first, count in waits).any()
    names = Cat(
        signals[f"signal{i}_valid"]
        & ((signals[f"signal{i}_token"] >= chip.tokens) | (signals[f"signal{i}_core"] >= chip.n_cores))
        for i in range(3)
    ).any()
    bad_fence = is_sync & fence if unit != Unit.STORE else 0
    unknown = ~_one_of(opcode, LEGAL[unit])
    bad_mark = is_sync & (mark > marks) if marks else 0
    illegal = unknown | outside | (_one_of(opcode, SIGNALLING) & names) | bad_fence | bad_mark
    if marks:
        h.always(MARKED, dut.mark.valid == (issued & is_sync & (mark != 0)))
        h.always(MARKED, ~dut.mark.valid | (dut.mark.entry == mark[: exact_log2(marks)]))
        h.cover("the highest mark", dut.mark.valid & (mark == marks))
    refused = h.past(dut.i.valid & illegal & ~dut.halt & ~dut.i.ready & (state == UnitState.DECODE), "refused")
    h.always(REFUSED, ~(issued & illegal))
    h.always(REFUSED, ~refused | (dut.error != 0))
    h.always(REFUSED, ((error := h.past(dut.error, "error")) == 0) | (dut.error == error))
    h.always(REFUSED, (dut.error == 0) | ~dut.take.valid)
    code = Mux(unknown, int(ErrorCode.ILLEGAL_OPCODE), int(ErrorCode.ILLEGAL_FIELD))
    h.always(REFUSED, (dut.error == 0) | (dut.i.valid & (dut.error == code)))

    waiting = state == UnitState.WAIT
    h.invariant(~waiting | (waited & ~illegal))
    for i, expected in enumerate(ranges):
        h.invariant(~waiting | (inside.signal(f"mask{i}") == expected))
    is_now = Cat(inside.signal(name) for name in ("is_end", "is_sync", "fence"))
    h.invariant(~waiting | (is_now == Cat(is_end, is_sync, fence)))
    h.invariant((state == UnitState.FAILED) == (dut.error != 0))
    h.invariant(~(state == UnitState.FAILED) | (waited & illegal))
    h.invariant(~ended | ~(given | dut.signal.valid))
    _same_signals(h, inside, to_send, fields, "sender")
    h.cover("an instruction waits for the unit while the next one is ready", given & dut.take.valid & dut.i.valid)
    h.cover("END behind an instruction", dut.ended & h.past(dut.i.ready, "just"))
    h.cover(
        "a SYNC with a fence" if unit == Unit.STORE else "a SYNC", issued & is_sync & (fence == int(unit == Unit.STORE))
    )
    return h


def sender() -> Harness:
    """Fires whenever nothing is being sent."""
    h = Harness()
    dut = SignalSender()
    inside = Inside(h.m, "dut", dut)
    h.drive(dut.fire, dut.signals, dut.o.ready)
    h.assume(~dut.fire | ~dut.busy)
    to_send, fields, offered = _signal_model(h, dut.fire, dut.signals, dut.o)
    h.always(EACH_ONCE, offered & (dut.busy == to_send.any()))
    h.always(STAYS, keeps(h, "o", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload))
    _same_signals(h, inside, to_send, fields)
    return h


def signal_router() -> Harness:
    """Three sources, four cores; which one is this core does not change."""
    h = Harness()
    m = h.m
    chip = small_chip(2, 2, 1)
    dut = SignalRouter(chip=chip, n_sources=3)
    m.submodules.dut = dut
    node = h.constant(2, "node")
    m.d.comb += dut.node.eq(node)
    h.drive(dut.o.ready)
    own, others = [], []
    for i, stream in enumerate(dut.i):
        source(h, f"source{i}", stream)
        h.assume(stream.payload.core < chip.n_cores)
        here = stream.payload.core == node
        own.append((stream.valid & here, stream.valid & here & stream.ready, stream.payload.token))
        others.append((stream.valid & ~here, stream.valid & ~here & stream.ready, stream.payload.as_value()))
    increment, packet = dut.increment, dut.o.payload
    for asked, taken in ((Cat(one[k] for one in some) for k in range(2)) for some in (own, others)):
        h.always(LOWEST, (taken == 0) | (taken == _lowest(asked)))
    own_taken, others_taken = (Cat(one[1] for one in some) for some in (own, others))
    h.always(INDEPENDENT, increment.valid == Cat(one[0] for one in own).any())
    h.always(INDEPENDENT, ~increment.valid | own_taken.any())
    for _, taken, token in own:
        h.always(ON_ITS_WAY, ~taken | (increment.valid & (increment.token == token)))
    full, held = Signal(name="expected"), Signal(SIGNAL, name="expected_signal")
    with m.If(dut.o.ready | ~full):
        m.d.sync += full.eq(others_taken.any())
        m.d.sync += held.eq(reduce(or_, (Mux(taken, word, 0) for _, taken, word in others)))
    h.always(ON_ITS_WAY, ~(others_taken.any() & full & ~dut.o.ready))
    h.always(ON_ITS_WAY, (dut.o.valid == full) & (dut.busy == full))
    header = packet.header
    expected = Cat(held.token, 1 << held.core[:2], node, Value.cast(Kind.SIGNAL), 1)
    found = Cat(header.token, header.dest[:4], header.src[:2], Value.cast(header.kind), packet.first & packet.last)
    h.always(ON_ITS_WAY, ~full | ((found == expected) & (header.flits == 1) & (header.dest[4:] == 0)))
    h.always(STAYS, keeps(h, "o", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload))
    h.cover("one to each in a cycle, and a packet leaves", own_taken[2] & others_taken[1] & full & dut.o.ready)
    return h


def load() -> Harness:
    """Links of 4 bytes, so 8 flits a packet; three cores, two memory nodes."""
    h = Harness()
    m = h.m
    chip = small_chip(3, 1, 2, tokens=16)
    dut = Load(chip=chip)
    inside = Inside(m, "dut", dut)
    node = h.constant(2, "node")
    m.d.comb += dut.node.eq(node)
    h.drive(dut.o.ready)
    waited = source(h, "instruction", dut.instruction)
    word = dut.instruction.payload
    field = data.View(isa.Load, word)
    flit, header = dut.o.payload, dut.o.payload.header
    moved = dut.o.valid & dut.o.ready
    sent = Signal(3)
    with m.If(moved):
        m.d.sync += sent.eq(sent + 1)
    h.always(STAYS, keeps(h, "o", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload))
    h.always(ONE_PACKET, ~dut.o.valid | (dut.instruction.valid & (flit.data == word.word_select(sent, 32))))
    h.always(ONE_PACKET, ~dut.o.valid | ((flit.first == (sent == 0)) & (flit.last == (sent == 7))))
    h.always(ONE_PACKET, (dut.instruction.valid & dut.instruction.ready) == (moved & (sent == 7)))
    to = 1 << (chip.n_cores + field.memory[:1])
    h.always(ADDRESSED, ~dut.o.valid | ((header.dest == to) & (header.src == node) & (header.flits == 8)))
    h.always(ADDRESSED, ~dut.o.valid | ((header.kind == Kind.READ) & (header.traffic == field.traffic)))
    traffic = word[isa.Load["traffic"].offset :][:3]
    misaligned = (field.dram_addr & 3) != 0
    illegal = (
        (field.runs == 0)
        | (field.run_flits == 0)
        | (field.memory >= 2)
        | (field.cores == 0)
        | (field.cores >= 8)
        | (field.token_valid & (field.token >= 16))
        | (traffic >= 5)
        | (Value.cast(field.space) >= int(Space.PROGRAM))
    )
    h.always(REFUSED, ~dut.o.valid | (~illegal & ~misaligned & (dut.error == 0)))
    offered = h.past(dut.instruction.valid & ~dut.instruction.ready, "offered")
    code = Mux(illegal, int(ErrorCode.ILLEGAL_FIELD), Mux(misaligned, int(ErrorCode.MISALIGNED), 0))
    h.always(REFUSED, ~offered | (dut.error == code))
    h.always(REFUSED, offered | (dut.error == 0))
    h.always(REFUSED, ~offered | (dut.error != 0) | dut.o.valid)
    checked, index = inside.signal("checked"), inside.signal("index")
    h.invariant(index == sent)
    h.invariant(~checked | waited)
    h.invariant((sent == 0) | checked)
    h.cover("a second packet begins", h.past(moved & flit.last, "ended") & dut.instruction.valid & ~dut.o.valid)
    h.cover("a refused instruction", dut.error == int(ErrorCode.MISALIGNED))
    return h


def _issue(old: str, new: str) -> Bug:
    return Bug("rtl.core.issue", old, new)


def _signals(old: str, new: str) -> Bug:
    return Bug("rtl.core.signals", old, new)


def _load(old: str, new: str) -> Bug:
    return Bug("rtl.core.load", old, new)


_NEXT_SIGNAL = _signals("pending.eq(pending & (pending - 1)[:3])", "pending.eq(0)")
_ISSUE_BUGS = {
    STAYS: [_issue("with m.If(self.o.ready):", "with m.If(1):")],
    ONCE: [
        _issue("m.d.comb += free.eq(~self.o.valid | self.o.ready)", "m.d.comb += free.eq(1)"),
        _issue("with m.If(~is_end & ~is_sync):", "with m.If(~is_end):"),
    ],
    TOKENS: [
        _issue("self.take.mask.eq(masks[0] | masks[1] | masks[2])", "self.take.mask.eq(masks[0] | masks[1])"),
        _issue(
            "Cat((mask & ~self.nonzero).any() for mask in masks)", "Cat((mask & ~self.nonzero).all() for mask in masks)"
        ),
        _issue("with m.If(self.take.grant):", "with m.If(self.take.valid):"),
    ],
    SENT: [_issue("sender.fire.eq(is_sync)", "sender.fire.eq(1)"), _NEXT_SIGNAL],
    DONE_BEFORE: [
        _issue("self.idle & ~self.o.valid & ~sender.busy", "self.idle & ~self.o.valid"),
        _issue("self.idle & ~self.o.valid & ~sender.busy", "self.idle & ~sender.busy"),
    ],
    ENDED: [_issue("m.d.sync += state.eq(UnitState.ENDED)", "m.d.sync += state.eq(UnitState.DECODE)")],
    HALTED: [_issue("~unmet.any() & ready & ~self.halt", "~unmet.any() & ready")],
    REFUSED: [
        _issue("(first + count > chip.tokens)", "((first + count)[:7] > chip.tokens)"),
        _issue("(token >= chip.tokens) | (core >= chip.n_cores)", "token >= chip.tokens"),
        _issue("failed.eq(~legal | bad)", "failed.eq(bad)"),
    ],
}
_MARK_BUGS = {
    MARKED: [
        _issue("is_sync & (number != 0)", "(number != 0)"),
        _issue("self.mark.valid.eq(self.take.grant &", "self.mark.valid.eq(self.take.valid &"),
    ],
    REFUSED: [*_ISSUE_BUGS[REFUSED], _issue("> highest)", "> 2 * highest)")],
}
_FENCE = {
    Unit.COMPUTE: _issue("ready.eq(unit_idle & (~fence | self.drained))", "ready.eq(self.idle)"),
    Unit.STORE: _issue("unit_idle & self.drained if needs_drain else unit_idle", "unit_idle"),
    Unit.LOAD: _issue("ready.eq(unit_idle & (~fence | self.drained))", "ready.eq(self.idle)"),
}

PROOFS = [
    *(
        Proof(
            f"Issue of the {unit.name.lower()} unit{', with marks' if marks else ''}",
            lambda unit=unit, marks=marks: issue(unit, marks),
            1,
            _ISSUE_BUGS | {DONE_BEFORE: [*_ISSUE_BUGS[DONE_BEFORE], _FENCE[unit]]} | (_MARK_BUGS if marks else {}),
            bug_steps=7,
            quick=False,
        )
        for unit, marks in ((Unit.LOAD, 0), (Unit.COMPUTE, 4), (Unit.STORE, 0))
    ),
    Proof(
        "SignalSender",
        sender,
        1,
        {
            EACH_ONCE: [_NEXT_SIGNAL, _signals("signal1_valid << 1", "signal0_valid << 1")],
            STAYS: [_signals("with m.Elif(self.o.ready):", "with m.Else():")],
        },
        bug_steps=5,
    ),
    Proof(
        "SignalRouter, 3 sources",
        signal_router,
        1,
        {
            ON_ITS_WAY: [
                _signals("free.eq(~full | self.o.ready)", "free.eq(1)"),
                _signals("m.d.sync += full.eq(remote.any())", "m.d.sync += full.eq(remote.all())"),
            ],
            STAYS: [_signals("with m.If(free):", "with m.If(1):")],
            INDEPENDENT: [_signals("local.any())", "local.any() & self.o.ready)")],
            LOWEST: [
                _signals("with m.If(local[index]) if index == 0 else m.Elif(local[index]):", "with m.If(local[index]):")
            ],
        },
        bug_steps=4,
        quick=False,
    ),
    Proof(
        "Load",
        load,
        1,
        {
            STAYS: [_load("with m.If(self.o.valid & self.o.ready):", "with m.If(self.o.valid):")],
            ONE_PACKET: [
                _load("with m.If(self.o.payload.last):", "with m.If(self.o.payload.first):"),
                _load("m.d.sync += checked.eq(0)", "m.d.sync += checked.eq(1)"),
            ],
            ADDRESSED: [_load("memory_dest(chip, load.memory)", "memory_dest(chip, load.memory ^ 1)")],
            REFUSED: [
                _load("(load.cores >> chip.n_cores).any()", "load.cores[-1]"),
                _load("with m.Elif((load.dram_addr & (chip.link_bytes - 1)).any()):", "with m.Elif(0):"),
            ],
        },
        bug_steps=14,
        quick=False,
    ),
]
