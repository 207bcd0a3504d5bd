"""A synchronous RAM with one read and one write port: every memory of the chip is one of these.

Read-first: a read of the address being written in the same cycle gives the old data. Read data are
valid the cycle after ``read_enable`` and are held until the next read.

Members: ``write_enable`` (one bit per lane of ``granularity`` bits), ``write_addr``, ``write_data``;
``read_enable``, ``read_addr``, ``read_data``.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Ram"]


class Ram(wiring.Component):
    """RAM of ``depth`` words of ``width`` bits, written in lanes of ``granularity`` bits.

    In Amaranth's simulator it is `amaranth.lib.memory.Memory`; elaborated for a platform it is an
    instance of ``verilog/systomesh_ram.v``, because a `Memory` would emit one line for each word.
    """

    def __init__(self, *, width: int, depth: int, granularity: int | None = None) -> None:
        granularity = width if granularity is None else granularity
        if width < 1 or depth < 1:
            raise ValueError(f"a RAM of {depth} words of {width} bits: both must be at least 1")
        if granularity < 1 or width % granularity:
            raise ValueError(f"granularity {granularity} does not divide the width of {width} bits")
        self.width = width
        self.depth = depth
        self.granularity = granularity
        self.lanes = width // granularity
        self.addr_bits = max(1, ceil_log2(depth))
        super().__init__(
            {
                "write_enable": In(self.lanes),
                "write_addr": In(self.addr_bits),
                "write_data": In(width),
                "read_enable": In(1),
                "read_addr": In(self.addr_bits),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if platform is not None:
            m.submodules.ram = Instance(
                "systomesh_ram",
                p_WIDTH=self.width,
                p_DEPTH=self.depth,
                p_GRANULARITY=self.granularity,
                p_ADDR_BITS=self.addr_bits,
                i_clk=ClockSignal(),
                i_write_enable=self.write_enable,
                i_write_addr=self.write_addr,
                i_write_data=self.write_data,
                i_read_enable=self.read_enable,
                i_read_addr=self.read_addr,
                o_read_data=self.read_data,
            )
            return m
        m.submodules.ram = ram = memory.Memory(shape=unsigned(self.width), depth=self.depth, init=[])
        write = ram.write_port(granularity=self.granularity if self.lanes > 1 else None)
        read = ram.read_port()
        address = slice(0, len(write.addr))  # a memory of one word has no address bits
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_addr[address]),
            write.data.eq(self.write_data),
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_addr[address]),
            self.read_data.eq(read.data),
        ]
        return m
