"""Instructions survive encoding; values that do not fit are refused."""

import random
import re

import numpy as np
import pytest
from amaranth.hdl import Const

from rtl.contract import codec, isa


@pytest.mark.parametrize("opcode", list(isa.LAYOUTS))
def test_every_field_survives_the_round_trip(opcode: isa.Opcode):
    rng = random.Random(int(opcode))
    names = [name for name, _ in isa.LAYOUTS[opcode] if name not in {"opcode", "reserved"}]
    for _ in range(50):
        values = {name: rng.randint(*codec.field_range(opcode, name)) for name in names}
        raw = codec.encode(opcode, **values)
        assert len(raw) == isa.INSTRUCTION_BYTES
        got_opcode, got = codec.decode(raw)
        assert got_opcode == opcode
        assert {name: got[name] for name in names} == values


def test_encoding_is_the_hardware_layout():
    fields = {"act_base": 77, "iy0": -3, "signal2_valid": 1, "signal2_core": 9, "accumulate": 1}
    layout = isa.LAYOUTS[isa.Opcode.COMPUTE]
    by_amaranth = Const.cast(layout.const({"opcode": isa.Opcode.COMPUTE, **fields})).value
    assert int.from_bytes(codec.encode(isa.Opcode.COMPUTE, **fields), "little") == by_amaranth


def test_prefix_and_signals_stand_at_the_same_bits_everywhere():
    for opcode, layout in isa.LAYOUTS.items():
        for name, field in isa.Prefix:
            assert layout[name].offset == field.offset
        if opcode in {isa.Opcode.SYNC, isa.Opcode.COMPUTE, isa.Opcode.STORE}:
            for name, field in isa.Signals:
                assert layout[name].offset == field.offset + isa.Prefix.size


def test_instructions_can_be_encoded_in_parts():
    whole = codec.encode(
        isa.Opcode.COMPUTE, wait1_first=5, wait1_count=2, signal2_valid=1, signal2_token=7, signal2_core=3, blocks=9,
        iy0=-4, act_base=77,
    )  # fmt: skip
    bits = codec.wait_bits(1, 5, 2) | codec.signal_bits(2, 7, 3) | codec.encode_fields(isa.Opcode.COMPUTE, blocks=9)
    assert codec.encode(isa.Opcode.COMPUTE, bits, iy0=-4, act_base=77) == whole
    assert codec.encoder(isa.Opcode.COMPUTE, "act_base", "iy0")(bits, 77, -4) == whole


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dst": 1 << 18}, "LOAD.dst = 262144 does not fit its 18 bits"),
        ({"runs": -1}, "LOAD.runs = -1 does not fit"),
        ({"nonsense": 1}, "LOAD has no field 'nonsense'"),
    ],
)
def test_encode_refuses(values: dict, message: str):
    for parts in (codec.encode, codec.encode_fields):
        with pytest.raises(ValueError, match=re.escape(message)):
            parts(isa.Opcode.LOAD, **values)


@pytest.mark.parametrize("code", [0, 9, 15])
def test_unknown_opcodes_decode_as_illegal(code: int):
    assert codec.decode(bytes([code]) + bytes(31)) == (isa.Opcode.ILLEGAL, {})


def test_parameters_survive_packing():
    rng = np.random.default_rng(1)
    bias = rng.integers(-(2**31), 2**31, 40)
    multiplier = rng.integers(0, 2**24, 40)
    shift = rng.integers(0, 64, 40)
    raw = codec.pack_params(bias, multiplier, shift)
    assert raw.shape == (40 * isa.PARAM_BYTES_PER_CHANNEL,)
    for got, expected in zip(codec.unpack_params(raw), (bias, multiplier, shift), strict=True):
        assert np.array_equal(got, expected)


def test_parameters_out_of_range_are_refused():
    zero = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match="multiplier must be below"):
        codec.pack_params(zero, zero + 2**24, zero)
