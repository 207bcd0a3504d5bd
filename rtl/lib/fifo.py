"""First-word-fall-through FIFO: the one queue that every component uses."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Fifo"]


class Fifo(wiring.Component):
    """Queue of any payload between two streams.

    Latency: one cycle from ``i`` to ``o``. Throughput: one word per cycle, also when full words keep
    streaming through. ``i.ready`` and ``o.valid`` are functions of registers alone, except that with
    ``depth=1`` ``i.ready`` also follows ``o.ready`` (otherwise one register could only work every
    other cycle). Wrap it in ``ResetInserter(clear)`` for a soft reset: it then is empty.

    Parameters
    ----------
    shape
        Shape of a word.
    depth
        Number of words, at least 1. Above 1 they live in a memory with an asynchronous read port
        (distributed RAM on an FPGA).

    Members
    -------
    i, o
        Input and output stream; ``o.payload`` is undefined while ``o.valid`` is low.
    level
        Words in the queue, 0 .. depth.
    """

    def __init__(self, *, shape: ShapeLike, depth: int) -> None:
        if type(depth) is not int or depth < 1:
            raise ValueError(f"Depth must be a positive integer, not {depth!r}")
        self._shape = shape
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    @property
    def depth(self) -> int:
        return self._depth

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        push = Signal()
        pop = Signal()
        m.d.comb += [push.eq(self.i.valid & self.i.ready), pop.eq(self.o.valid & self.o.ready)]
        width = Shape.cast(self._shape).width
        i_word = Value.cast(self.i.payload)
        o_word = Value.cast(self.o.payload)
        if self._depth == 1:
            word = Signal(width, reset_less=True)
            m.d.comb += [
                self.o.valid.eq(self.level),
                self.i.ready.eq(~self.level | self.o.ready),
                o_word.eq(word),
            ]
            with m.If(push):
                m.d.sync += word.eq(i_word)
            with m.If(push ^ pop):
                m.d.sync += self.level.eq(push)
            return m

        m.submodules.words = words = Memory(shape=unsigned(width), depth=self._depth, init=())
        write = words.write_port()
        read = words.read_port(domain="comb")
        m.d.comb += [write.data.eq(i_word), write.en.eq(push), o_word.eq(read.data)]
        power_of_two = self._depth & (self._depth - 1) == 0
        if power_of_two:
            # One bit more than an address, so that full differs from empty.
            write_at = Signal(range(2 * self._depth))
            read_at = Signal(range(2 * self._depth))
            m.d.comb += [
                self.level.eq((write_at - read_at)[: len(write_at)]),
                self.o.valid.eq(write_at != read_at),
                self.i.ready.eq((write_at ^ read_at) != self._depth),
            ]
        else:
            write_at = Signal(range(self._depth))
            read_at = Signal(range(self._depth))
            m.d.comb += [self.o.valid.eq(self.level != 0), self.i.ready.eq(self.level != self._depth)]
            with m.If(push & ~pop):
                m.d.sync += self.level.eq(self.level + 1)
            with m.Elif(pop & ~push):
                m.d.sync += self.level.eq(self.level - 1)
        m.d.comb += [write.addr.eq(write_at[: len(write.addr)]), read.addr.eq(read_at[: len(read.addr)])]
        for step, at in ((push, write_at), (pop, read_at)):
            with m.If(step):
                m.d.sync += at.eq(at + 1 if power_of_two else Mux(at == self._depth - 1, 0, at + 1))
        return m
