"""Instruction streams as arrays: one pass of NumPy instead of a loop over instructions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from amaranth.hdl import Shape

from rtl.isa import INSTRUCTION_BYTES, LAYOUTS, Opcode

__all__ = ["decode_stream"]


@cache
def _fields(opcode: Opcode) -> tuple[tuple[str, int, int, bool], ...]:
    table = []
    for name, field in LAYOUTS[opcode]:
        shape = Shape.cast(field.shape)
        if name != "reserved":
            table.append((name, field.offset, shape.width, shape.signed))
    return tuple(table)


def decode_stream(stream: Sequence[bytes]) -> list[tuple[Opcode, dict[str, int]]]:
    """Opcode and fields of every instruction; the same as `rtl.isa.decode` one by one, but faster."""
    words = np.frombuffer(b"".join(stream), dtype="<u8").reshape(-1, INSTRUCTION_BYTES // 8)
    codes = (words[:, 0] & np.uint64(15)).astype(int)
    out: list[tuple[Opcode, dict[str, int]]] = [(Opcode.ILLEGAL, {})] * len(words)
    for opcode in LAYOUTS:
        (where,) = np.nonzero(codes == int(opcode))
        if not len(where):
            continue
        names = [name for name, *_ in _fields(opcode)]
        columns = [_extract(words[where], offset, width, signed) for _, offset, width, signed in _fields(opcode)]
        for index, values in zip(where.tolist(), zip(*columns, strict=True), strict=True):
            out[index] = (opcode, dict(zip(names, values, strict=True)))
    return out


def _extract(words: np.ndarray, offset: int, width: int, signed: bool) -> list[int]:
    word, bit = divmod(offset, 64)
    value = words[:, word] >> np.uint64(bit)
    if bit + width > 64:
        value = value | words[:, word + 1] << np.uint64(64 - bit)
    if width < 64:
        value = value & np.uint64((1 << width) - 1)
        if signed:
            value = value.astype(np.int64)
            value = np.where(value >> (width - 1), value - (1 << width), value)
    return value.tolist()
