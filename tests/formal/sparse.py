"""Proofs of the sparse engine's PEs: which slots they read, what they multiply, and what becomes of their sums.

2 x 2 PEs, 2 slots, 2 groups of columns, pixels of any number of items. The environment accepts an item only if there
is room, and collects the groups in turn once they are full, as the engine and its collector do. When it accepts and
when it collects is free, so what is proved of sums holds for every ``run_ahead``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value

from rtl.contract.params import CoreParams
from rtl.engines.sparse_grid import SparseGrid
from rtl.lib.ram import Ram
from tests.formal.harness import Harness, Inside
from tests.formal.prover import Bug, Proof

__all__ = ["PROOFS"]

READ = "a PE reads a slot only while its own next item is in it: behind its filling, before it is freed"
WRITTEN = "a slot is freed as the last PE leaves it, and an item enters one that is free, or is in this cycle"
ONCE = "of an item each pair of a weight and an activation is multiplied once, and nothing else is"
COLLECTED = "sums of each pixel are collected once, in order, and none are overwritten before"
SUMS = "sums of a pixel are those of its items, whenever they come"

SLOTS, LANES, COLUMNS = 2, 2, 2
CORE = CoreParams(
    rows=8, cols=4, engines=("sparse",), sparse_lanes=LANES, sparse_columns=COLUMNS, sparse_items=1, sparse_depth=4,
    sparse_slots=SLOTS,
)  # fmt: skip
PES, ACTS, FILTERS = LANES * COLUMNS, CORE.rows // LANES, CORE.cols // COLUMNS
LOW = 2
"""Bits of the sums that are looked at: they depend on as many of the operands."""
FOLLOWED = (0, PES - 1)
"""PEs whose sums are looked at; all are made by the same lines."""


class _List(Ram):
    """The weight at an address tells it: `_weight`."""

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        with m.If(self.read_enable):
            m.d.sync += self.read_data.eq(_weight(self.read_addr[0], self.read_addr[1:]))
        return m


def _weight(bank: Value, rank: Value) -> Value:
    """Its two lowest bits change with the bank and with each bit of the rank."""
    return rank ^ Cat(0, bank)


@dataclass(frozen=True)
class _Pe:
    """Inner signals of a PE, and what is known of it."""

    group: int
    named: dict[str, Signal]
    all_pairs: Value
    """Positions of its item that it has to multiply."""
    did: Signal
    """Those that it has multiplied."""
    is_full: Value
    ends: Value

    def __getattr__(self, name: str) -> Signal:
        return self.named[name]


def _grid() -> tuple[Harness, SparseGrid, Inside, list[_Pe]]:
    """The grid with its environment."""
    h = Harness()
    m = h.m
    dut = SparseGrid(core=CORE)
    with patch.dict(SparseGrid.elaborate.__globals__, {"Ram": _List}):
        inside = Inside(m, "dut", dut)
    h.drive(dut.accept, dut.acts, dut.used, dut.masks, dut.bank, dut.last, dut.collect)
    turn = Signal(range(COLUMNS))
    m.d.comb += dut.group.eq(turn)
    with m.If(dut.collect):
        m.d.sync += turn.eq(turn + 1)
    h.assume(~dut.accept | (dut.filled - dut.release < SLOTS))
    h.assume(~dut.collect | dut.full.bit_select(turn, 1))
    used = [Array(inside.signal(f"used{s}_{r}") for s in range(SLOTS)) for r in range(LANES)]
    last, is_full = inside.signal("slot_last"), inside.signal("is_full")
    names = (
        "slot", "ahead", "past", "pending", "base", "owed", "has", "working", "finishing", "closing", "done", "pair",
        "mask", "one", "ended",
    )  # fmt: skip
    pes = []
    for i in range(PES):
        lane, column = divmod(i, COLUMNS)
        named = {name: inside.signal(f"{name}{i}") for name in names}
        all_pairs = named["mask"] & used[lane][named["slot"]].replicate(FILTERS)
        did = Signal(ACTS * FILTERS, name=f"did{i}")
        with m.If(named["done"]):
            m.d.sync += did.eq(0)
        with m.Elif(named["pair"]):
            m.d.sync += did.eq(did | named["one"])
        pes.append(_Pe(column, named, all_pairs, did, is_full[i], last.bit_select(named["slot"], 1)))
    return h, dut, inside, pes


def _walk(h: Harness, dut: SparseGrid, inside: Inside, pes: list[_Pe]) -> list[tuple[str, Value]]:
    """Where items are and where PEs are, as invariants; the result are the properties of both."""
    m = h.m
    accepted, oldest = Signal(3), Signal(range(SLOTS))
    number, live = Array(Signal(3, name=f"number{s}") for s in range(SLOTS)), Signal(SLOTS)
    write = inside.signal("write")
    with m.If(dut.release):
        m.d.sync += [live.bit_select(oldest, 1).eq(0), oldest.eq(oldest + 1)]
    with m.If(dut.accept):
        m.d.sync += [accepted.eq(accepted + 1), number[write].eq(accepted), live.bit_select(write, 1).eq(1)]
    first = (accepted - dut.filled)[:3]
    h.invariant(dut.filled <= SLOTS)
    h.invariant(write == (oldest + dut.filled)[: len(write)])
    for place in range(SLOTS):
        at = (oldest + place)[: len(oldest)]
        h.invariant(live.bit_select(at, 1) == (place < dut.filled))
        h.invariant((place >= dut.filled) | (number[at] == (first + place)[:3]))
    freed = dut.release & (oldest == write)
    found = [(WRITTEN, ~dut.accept | ~live.bit_select(write, 1) | freed)]
    for pe in pes:
        finished = Signal(3)
        with m.If(pe.done):
            m.d.sync += finished.eq(finished + 1)
        found += [
            (READ, ~pe.has | (live.bit_select(pe.slot, 1) & (number[pe.slot] == finished))),
            (WRITTEN, ~dut.release | ((finished + pe.done)[:3] != number[oldest])),
        ]
        h.invariant(pe.ahead <= dut.filled)
        h.invariant(pe.slot == (oldest + pe.ahead)[: len(oldest)])
        h.invariant(finished == (first + pe.ahead)[:3])
        h.invariant(pe.past == (pe.ahead != 0))
        h.invariant(pe.has == (pe.ahead < dut.filled))
        h.invariant(Mux(pe.has, pe.pending == (pe.all_pairs & ~pe.did), pe.did == 0))
        h.invariant((pe.did & ~pe.all_pairs) == 0)
        h.invariant(pe.working == (pe.has & (pe.pending != 0)))
        h.invariant(pe.finishing == (pe.has & ((pe.pending & (pe.pending - 1)[: len(pe.pending)]) == 0)))
        h.invariant(pe.closing == (pe.finishing & pe.ends))
    return found


def control() -> Harness:
    h, dut, inside, pes = _grid()
    m = h.m
    for name, value in _walk(h, dut, inside, pes):
        h.always(name, value)
    of_group = [Signal(2, name=f"collected{g}") for g in range(COLUMNS)]
    for g, collected in enumerate(of_group):
        with m.If(dut.collect & (dut.group == g)):
            m.d.sync += collected.eq(collected + 1)
    for pe in pes:
        once = (pe.one != 0) & ((pe.one & (pe.one - 1)[: len(pe.one)]) == 0)
        h.always(ONCE, ~pe.pair | (once & ((pe.one & (pe.did | ~pe.all_pairs)) == 0)))
        h.always(ONCE, ~pe.done | ((pe.did | Mux(pe.pair, pe.one, 0)) == pe.all_pairs))
        put, collected = Signal(2), of_group[pe.group]
        taken = dut.collect & (dut.group == pe.group)
        with m.If(pe.ended):
            m.d.sync += put.eq(put + 1)
        h.always(COLLECTED, ~taken | ((put - collected)[:2] == 1))
        h.always(COLLECTED, ~pe.ended | ~pe.is_full)
        h.invariant((put - collected)[:2] == pe.is_full)
        h.invariant(pe.owed == (pe.is_full | pe.ended))
    h.cover("a PE is as far ahead of another one as there are slots", (pes[0].ahead == SLOTS) & (pes[3].ahead == 0))
    h.cover("a PE waits for the collector", inside.signal("is_blocked")[0])
    h.cover("sums of a second pixel are collected", dut.collect & (of_group[1] == 1) & (dut.group == 1))
    return h


def sums() -> Harness:
    """Each weight tells its address, so a wrong one shows."""
    h, dut, inside, pes = _grid()
    m = h.m
    for _, value in _walk(h, dut, inside, pes):
        h.invariant(value)
    bank = inside.signal("slot_bank")
    acts = [Array(inside.signal(f"acts{s}_{r}") for s in range(SLOTS)) for r in range(LANES)]
    for i, pe in ((i, pes[i]) for i in FOLLOWED):
        out, which, act, sums = (inside.signal(f"{name}{i}") for name in ("out", "which", "act", "sums"))
        multiply, read = inside.signal(f"multiply{i}"), inside.signal("read_data", f"list{i}")
        bits = len(out) // FILTERS
        base = Signal.like(pe.base)
        with m.If(pe.done):
            m.d.sync += base.eq(Mux(pe.ends, 0, base + _count(pe.mask)))
        h.invariant(base == pe.base)
        h.invariant(pe.owed == (pe.is_full | pe.ended))
        h.invariant(~pe.ended | ~pe.is_full)
        of_lane = acts[i // COLUMNS][pe.slot]
        for f in range(FILTERS):
            products = []
            for a in range(ACTS):
                rank = (base + _count(pe.mask[: f * ACTS + a]))[:2]
                weight = _weight(bank.bit_select(pe.slot, 1), rank)
                products.append((of_lane.word_select(a, 9)[:LOW] * weight[:LOW])[:LOW])

            def of(positions: Value, f: int = f, products: list[Value] = products) -> Value:
                chosen = positions[f * ACTS : (f + 1) * ACTS]
                return sum((Mux(chosen[a], products[a], 0) for a in range(ACTS)), start=products[0] & 0)  # type: ignore[return-value]

            before, ending, wanted = (Signal(LOW, name=f"{name}{i}_{f}") for name in ("before", "ending", "wanted"))
            after = (before + of(pe.all_pairs))[:LOW]
            with m.If(pe.done):
                m.d.sync += [before.eq(Mux(pe.ends, 0, after)), ending.eq(after)]
            with m.If(pe.ended):
                m.d.sync += wanted.eq(ending)
            added = (sums.word_select(f, bits)[:LOW] + Mux(multiply & which[f], act[:LOW] * read[:LOW], 0))[:LOW]
            h.invariant(Mux(pe.ended, ending == added, 1))
            h.invariant(Mux(pe.ended, 0, added) == (before + of(pe.did))[:LOW])
            h.always(SUMS, ~pe.is_full | (out.word_select(f, bits)[:LOW] == wanted))
    h.cover("sums of three are collected", dut.collect & (inside.signal("out0")[:LOW] == 3))
    return h


def _count(bits: Value) -> Value:
    return sum((bits[k] for k in range(len(bits))), start=Value.cast(0))


def _grid_bug(old: str, new: str) -> Bug:
    return Bug("rtl.engines.sparse_grid", old, new)


_BLOCKED = "blocked.eq(closing & owed & ~taken)"
PROOFS = [
    Proof(
        "SparseGrid: items, pairs, collection",
        control,
        1,
        {
            READ: [
                _grid_bug("stands.eq(next_ahead < filled)", "stands.eq(next_ahead <= filled)"),
                _grid_bug("& left.all())", "& left.any())"),
                _grid_bug("Mux(slot == slots - 1, 0, slot + 1)", "0"),
            ],
            WRITTEN: [_grid_bug("left.eq(past | done)", "left.eq(has)")],
            ONCE: [
                _grid_bug("found, Mux(pair, after, pending)", "found, pending"),
                _grid_bug("done.eq(finishing & ~blocked)", "done.eq(has & ~blocked)"),
                _grid_bug("found = Mux(enters, new,", "found = Mux(0, new,"),
            ],
            COLLECTED: [
                _grid_bug(_BLOCKED, "blocked.eq(0)"),
                _grid_bug(_BLOCKED, "blocked.eq(closing & full & ~taken)"),
            ],
        },
        bug_steps=8,
    ),
    Proof(
        "SparseGrid: sums",
        sums,
        1,
        {
            SUMS: [
                _grid_bug("sums.eq(Mux(ending, 0, added))", "sums.eq(added)"),
                _grid_bug("base + _ones(mask)))", "base + _ones(pending)))"),
                _grid_bug("_ones(mask & (one - 1)[:positions])", "_ones(pending & (one - 1)[:positions])"),
                _grid_bug("Cat(bank.bit_select(slot, 1), rank)", "Cat(bank[0], rank)"),
            ],
        },
        bug_steps=8,
    ),
]
