"""Bit masks and destination sets, written so that no intermediate result is wider than the mask."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value, ValueLike

from rtl.contract.params import ChipParams

__all__ = ["core_dest", "memory_dest", "ones", "ones_between"]


def ones(count: ValueLike, width: int) -> Value:
    """The lowest ``count`` of ``width`` bits; ``count`` is at most ``width``."""
    return Const((1 << width) - 1, width) >> (width - Value.cast(count))[: width.bit_length()]


def ones_between(first: Value, count: Value, width: int) -> Value:
    """Bits ``first`` to ``first + count - 1`` of ``width``."""
    return ones(first + count, width) & ~ones(first, width)


def core_dest(chip: ChipParams, core: Value) -> Value:
    """``header.dest`` of one core."""
    return (1 << core[:6])[: chip.n_cores]


def memory_dest(chip: ChipParams, memory: Value) -> Value:
    """``header.dest`` of one memory node."""
    return Cat(Const(0, chip.n_cores), (1 << memory[:4])[: len(chip.memory_nodes)])
