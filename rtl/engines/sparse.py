"""The sparse engine: PEs that skip zeros and run ahead of one another, behind the engine interface."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring

from rtl.contract.engines.sparse import SPARSE
from rtl.contract.params import CoreParams
from rtl.contract.regs import EngineCounter
from rtl.engines.interface import EngineHardware, tag_layout
from rtl.engines.sparse_collector import SparseCollector
from rtl.engines.sparse_grid import SparseGrid
from rtl.engines.sparse_weights import SparseWeights
from rtl.lib.fifo import Fifo

__all__ = ["SparseEngine"]


class SparseEngine(EngineHardware):
    """What it computes is `rtl.contract.engines.sparse`, and when `estimator.engines.sparse`, to the cycle.

    Dataflow: an item takes the masks of all PEs along into a slot, its activations turned by as many lanes as it has
    items before it in its pixel. PEs work on it (`rtl.engines.sparse_grid`); when those of a group of columns are done
    with a pixel, the collector adds up their lanes, and behind the last group the update goes out.

    Weights of a pass may come once all updates of the pass before the last are out. A pass whose lists contradict its
    masks is never begun.

    Members: see `rtl.engines.interface.EngineSignature`.
    """

    spec = SPARSE
    pixel_options = ("run_ahead", "skip_acts")

    @classmethod
    def event_bits(cls, core: CoreParams) -> dict[EngineCounter, int]:
        pes = (core.sparse_lanes * core.sparse_columns).bit_length()
        return {counter: 1 if counter == EngineCounter.SPARSE_FULL else pes for counter in SPARSE.counters}

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core = self.core
        m.submodules.store = store = SparseWeights(core=core)
        m.submodules.grid = grid = SparseGrid(core=core)
        m.submodules.collector = collector = SparseCollector(core=core)
        # Pixels in flight: in slots, in the sums of the PEs, and in the collector.
        most = core.sparse_slots + 2
        m.submodules.tags = tags = Fifo(shape=tag_layout(core), depth=1 << (most - 1).bit_length())
        pixel = self.pixels.payload
        accept, waits, room = Signal(), Signal(), Signal()
        m.d.comb += [
            waits.eq(pixel.first & (~store.loaded | store.contradicts)),
            room.eq(grid.filled - grid.release <= pixel.options.run_ahead),
            self.pixels.ready.eq(~waits & room),
            accept.eq(self.pixels.valid & self.pixels.ready),
            self.starved.eq(pixel.first & ~store.loaded),
            self.contradicts.eq(pixel.first & store.loaded & store.contradicts),
        ]

        # Of the pixels in flight, those of the pass before; they come first.
        old = Signal.like(tags.level)
        collected = tags.o.valid & tags.o.ready
        with m.If(accept & pixel.first):
            m.d.sync += old.eq(tags.level - collected)
        with m.Elif(collected & (old != 0)):
            m.d.sync += old.eq(old - 1)

        m.d.comb += [
            store.weights.valid.eq(self.weights.valid),
            store.weights.payload.eq(self.weights.payload),
            self.weights.ready.eq(store.weights.ready),
            store.more.eq(self.weights_more),
            store.tail.eq(self.weights_tail),
            store.free.eq(old == 0),
            store.accept.eq(accept),
            store.first.eq(pixel.first),
            store.last.eq(pixel.last_item),
            store.lanes_of.eq(store.current ^ (old != 0)),
            grid.list_write.eq(store.list_write),
            grid.list_bank.eq(store.list_bank),
            grid.list_round.eq(store.list_round),
            grid.list_row.eq(store.list_row),
            grid.list_data.eq(self.weights.payload),
            tags.i.valid.eq(accept & pixel.last_item),
            tags.i.payload.eq(pixel.tag),
        ]
        self._feed(m, grid, store, accept)
        wiring.connect(m, tags.o, collector.tags)
        m.d.comb += [
            collector.full.eq(grid.full),
            collector.sums.eq(grid.sums),
            collector.lanes.eq(store.lanes),
            grid.group.eq(collector.group),
            grid.collect.eq(collector.collect),
            self.update.valid.eq(collector.valid),
            self.update.data.eq(collector.data),
            self.update.tag.eq(collector.tag),
        ]

        active = (grid.filled != 0) | tags.o.valid
        m.d.comb += [
            self.idle.eq(~active & ~collector.valid),
            self.events.SPARSE_PAIRS.eq(grid.pairs),
            self.events.SPARSE_EMPTY.eq(grid.empty),
            self.events.SPARSE_STARVED.eq(Mux(active, grid.starved, 0)),
            self.events.SPARSE_BLOCKED.eq(grid.blocked),
            self.events.SPARSE_FULL.eq(self.pixels.valid & ~waits & ~room),
        ]
        return m

    def _feed(self, m: Module, grid: SparseGrid, store: SparseWeights, accept: Signal) -> None:
        """Activations less their zero, turned so that PE lane r has group r + number of the item, modulo the lanes."""
        core, pixel = self.core, self.pixels.payload
        group = 9 * core.rows // core.sparse_lanes
        zero = pixel.zero.as_signed()
        less = Cat((pixel.act.word_select(row, 8).as_signed() - zero)[:9] for row in range(core.rows))
        turned = Signal(9 * core.rows)
        with m.Switch(store.turn):
            for turn in range(core.sparse_lanes):
                with m.Case(turn):
                    m.d.comb += turned.eq(Cat(less[turn * group :], less[: turn * group]))
        m.d.comb += [
            grid.accept.eq(accept),
            grid.acts.eq(turned),
            grid.used.eq(
                Cat(turned.word_select(row, 9).any() | ~pixel.options.skip_acts for row in range(core.rows))
            ),
            grid.masks.eq(store.masks),
            grid.bank.eq(store.current ^ pixel.first),
            grid.last.eq(pixel.last_item),
        ]
