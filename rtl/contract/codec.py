"""Codec of instructions and parameter blocks: the one encoder and decoder of what `rtl.contract.isa` defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data

from rtl.contract.engines import ENGINES
from rtl.contract.isa import INSTRUCTION_BYTES, LAYOUTS, PARAM_BYTES_PER_CHANNEL, TABLE_BYTES, Opcode
from rtl.contract.params import CoreParams

__all__ = [
    "Field",
    "decode",
    "encode",
    "encode_fields",
    "encoder",
    "field_range",
    "fields_of",
    "opcode_of",
    "pack_params",
    "signal_bits",
    "store_cores",
    "table_blocks",
    "unpack_params",
    "wait_bits",
]


class Field(NamedTuple):
    """Place of a field in an instruction."""

    offset: int
    width: int
    signed: bool


def fields_of(opcode: Opcode) -> Mapping[str, Field]:
    """All fields of an instruction by name, of a SETUP also each engine's options, which lie over each other."""
    return _fields(opcode, ENGINES.changes)


@cache
def _fields(opcode: Opcode, _changes: int) -> dict[str, Field]:
    table = _read_off(LAYOUTS[opcode], 0)
    for spec in ENGINES.values() if opcode == Opcode.SETUP else ():
        table |= _read_off(spec.options, table["options"].offset)
    return table


def _read_off(layout: data.StructLayout, base: int) -> dict[str, Field]:
    table = {}
    for name, field in layout:
        shape = Shape.cast(field.shape)
        table[name] = Field(base + field.offset, shape.width, shape.signed)
    return table


def field_range(opcode: Opcode, name: str) -> tuple[int, int]:
    """Smallest and largest value that a field holds."""
    _, width, is_signed = fields_of(opcode)[name]
    return (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)


def encode(opcode: Opcode, bits: int = 0, **values: int) -> bytes:
    """The 32 bytes of an instruction; absent fields are zero, `bits` holds fields that were encoded before.

    Options of an engine go by their names, like fields: ``encode(Opcode.SETUP, engine=Engine.TAP, tap_shift=3)``.

    Raises
    ------
    ValueError
        For an unknown field, or a value that its field cannot hold.
    """
    return encoder(opcode, *values)(bits, *values.values())


def encode_fields(opcode: Opcode, **values: int) -> int:
    """Some fields of an instruction alone; bits of different fields are joined by ``|``."""
    return int.from_bytes(encoder(opcode, *values)(0, *values.values()), "little") ^ int(opcode)


def encoder(opcode: Opcode, *names: str) -> Callable[..., bytes]:
    """`encode` for many instructions of which only these fields differ.

    Returns
    -------
    callable
        ``encoder(opcode, "a", "b")(bits, 1, 2)`` is ``encode(opcode, bits, a=1, b=2)``.
    """
    return _encoder(opcode, names, ENGINES.changes)


@cache
def _encoder(opcode: Opcode, names: tuple[str, ...], _changes: int) -> Callable[..., bytes]:
    table = fields_of(opcode)
    unknown = [name for name in names if name not in table or name == "opcode"]
    if unknown:
        raise ValueError(f"{opcode.name} has no field {unknown[0]!r}")
    places = [(table[name].offset, *field_range(opcode, name), (1 << table[name].width) - 1) for name in names]
    code = int(opcode)

    def pack(bits: int, *values: int) -> bytes:
        word = code | bits
        for (offset, low, high, mask), value in zip(places, values, strict=True):
            if not low <= value <= high:
                name = names[[place[0] for place in places].index(offset)]
                raise ValueError(f"{opcode.name}.{name} = {int(value)} does not fit its {mask.bit_length()} bits")
            word |= (int(value) & mask) << offset
        return word.to_bytes(INSTRUCTION_BYTES, "little")

    return pack


@cache
def wait_bits(slot: int, first: int, count: int) -> int:
    """Wait range `slot` of any instruction, for `encode`."""
    return encode_fields(Opcode.SYNC, **{f"wait{slot}_first": first, f"wait{slot}_count": count})


@cache
def signal_bits(slot: int, token: int, core: int) -> int:
    """Signal `slot` of any instruction that has signals, for `encode`."""
    values = {f"signal{slot}_valid": 1, f"signal{slot}_token": token, f"signal{slot}_core": core}
    return encode_fields(Opcode.SYNC, **values)


def opcode_of(raw: bytes) -> Opcode:
    """Opcode of 32 bytes, without the rest; ``ILLEGAL`` for an unknown one."""
    try:
        return Opcode(raw[0] & 15)
    except ValueError:
        return Opcode.ILLEGAL


def decode(raw: bytes) -> tuple[Opcode, dict[str, int]]:
    """Opcode and fields of 32 bytes; an unknown opcode decodes as ``ILLEGAL`` without fields.

    Of a SETUP, ``options`` is what its engine's options were read from; those of all other engines are 0.
    """
    word = int.from_bytes(raw[:INSTRUCTION_BYTES], "little")
    opcode = opcode_of(raw)
    if opcode not in LAYOUTS:
        return Opcode.ILLEGAL, {}
    values = {}
    for name, (offset, width, is_signed) in fields_of(opcode).items():
        value = word >> offset & (1 << width) - 1
        values[name] = value - (1 << width) if is_signed and value >> width - 1 else value
    if opcode == Opcode.SETUP:
        for spec in ENGINES.values():
            if spec.code != values["engine"]:
                values.update((name, 0) for name, _ in spec.options)
    return opcode, values


def pack_params(bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Requantisation parameters as they lie in memory.

    Parameters
    ----------
    bias, multiplier, shift : int[N]
        int32, 0 .. 2**24-1 and 0 .. 63.

    Returns
    -------
    uint8[8 * N]
    """
    if np.any((multiplier < 0) | (multiplier >= 1 << 24)) or np.any((shift < 0) | (shift > 63)):
        raise ValueError("multiplier must be below 2**24 and shift from 0 to 63")
    word = bias.astype(np.int64) & 0xFFFFFFFF
    word = word | multiplier.astype(np.int64) << 32 | shift.astype(np.int64) << 56
    return word.astype("<i8").view(np.uint8)


def table_blocks(link_bytes: int) -> int:
    """Parameter blocks that an activation table takes up; it starts at the first one's first byte."""
    return -(-TABLE_BYTES // (link_bytes * PARAM_BYTES_PER_CHANNEL))


def store_cores(fields: Mapping[str, int], sender: CoreParams) -> range:
    """Cores to which a STORE to cores goes, some of which may not exist; `sender` is the core that executes it."""
    return range(fields["core"], fields["core"] + 1 + (fields["more"] if sender.multicast else 0))


def unpack_params(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse of `pack_params`: bias int32[N], multiplier int32[N], shift int32[N]."""
    word = np.ascontiguousarray(raw, dtype=np.uint8).view("<i8")
    bias = (word & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return bias, (word >> 32 & 0xFFFFFF).astype(np.int32), (word >> 56 & 0x3F).astype(np.int32)
