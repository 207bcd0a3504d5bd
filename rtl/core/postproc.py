"""Post-processing: requantisation of int32 accumulators to int8, all lanes of a flit at once.

    out = clamp(round_half_even((acc + bias) * multiplier / 2**shift) + zero_point, lo, hi)

and, where the levels say so, of an activation on top: entry ``out + 128`` of a table of 256 int8.

Dataflow, one register behind each step, so that a new set of lanes enters every cycle:

    acc -> + bias (33 bits) -> * multiplier (57 bits) -> >> shift, rounded, saturated (10 bits)
        -> + zero point, clamped (8 bits) -> as it is, or what the lane's memory holds for it -> out
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.contract.isa import TABLE_BYTES
from rtl.lib.bits import ones
from rtl.lib.ram import Ram

__all__ = ["LEVELS", "MIN_SWAP_CYCLES", "PostProcessor"]

LEVELS = data.StructLayout({"zero_point": signed(8), "lo": signed(8), "hi": signed(8), "table": 1})
MIN_SWAP_CYCLES = 5
"""Two swaps lie at least this far apart."""


class PostProcessor(wiring.Component):
    """Requantises ``lanes`` accumulators a cycle, each lane with its own bias, multiplier and shift.

    Latency: 4 cycles from ``valid`` to ``o_valid``. Throughput: one set of lanes per cycle, no back-pressure.

    Parameters are loaded beside the running work and swapped in without a bubble: when ``swap`` is high in
    cycle h, accumulators entering in cycle h + 1 still use the old ones, and from cycle h + 2 on the new ones.

    Members
    -------
    load, load_index, load_data
        Flit ``load_index`` of a parameter block (`rtl.contract.isa.pack_params`). From two cycles after a swap on.
    swap, levels
        The loaded block and these levels are for what enters two cycles later.
    valid, acc
        Accumulators, lane 0 in the low bits.
    table_write, table_addr, table_data
        Sets an entry of the table, in all lanes. Not while accumulators whose levels use it are under way.
    busy
        Accumulators that came in before this cycle are under way.
    o_valid, o_data
        Lanes of int8.
    table_read
        The lanes look into their tables; only where that is ``counted``.
    """

    def __init__(self, *, lanes: int, link_bytes: int, counted: bool = False) -> None:
        if not 1 <= lanes <= link_bytes:
            raise ValueError(f"lanes must be from 1 to the {link_bytes} bytes of a flit, not {lanes}")
        self.lanes = lanes
        self.link_bytes = link_bytes
        self.counted = counted
        self.param_flits = max(1, 8 * lanes // link_bytes)
        """Flits of a parameter block that these lanes use."""
        super().__init__(
            {
                "load": In(1),
                "load_index": In(3),
                "load_data": In(8 * link_bytes),
                "swap": In(1),
                "levels": In(LEVELS),
                "valid": In(1),
                "acc": In(32 * lanes),
                "table_write": In(1),
                "table_addr": In(8),
                "table_data": In(8),
                "busy": Out(1),
                "o_valid": Out(1),
                "o_data": Out(8 * lanes),
                **({"table_read": Out(1)} if counted else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        swaps = Signal(4)
        with m.If(self.swap | swaps.any()):
            m.d.sync += swaps.eq(Cat(self.swap, swaps[:3]))
        levels = [Signal(LEVELS, name=f"levels{i}", reset_less=True) for i in range(3)]
        with m.If(self.swap):
            m.d.sync += levels[0].eq(self.levels)
        with m.If(swaps[1]):
            m.d.sync += levels[1].eq(levels[0])
        with m.If(swaps[3]):
            m.d.sync += levels[2].eq(levels[1])

        valid = Signal(4)
        with m.If(self.valid | valid.any()):
            m.d.sync += valid.eq(Cat(self.valid, valid[:3]))
        clamped = Cat(self._lane(m, lane, swaps, valid, levels[2]) for lane in range(self.lanes))
        plain = Signal(8 * self.lanes, reset_less=True)
        looked_up = Signal(reset_less=True)
        with m.If(valid[2]):
            m.d.sync += [looked_up.eq(levels[2].table), plain.eq(clamped)]
        entries = Cat(
            self._table(m, lane, valid[2] & levels[2].table, clamped.word_select(lane, 8)) for lane in range(self.lanes)
        )
        if self.counted:
            m.d.comb += self.table_read.eq(valid[2] & levels[2].table)
        m.d.comb += [
            self.busy.eq(valid.any()),
            self.o_valid.eq(valid[3]),
            self.o_data.eq(Mux(looked_up, entries, plain)),
        ]
        return m

    def _table(self, m: Module, lane: int, enable: Value, clamped: Value) -> Value:
        """The lane's copy of the table; returns the entry, the cycle after."""
        m.submodules[f"table{lane}"] = table = Ram(width=8, depth=TABLE_BYTES)
        m.d.comb += [
            table.write_enable.eq(self.table_write),
            table.write_addr.eq(self.table_addr),
            table.write_data.eq(self.table_data),
            table.read_enable.eq(enable),
            table.read_addr.eq(clamped ^ 0x80),  # + 128
        ]
        return table.read_data

    def _lane(self, m: Module, lane: int, swaps: Signal, valid: Signal, levels: Any) -> Value:
        """One lane up to the clamp; returns its 8 bits."""

        def register(name: str, shape: Any) -> Signal:
            return Signal(shape, name=f"{name}{lane}", reset_less=True)

        bias, next_bias = register("bias", signed(32)), register("next_bias", signed(32))
        multiplier, next_multiplier = register("multiplier", unsigned(24)), register("next_multiplier", unsigned(24))
        shift, held_shift, next_shift = (register(name, unsigned(6)) for name in ("shift", "held_shift", "next_shift"))

        # Parameters: 8 bytes from byte 8 * lane of the block.
        flit, offset = divmod(8 * lane, self.link_bytes)
        with m.If(self.load & (self.load_index == flit)):
            m.d.sync += next_bias.eq(self.load_data[8 * offset :][:32])
        flit, offset = divmod(8 * lane + 4, self.link_bytes)
        with m.If(self.load & (self.load_index == flit)):
            m.d.sync += Cat(next_multiplier, next_shift).eq(self.load_data[8 * offset :][:30])
        with m.If(swaps[0]):
            m.d.sync += [bias.eq(next_bias), held_shift.eq(next_shift)]
        with m.If(swaps[1]):
            m.d.sync += multiplier.eq(next_multiplier)
        with m.If(swaps[2]):
            m.d.sync += shift.eq(held_shift)

        total = register("total", signed(33))
        with m.If(self.valid):
            m.d.sync += total.eq(self.acc.word_select(lane, 32).as_signed() + bias)
        product = register("product", signed(57))
        with m.If(valid[0]):
            m.d.sync += product.eq(total * multiplier)

        # The quotient with one bit behind the point, and whether anything is lost behind that.
        scaled = Signal(signed(57), name=f"scaled{lane}")
        quotient = Signal(signed(58), name=f"quotient{lane}")
        lost = Signal(name=f"lost{lane}")
        rounded = register("rounded", signed(10))
        saturated = Signal(signed(10), name=f"saturated{lane}")
        with m.If(valid[1]):
            doubled = Cat(0, product).as_signed()
            m.d.comb += [
                quotient.eq(doubled >> shift),
                lost.eq((doubled.as_unsigned() & ones(shift, 63)[:58]).any()),
                scaled.eq((quotient >> 1) + (quotient[0] & (lost | quotient[1]))),
            ]
            m.d.comb += saturated.eq(scaled[:10].as_signed())
            with m.If(scaled > 511):
                m.d.comb += saturated.eq(511)
            with m.Elif(scaled < -512):
                m.d.comb += saturated.eq(-512)
            m.d.sync += rounded.eq(saturated)

        shifted = Signal(signed(11), name=f"shifted{lane}")
        raised = Signal(signed(11), name=f"raised{lane}")
        output = Signal(signed(8), name=f"output{lane}")
        with m.If(valid[2]):
            m.d.comb += [
                shifted.eq(rounded + levels.zero_point),
                raised.eq(Mux(shifted < levels.lo, levels.lo, shifted)),
                output.eq(Mux(raised > levels.hi, levels.hi, raised)),
            ]
        return output.as_unsigned()
