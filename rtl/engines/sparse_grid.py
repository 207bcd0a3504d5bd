"""The sparse engine's PEs with their lists, the slots of the items they work on, and the sums of a column group."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, ClockSignal, Instance, Module, Mux, ResetSignal, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.contract.params import CoreParams
from rtl.lib.ram import Ram

__all__ = ["SparseGrid", "sum_bits", "update_bits"]


def sum_bits(core: CoreParams) -> int:
    """Of a PE's sum over a pass."""
    return (255 * 128 * core.rows // core.sparse_lanes * core.sparse_items).bit_length() + 1


def update_bits(core: CoreParams) -> int:
    """Of the sum of a pass over all lanes."""
    return sum_bits(core) + exact_log2(core.sparse_lanes)


class SparseGrid(wiring.Component):
    """``lanes`` x ``columns`` PEs, each at an item of its own.

    In Amaranth's simulator it is what stands here; elaborated for a platform it is an instance of
    ``verilog/systomesh_sparse_grid.v``, the same registers in a loop over PEs.

    Dataflow: an accepted item waits in a slot of the ring, with the mask of each PE, until all PEs have left it. A PE
    takes the lowest position of its mask with a non-zero activation, looks up how many weights of its list are in front
    of it, and a cycle later adds the product to the sum of its slot. Behind the last item of a pixel its sums move to a
    register of their own, from where a group of columns at a time is added up over the lanes.

    Whether it is done with its item in a cycle, a PE knows from the cycle before; so ``release``, which goes on to the
    scratchpad, is a few gates and the conjunction of all PEs.

    Latency: an item accepted in cycle t is worked on from t + 1 on, a position a cycle, at least one cycle. Sums of a
    PE that is done with a pixel in cycle t are ``full`` from t + 2 on.

    Members
    -------
    accept : In(1)
        An item; there is room for it (``filled`` less ``release`` is below the number of slots).
    acts : In(9 * rows)
        Activations less their zero, A for each lane of PEs.
    used : In(rows)
        Which of these count.
    masks : In(rows * cols)
        For each PE, in the order lane * columns + column, the positions that have a weight.
    bank, last : In(1), In(1)
        Whose lists the item is for; it is the last one of its pixel.
    filled : Out
        Slots in use.
    release : Out(1)
        The oldest of them is free from the next cycle on.
    list_write, list_bank, list_round, list_row, list_data
        A byte for each of ``cols`` PEs, from PE ``list_row * cols`` on.
    collect : In(1)
        The sums of group ``group`` are taken.
    group : In
    full : Out(groups)
        All sums of a group are there.
    sums : Out(bits * cols / groups)
        Of group ``group``, column by column: a register, made while it is known which group is next.
    pairs, empty, starved, blocked : Out
        How many PEs multiply, leave an item without a pair, wait for an item, wait for the collector.
    """

    def __init__(self, *, core: CoreParams) -> None:
        self.core = core
        self.pes = core.sparse_lanes * core.sparse_columns
        self.groups = core.collector_groups
        count = range(self.pes + 1)
        super().__init__(
            {
                "accept": In(1),
                "acts": In(9 * core.rows),
                "used": In(core.rows),
                "masks": In(core.pes),
                "bank": In(1),
                "last": In(1),
                "filled": Out(range(core.sparse_slots + 1)),
                "release": Out(1),
                "list_write": In(1),
                "list_bank": In(1),
                "list_round": In(range(max(2, core.sparse_depth))),
                "list_row": In(range(max(2, self.pes // core.cols))),
                "list_data": In(8 * core.cols),
                "collect": In(1),
                "group": In(range(max(2, self.groups))),
                "full": Out(self.groups),
                "sums": Out(update_bits(core) * core.cols // self.groups),
                "pairs": Out(count),
                "empty": Out(count),
                "starved": Out(count),
                "blocked": Out(count),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        core, slots = self.core, self.core.sparse_slots
        lanes, columns = core.sparse_lanes, core.sparse_columns
        acts = core.rows // lanes
        positions = core.pes // self.pes
        cols_of_pe = core.cols // columns
        if platform is not None:
            m.submodules.body = self._body()
            return m

        # The ring. All that PEs of one lane see of a slot, and what all see.
        write = Signal(range(slots))
        slot_acts, slot_used = (
            [[Signal(bits, name=f"{name}{s}_{r}", reset_less=True) for r in range(lanes)] for s in range(slots)]
            for name, bits in (("acts", 9 * acts), ("used", acts))
        )
        slot_masks = [Signal(core.pes, name=f"masks{s}", reset_less=True) for s in range(slots)]
        slot_bank, slot_last = (Signal(slots, name=f"slot_{name}", reset_less=True) for name in ("bank", "last"))
        with m.If(self.accept):
            m.d.sync += write.eq(Mux(write == slots - 1, 0, write + 1))
            for s in range(slots):
                with m.If(write == s):
                    m.d.sync += [
                        *(slot_acts[s][r].eq(self.acts.word_select(r, 9 * acts)) for r in range(lanes)),
                        *(slot_used[s][r].eq(self.used.word_select(r, acts)) for r in range(lanes)),
                        slot_masks[s].eq(self.masks),
                        slot_bank[s].eq(self.bank),
                        slot_last[s].eq(self.last),
                    ]
        filled = Signal.like(self.filled)
        m.d.comb += filled.eq(
            Mux(self.accept == self.release, self.filled, Mux(self.accept, self.filled + 1, self.filled - 1))
        )
        m.d.sync += self.filled.eq(filled)

        left = Signal(self.pes)  # PEs that are done with the oldest item, or are in this cycle
        m.d.comb += self.release.eq((self.filled != 0) & left.all())
        flags = {name: Signal(self.pes, name=f"is_{name}") for name in ("pair", "empty", "starved", "blocked")}
        taken = Signal(self.groups)
        m.d.comb += taken.eq(self.collect << self.group)
        full = Signal(self.pes, name="is_full")
        out = [Signal(sum_bits(core) * core.cols // columns, name=f"out{i}", reset_less=True) for i in range(self.pes)]

        ended = Signal(self.pes, name="is_ended")
        added = [Signal.like(out[i], name=f"new_out{i}") for i in range(self.pes)]
        for i in range(self.pes):
            lane, column = divmod(i, columns)
            self._pe(
                m,
                i,
                write=write,
                filled=filled,
                acts=Array(slot_acts[s][lane] for s in range(slots)),
                used=Array(slot_used[s][lane] for s in range(slots)),
                masks=Array(slot_masks[s].word_select(i, positions) for s in range(slots)),
                new=self.masks.word_select(i, positions) & self.used.word_select(lane, acts).replicate(cols_of_pe),
                bank=slot_bank,
                last=slot_last,
                left=left[i],
                taken=taken[column * self.groups // columns],
                out=out[i],
                new_out=added[i],
                ended=ended[i],
                full=full[i],
                flags={name: flag[i] for name, flag in flags.items()},
            )

        # Sums of a group of columns over the lanes.
        of_group = columns // self.groups
        m.d.comb += self.full.eq(
            Cat(
                Cat(full[r * columns + c] for r in range(lanes) for c in range(g * of_group, (g + 1) * of_group)).all()
                for g in range(self.groups)
            )
        )
        sums = [
            Cat(
                sum(
                    (added[r * columns + c].word_select(f, sum_bits(core)).as_signed() for r in range(1, lanes)),
                    start=added[c].word_select(f, sum_bits(core)).as_signed(),
                )[: update_bits(core)]
                for c in range(g * of_group, (g + 1) * of_group)
                for f in range(cols_of_pe)
            )
            for g in range(self.groups)
        ]
        total = Signal.like(self.sums, reset_less=True)
        with m.If(self.collect | ended.any()):
            m.d.sync += total.eq(Array(sums)[(self.group + self.collect)[: len(self.group)]])
        m.d.comb += self.sums.eq(total)
        m.d.comb += [
            self.pairs.eq(sum(flags["pair"][i] for i in range(self.pes))),
            self.empty.eq(sum(flags["empty"][i] for i in range(self.pes))),
            self.starved.eq(sum(flags["starved"][i] for i in range(self.pes))),
            self.blocked.eq(sum(flags["blocked"][i] for i in range(self.pes))),
        ]
        return m

    @property
    def parameters(self) -> dict[str, int]:
        """Of the Verilog body."""
        core = self.core
        return {
            "LANES": core.sparse_lanes,
            "COLUMNS": core.sparse_columns,
            "ACTS": core.rows // core.sparse_lanes,
            "FILTERS": core.cols // core.sparse_columns,
            "PLACES": core.sparse_slots,
            "DEPTH": core.sparse_depth,
            "GROUPS": self.groups,
            "BITS": sum_bits(core),
        }

    def _body(self) -> Instance:
        ports = {}
        for path, member, value in self.signature.flatten(self):
            (name,) = path
            # `release` is a word of Verilog's.
            verilog_name = "release_oldest" if name == "release" else str(name)
            ports[f"{'i' if member.flow == In else 'o'}_{verilog_name}"] = value
        return Instance(
            "systomesh_sparse_grid",
            **{f"p_{name}": value for name, value in self.parameters.items()},
            i_clk=ClockSignal(),
            i_rst=ResetSignal(allow_reset_less=True),
            **ports,
        )

    def _pe(
        self,
        m: Module,
        i: int,
        *,
        write: Signal,
        filled: Signal,
        acts: Array,
        used: Array,
        masks: Array,
        new: Value,
        bank: Value,
        last: Value,
        left: Value,
        taken: Value,
        out: Signal,
        new_out: Signal,
        ended: Value,
        full: Value,
        flags: dict[str, Value],
    ) -> None:
        """PE number i. `new` is what is to do of an item that is accepted, `filled` how many slots are in use then."""
        core, slots = self.core, self.core.sparse_slots
        of_lane, of_column = core.rows // core.sparse_lanes, core.cols // core.sparse_columns
        positions, bits = of_lane * of_column, sum_bits(core)

        def signal(shape: Any, name: str, **kwargs: Any) -> Signal:
            return Signal(shape, name=f"{name}{i}", **kwargs)

        # Where the PE is: its slot, how many items it is ahead of the oldest one (`past`: any), what is left of its
        # item, weights of its list in front of the item. `owed`: its sums of a pixel are still to be collected.
        slot, ahead, past = signal(range(slots), "slot"), signal(range(slots + 1), "ahead"), signal(1, "past")
        pending = signal(positions, "pending", reset_less=True)
        base, owed = signal(range(core.sparse_depth + 1), "base"), signal(1, "owed")
        # What follows, known a cycle ahead: there is an item, and a pair in it; with this cycle it is done, and a
        # pixel, unless the sums of the pixel before are in the way.
        has, working, finishing, closing = (signal(1, name) for name in ("has", "working", "finishing", "closing"))

        done, pair, ends = (signal(1, name) for name in ("done", "pair", "ends"))
        mask, one, after = (signal(positions, name) for name in ("mask", "one", "after"))
        rank = signal(range(core.sparse_depth), "rank")
        blocked = flags["blocked"]
        m.d.comb += [
            mask.eq(masks[slot]),
            after.eq(pending & (pending - 1)[:positions]),
            one.eq(pending & ~after),
            ends.eq(last.bit_select(slot, 1)),
            blocked.eq(closing & owed & ~taken),
            done.eq(finishing & ~blocked),
            pair.eq(working & ~blocked),
            flags["pair"].eq(pair),
            flags["empty"].eq(done & ~working),
            flags["starved"].eq(~has),
            left.eq(past | done),
            rank.eq(base + _ones(mask & (one - 1)[:positions])),
        ]
        with m.If(done):
            m.d.sync += base.eq(Mux(ends, 0, base + _ones(mask)))
        with m.If(done & closing):
            m.d.sync += owed.eq(1)
        with m.Elif(taken):
            m.d.sync += owed.eq(0)

        # The cycle that comes; the item may be the one that is accepted in this one.
        next_slot, next_ahead, next_pending = (
            Signal.like(now, name=f"next_{name}{i}")
            for name, now in (("slot", slot), ("ahead", ahead), ("pending", pending))
        )
        enters, stands, lasts, final = (signal(1, name) for name in ("enters", "stands", "lasts", "final"))
        found = Mux(enters, new, masks[next_slot] & used[next_slot].replicate(of_column))
        m.d.comb += [
            next_slot.eq(Mux(done, Mux(slot == slots - 1, 0, slot + 1), slot)),
            next_ahead.eq(ahead + done - self.release),
            enters.eq(self.accept & (write == next_slot)),
            next_pending.eq(Mux(done | ~has, found, Mux(pair, after, pending))),
            stands.eq(next_ahead < filled),
            lasts.eq(Mux(enters, self.last, last.bit_select(next_slot, 1))),
            final.eq(stands & ((next_pending & (next_pending - 1)[:positions]) == 0)),
        ]
        with m.If(self.accept | (self.filled != 0)):
            m.d.sync += [
                slot.eq(next_slot),
                ahead.eq(next_ahead),
                past.eq(next_ahead != 0),
                pending.eq(next_pending),
                has.eq(stands),
                working.eq(stands & (next_pending != 0)),
                finishing.eq(final),
                closing.eq(final & lasts),
            ]

        # A cycle later: the weight is there.
        m.submodules[f"list{i}"] = weights = Ram(width=8, depth=2 * core.sparse_depth)
        m.d.comb += [
            weights.write_enable.eq(self.list_write & (self.list_row == i // core.cols)),
            weights.write_addr.eq(Cat(self.list_bank, self.list_round)),
            weights.write_data.eq(self.list_data.word_select(i % core.cols, 8)),
            weights.read_enable.eq(pair),
            weights.read_addr.eq(Cat(bank.bit_select(slot, 1), rank)),
        ]
        multiply, ending = signal(1, "multiply"), signal(1, "ended")
        act = signal(signed(9), "act", reset_less=True)
        which = signal(of_column, "which", reset_less=True)
        sums = signal(bits * of_column, "sums")
        m.d.sync += [multiply.eq(pair), ending.eq(done & closing)]
        with m.If(pair):
            chosen = [Cat(one[f * of_lane + a] for f in range(of_column)).any() for a in range(of_lane)]
            values = [acts[slot].word_select(a, 9) & chosen[a].replicate(9) for a in range(of_lane)]
            joined = values[0]
            for value in values[1:]:
                joined = joined | value
            m.d.sync += [
                act.eq(joined),
                which.eq(Cat(one.word_select(f, of_lane).any() for f in range(of_column))),
            ]
        product = signal(signed(17), "product")
        added = signal(bits * of_column, "added")
        m.d.comb += [
            product.eq(act * weights.read_data.as_signed()),
            added.eq(
                Cat((sums.word_select(f, bits) + Mux(multiply & which[f], product, 0))[:bits] for f in range(of_column))
            ),
        ]
        m.d.comb += [ended.eq(ending), new_out.eq(Mux(ending, added, out))]
        m.d.sync += out.eq(new_out)
        m.d.sync += sums.eq(Mux(ending, 0, added))
        with m.If(ending):
            m.d.sync += full.eq(1)
        with m.Elif(taken):
            m.d.sync += full.eq(0)


def _ones(bits: Value) -> Value:
    """How many of the bits are set."""
    return sum(bits[k] for k in range(len(bits)))  # type: ignore[return-value]
