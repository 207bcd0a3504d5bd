"""Accumulator memory: entries of C x int32 in two banks, updated in place by the engine, read by the drain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.lib.ram import Ram

__all__ = ["Accumulator", "accumulator_read", "accumulator_update"]


def accumulator_update(*, entries: int, cols: int) -> wiring.Signature:
    """Update port, seen from the engine: ``entry[addr] = data``, ``max(entry[addr], data)`` or ``entry[addr] + data``.

    ``overwrite`` stores, else ``is_max`` takes the signed maximum, else data are added (modulo 2**32).
    """
    return wiring.Signature(
        {
            "valid": Out(1),
            "addr": Out(exact_log2(entries)),
            "data": Out(32 * cols),
            "overwrite": Out(1),
            "is_max": Out(1),
        }
    )


def accumulator_read(*, entries: int, cols: int) -> wiring.Signature:
    """Read port, seen from the reader: accepted when ``valid & ready``; ``data`` the cycle after."""
    return wiring.Signature(
        {
            "valid": Out(1),
            "addr": Out(exact_log2(entries)),
            "ready": In(1),
            "data": In(32 * cols),
        }
    )


class Accumulator(wiring.Component):
    """Two banks of ``entries / 2`` entries; the address's top bit chooses the bank.

    Latency: an update accepted in cycle t is in memory for reads accepted from cycle t + 2 on. The data of a read
    are there in the next cycle, and only then.
    Throughput: one update per cycle, of any address, the same one again included (forwarded); one read
    per cycle of the bank that the engine is not reading.

    Members
    -------
    update : In(`accumulator_update`)
        Always accepted.
    read : In(`accumulator_read`)
        ``ready`` falls only while an update other than ``overwrite`` reads the same bank.
    """

    def __init__(self, *, entries: int, cols: int) -> None:
        if entries < 4 or entries & (entries - 1):
            raise ValueError(f"entries must be a power of two of at least 4, not {entries}")
        if cols < 1:
            raise ValueError(f"cols must be at least 1, not {cols}")
        self.entries = entries
        self.cols = cols
        super().__init__(
            {
                "update": In(accumulator_update(entries=entries, cols=cols)),
                "read": In(accumulator_read(entries=entries, cols=cols)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width = 32 * self.cols
        banks = [Ram(width=width, depth=self.entries // 2) for _ in range(2)]
        m.submodules.bank0, m.submodules.bank1 = banks
        update, read = self.update, self.read

        # Stage 1: old value (or drained entry) out of the bank.
        update_reads = Signal()
        m.d.comb += [
            update_reads.eq(update.valid & ~update.overwrite),
            read.ready.eq(~(update_reads & (update.addr[-1] == read.addr[-1]))),
        ]
        for number, bank in enumerate(banks):
            engine = Signal(name=f"engine{number}")
            m.d.comb += [
                engine.eq(update_reads & (update.addr[-1] == number)),
                bank.read_addr.eq(Mux(engine, update.addr, read.addr)[:-1]),
                bank.read_enable.eq(engine | (read.valid & (read.addr[-1] == number))),
            ]
        read_bank = Signal()
        with m.If(read.valid & read.ready):
            m.d.sync += read_bank.eq(read.addr[-1])
        m.d.comb += read.data.eq(Mux(read_bank, banks[1].read_data, banks[0].read_data))

        # Stage 2: new value back. The bank gives the update right behind it the old entry, so that one
        # takes the value from `forwarded`.
        valid = Signal()
        addr = Signal.like(update.addr)
        data = Signal(width, reset_less=True)
        overwrite = Signal()
        is_max = Signal()
        m.d.sync += valid.eq(update.valid)
        with m.If(update.valid):
            m.d.sync += [
                addr.eq(update.addr),
                data.eq(update.data),
                overwrite.eq(update.overwrite),
                is_max.eq(update.is_max),
            ]
        use_forwarded = Signal()
        forwarded = Signal(width, reset_less=True)
        old = Signal(width)
        result = Signal(width)
        with m.If(use_forwarded):
            m.d.comb += old.eq(forwarded)
        with m.Elif(addr[-1]):
            m.d.comb += old.eq(banks[1].read_data)
        with m.Else():
            m.d.comb += old.eq(banks[0].read_data)
        lanes = [
            (old.word_select(lane, 32).as_signed(), data.word_select(lane, 32).as_signed())
            for lane in range(self.cols)
        ]
        with m.If(overwrite):
            m.d.comb += result.eq(data)
        with m.Elif(is_max):
            m.d.comb += result.eq(Cat(Mux(a > b, a, b) for a, b in lanes))
        with m.Else():
            m.d.comb += result.eq(Cat((a + b)[:32] for a, b in lanes))
        same = Signal()
        m.d.comb += same.eq(valid & update.valid & (update.addr == addr))
        m.d.sync += use_forwarded.eq(same)
        with m.If(same):
            m.d.sync += forwarded.eq(result)
        for number, bank in enumerate(banks):
            m.d.comb += [
                bank.write_addr.eq(addr[:-1]),
                bank.write_data.eq(result),
                bank.write_enable.eq(valid & (addr[-1] == number)),
            ]
        return m
