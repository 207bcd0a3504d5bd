"""Scratchpad: a flat byte array, written a flit at a time and read unaligned.

Two banks of words of ``max(write_bytes, read_bytes)`` bytes are interleaved (even and odd words), so that
the two words that an unaligned read may touch come in one cycle and are rotated into place.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.lib.ram import Ram

__all__ = ["Scratchpad", "scratchpad_read", "scratchpad_write"]


def scratchpad_write(*, size_bytes: int, write_bytes: int) -> wiring.Signature:
    """Write port, seen from the writer: ``data`` lanes chosen by ``mask`` to byte ``addr * write_bytes``."""
    return wiring.Signature(
        {
            "valid": Out(1),
            "addr": Out(exact_log2(size_bytes // write_bytes)),
            "data": Out(8 * write_bytes),
            "mask": Out(write_bytes),
        }
    )


def scratchpad_read(*, size_bytes: int, read_bytes: int) -> wiring.Signature:
    """Read port, seen from the reader: ``data`` holds the bytes from ``addr`` on, the cycle after ``enable``."""
    return wiring.Signature(
        {
            "enable": Out(1),
            "addr": Out(exact_log2(size_bytes)),
            "data": In(8 * read_bytes),
        }
    )


class Scratchpad(wiring.Component):
    """Byte memory with one write port and one read port, both used every cycle.

    Latency: a read takes 1 cycle, and its data are held until the next read. A write is in memory for
    reads enabled from the next cycle on; a read enabled in the same cycle gives the old bytes.
    Throughput: one write and one read per cycle, at any addresses.

    Members
    -------
    write : In(`scratchpad_write`)
        Always accepted.
    read : In(`scratchpad_read`)
        Any byte address; low byte first. Reads past the end go on at byte 0.
    """

    def __init__(self, *, size_bytes: int, write_bytes: int, read_bytes: int) -> None:
        for name, value in (("size_bytes", size_bytes), ("write_bytes", write_bytes), ("read_bytes", read_bytes)):
            if value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        self.size_bytes = size_bytes
        self.write_bytes = write_bytes
        self.read_bytes = read_bytes
        self.word_bytes = max(write_bytes, read_bytes)
        if size_bytes < 2 * self.word_bytes:
            raise ValueError(f"size_bytes must be at least two words of {self.word_bytes} bytes, not {size_bytes}")
        super().__init__(
            {
                "write": In(scratchpad_write(size_bytes=size_bytes, write_bytes=write_bytes)),
                "read": In(scratchpad_read(size_bytes=size_bytes, read_bytes=read_bytes)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        word_bytes = self.word_bytes
        groups = word_bytes // self.write_bytes
        group_bits = exact_log2(groups)
        offset_bits = exact_log2(word_bytes)
        banks = [
            Ram(width=8 * word_bytes, depth=self.size_bytes // word_bytes // 2, granularity=8) for _ in range(2)
        ]
        m.submodules.even, m.submodules.odd = banks

        write_word = self.write.addr[group_bits:]
        write_group = self.write.addr[:group_bits]
        for parity, bank in enumerate(banks):
            m.d.comb += [
                bank.write_addr.eq(write_word[1:]),
                bank.write_data.eq(self.write.data.replicate(groups)),
            ]
            with m.If(self.write.valid & (write_word[0] == parity)):
                for group in range(groups):
                    lanes = bank.write_enable[group * self.write_bytes : (group + 1) * self.write_bytes]
                    with m.If(write_group == group):
                        m.d.comb += lanes.eq(self.write.mask)

        # A read that stays inside its word leaves the other bank alone.
        read_word = self.read.addr[offset_bits:]
        offset = self.read.addr[:offset_bits]
        crosses = Signal()
        m.d.comb += crosses.eq(offset > word_bytes - self.read_bytes)
        even, odd = banks
        m.d.comb += [
            even.read_addr.eq(read_word[1:] + read_word[0]),
            odd.read_addr.eq(read_word[1:]),
            even.read_enable.eq(self.read.enable & (~read_word[0] | crosses)),
            odd.read_enable.eq(self.read.enable & (read_word[0] | crosses)),
        ]
        held_odd = Signal()
        held_offset = Signal(offset_bits)
        with m.If(self.read.enable):
            m.d.sync += [held_odd.eq(read_word[0]), held_offset.eq(offset)]
        pair = Mux(held_odd, Cat(odd.read_data, even.read_data), Cat(even.read_data, odd.read_data))
        m.d.comb += self.read.data.eq(pair >> Cat(Const(0, 3), held_offset))
        return m
