"""Bit masks and destination sets, written so that no intermediate result is wider than the mask."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value, ValueLike
from amaranth.utils import exact_log2

from rtl.contract.params import ChipParams

__all__ = ["core_dest", "cores_dest", "memory_dest", "mixed_planes", "ones", "ones_between", "plane_masks"]


def ones(count: ValueLike, width: int) -> Value:
    """The lowest ``count`` of ``width`` bits; ``count`` is at most ``width``."""
    return Const((1 << width) - 1, width) >> (width - Value.cast(count))[: width.bit_length()]


def ones_between(first: Value, count: Value, width: int) -> Value:
    """Bits ``first`` to ``first + count - 1`` of ``width``."""
    return ones(first + count, width) & ~ones(first, width)


def core_dest(chip: ChipParams, core: Value) -> Value:
    """``header.dest`` of one core."""
    return (1 << core[:6])[: chip.n_cores]


def cores_dest(chip: ChipParams, first: Value, last: Value) -> Value:
    """``header.dest`` of the cores from one to another."""
    return Cat((first <= core) & (last >= core) for core in range(chip.n_cores))


def memory_dest(chip: ChipParams, memory: Value) -> Value:
    """``header.dest`` of one memory node."""
    return Cat(Const(0, chip.n_cores), (1 << memory[:4])[: len(chip.memory_nodes)])


def plane_masks(chip: ChipParams) -> dict[int, int]:
    """Cores that have the same act_groups, as a mask, by its binary logarithm."""
    masks: dict[int, int] = {}
    for number, core in enumerate(chip.cores):
        shift = exact_log2(core.act_groups(chip.link_bytes))
        masks[shift] = masks.get(shift, 0) | 1 << number
    return masks


def mixed_planes(chip: ChipParams, planar: Value, cores: Value) -> Value:
    """Whether flits are planar and go to cores, a mask, that space such flits differently."""
    masks = plane_masks(chip)
    if len(masks) == 1:
        return Const(0, 1)
    hits = Cat((cores & mask).any() for mask in masks.values())
    return planar & ((hits & (hits - 1)[: len(hits)]) != 0)
