"""Weights of the sparse engine as they come: masks of the items, lanes of the slots, and a check against the lists."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.params import CoreParams
from rtl.lib.ram import Ram

__all__ = ["SparseWeights"]


class SparseWeights(wiring.Component):
    """Two banks: one of the pass in work, one for the next pass.

    Masks lie in a memory of one word for each item, so that PEs get theirs with the item and need no address. While
    they come it is counted how many weights they name for each PE, which the rounds of lists behind them must hold.

    Latency: ``loaded`` is high in the cycle behind the last row. Throughput: a row per cycle.

    Members
    -------
    weights, more, tail : In(Stream(8 * cols)), In(1), In(1)
        Rows; more follow; they are no masks.
    free : In(1)
        Nobody needs what the bank of the next pass holds.
    accept, first, last : In(1)
        An item takes its masks; it begins a pass, which makes the other bank the one in use; it ends its pixel.
    loaded, contradicts : Out(1)
        The next pass is there; its lists are too short or a lane is missing, so that it must not begin.
    current : Out(1)
        Bank of the pass in work.
    turn : Out
        Lanes by which the next item's activations are turned: those of the first item by none.
    masks : Out(rows * cols)
        Of the next item.
    lanes : Out(log2(cols) * cols)
        Lane of each slot, of the bank ``lanes_of``.
    lanes_of : In(1)
    list_write, list_bank, list_round, list_row
        The row is the ``list_row``-th of a round.
    """

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        self.pes = core.sparse_lanes * core.sparse_columns
        super().__init__(
            {
                "weights": In(stream.Signature(unsigned(8 * core.cols))),
                "more": In(1),
                "tail": In(1),
                "free": In(1),
                "accept": In(1),
                "first": In(1),
                "last": In(1),
                "loaded": Out(1),
                "contradicts": Out(1),
                "current": Out(1),
                "turn": Out(range(core.sparse_lanes)),
                "masks": Out(core.pes),
                "lanes": Out(exact_log2(core.cols) * core.cols),
                "lanes_of": In(1),
                "list_write": Out(1),
                "list_bank": Out(1),
                "list_round": Out(range(max(2, core.sparse_depth))),
                "list_row": Out(range(max(2, self.pes // core.cols))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self.core
        row_bits = exact_log2(core.cols)
        item_rows, round_rows = core.rows // 8, self.pes // core.cols
        # The row that comes: which of its item or round, which item, which round; `listing`: behind the row of lanes.
        row = Signal(range(max(2, item_rows, round_rows)))
        item = Signal(range(max(2, core.sparse_items)))
        rounds = Signal(range(core.sparse_depth + 1))
        listing, complete = Signal(), Signal()
        take, is_mask, is_lanes, start = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.weights.ready.eq(~self.loaded & self.free),
            take.eq(self.weights.valid & self.weights.ready),
            is_mask.eq(take & ~self.tail),
            is_lanes.eq(take & self.tail & ~listing),
            start.eq(self.accept & self.first),
            self.list_write.eq(take & listing),
            self.list_bank.eq(~self.current),
            self.list_round.eq(rounds),
            self.list_row.eq(row),
        ]
        with m.If(is_mask | self.list_write):
            m.d.sync += row.eq(row + 1)
            with m.If(row == Mux(listing, round_rows - 1, item_rows - 1)):
                m.d.sync += row.eq(0)
                with m.If(listing):
                    m.d.sync += rounds.eq(rounds + 1)
                with m.Else():
                    m.d.sync += item.eq(item + 1)
        values = [self.weights.payload.word_select(slot, 8) for slot in range(core.cols)]
        tables = [Signal(row_bits * core.cols, name=f"lanes{bank}", reset_less=True) for bank in range(2)]
        with m.If(is_lanes):
            every = Cat(Cat(value == lane for value in values).any() for lane in range(core.cols))
            m.d.sync += [listing.eq(1), complete.eq(every.all())]
            for bank, table in enumerate(tables):
                with m.If(self.list_bank == bank):
                    m.d.sync += table.eq(Cat(value[:row_bits] for value in values))
        m.d.comb += self.lanes.eq(Mux(self.lanes_of, tables[1], tables[0]))

        # Weights that the masks name for each PE.
        positions = core.pes // self.pes
        row_pes = 8 * core.cols // positions
        counts = [Signal(range(core.sparse_items * positions + 1), name=f"count{i}") for i in range(self.pes)]
        for i, count in enumerate(counts):
            with m.If(is_mask & (row == i // row_pes)):
                mask = self.weights.payload.word_select(i % row_pes, positions)
                m.d.sync += count.eq(count + sum(mask[k] for k in range(positions)))
        m.d.comb += self.contradicts.eq(~complete | Cat(count > rounds for count in counts).any())
        with m.If(take & ~self.more):
            m.d.sync += self.loaded.eq(1)
        with m.If(start):
            m.d.sync += [
                self.loaded.eq(0),
                self.current.eq(~self.current),
                *(register.eq(0) for register in (row, item, rounds, listing, *counts)),
            ]
        self._hold_masks(m, row=row, item=item, is_mask=is_mask, complete=take & ~self.more)
        return m

    def _hold_masks(self, m: Module, *, row: Signal, item: Signal, is_mask: Signal, complete: Any) -> None:
        """The memory of masks, read ahead: its output is always that of the item which comes next.

        The next pass's first word is read as soon as the pass is complete, each other one as the item before is
        accepted.
        """
        core = self.core
        number, following = Signal(range(core.sparse_items)), Signal(range(max(2, core.sparse_items)))
        turn = Signal.like(self.turn)
        m.d.comb += [following.eq(Mux(self.last, 0, number + 1)), self.turn.eq(turn)]
        with m.If(self.accept):
            m.d.sync += [number.eq(following), turn.eq(Mux(self.last, 0, turn + 1))]
        outputs = []
        for bank in range(2):
            words = Ram(width=core.pes, depth=core.sparse_items, granularity=8 * core.cols)
            m.submodules[f"masks{bank}"] = words
            own = Signal(name=f"own{bank}")
            m.d.comb += [
                words.write_enable.eq(Mux(is_mask & (self.list_bank == bank), 1 << row, 0)),
                words.write_addr.eq(item),
                words.write_data.eq(self.weights.payload.replicate(core.rows // 8)),
                own.eq(self.accept & ((self.current == bank) != self.first)),
                words.read_enable.eq(own | (complete & (self.list_bank == bank))),
                words.read_addr.eq(Mux(own, following, 0)),
            ]
            outputs.append(words.read_data)
        m.d.comb += self.masks.eq(Mux(self.current != self.first, outputs[1], outputs[0]))
