"""Requantisation against exact rational arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.errors import QuantError
from golden.int8.ops import requantize
from golden.int8.requant import Requant


def reference(acc: int, multiplier: int, shift: int, zero_point: int, lo: int, hi: int) -> int:
    scaled = round(Fraction(acc * multiplier, 1 << shift))  # Fraction rounds half to even
    return min(max(scaled + zero_point, lo), hi)


def one(acc: int, multiplier: int, shift: int, zero_point: int = 0, lo: int = -128, hi: int = 127) -> int:
    requant = Requant(np.array([multiplier], np.int32), np.array([shift], np.int32), zero_point, lo, hi)
    return int(requantize(np.array([[acc]], np.int64), requant)[0, 0])


@settings(max_examples=400)
@given(
    acc=st.one_of(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(-4096, 4096)),
    multiplier=st.one_of(st.integers(2**23, 2**24 - 1), st.just(0)),
    shift=st.integers(0, 63),
    zero_point=st.integers(-128, 127),
    bounds=st.tuples(st.integers(-128, 127), st.integers(-128, 127)).map(sorted),
)
def test_equals_rational_arithmetic(acc, multiplier, shift, zero_point, bounds):
    expected = reference(acc, multiplier, shift, zero_point, *bounds)
    assert one(acc, multiplier, shift, zero_point, *bounds) == expected


@pytest.mark.parametrize("acc", [-7, -5, -3, -1, 1, 3, 5, 7, 101, -101])
def test_exact_ties_go_to_even(acc):
    assert one(acc, 1 << 23, 24) == reference(acc, 1 << 23, 24, 0, -128, 127) == round(acc / 2)


@pytest.mark.parametrize("acc", [2**31 - 1, -(2**31) + 1])
@pytest.mark.parametrize("shift", [0, 1, 30, 54, 55, 62, 63])
def test_extreme_accumulators_do_not_overflow(acc, shift):
    assert one(acc, (1 << 24) - 1, shift) == reference(acc, (1 << 24) - 1, shift, 0, -128, 127)


def test_a_table_replaces_every_output():
    table = np.random.default_rng(0).integers(-128, 128, 256, np.int8)
    ramp = np.arange(-140, 141)[None]
    requant = replace(Requant.from_scale(np.array([1.0]), 3, -100, 110), table=table)
    expected = [int(table[min(max(value + 3, -100), 110) + 128]) for value in ramp[0]]
    assert requantize(ramp, requant)[0].tolist() == expected


def test_the_clamp_is_all_of_int8_unless_told_otherwise():
    scale = np.array([1 << 23], np.int32), np.array([23], np.int32)
    for requant in (Requant(*scale, 0), Requant.from_scale(np.array([1.0]), 0)):
        assert requantize(np.array([[-129, -128, 127, 128]]), requant).tolist() == [[-128, -128, 127, 127]]


@pytest.mark.parametrize("table", [np.zeros(255, np.int8), np.zeros(256, np.uint8), np.zeros((1, 256), np.int8)])
def test_tables_of_another_form_are_refused(table):
    with pytest.raises(QuantError, match=r"activation table is u?int8\(.*\); give int8\[256\]"):
        replace(Requant.from_scale(np.array([1.0]), 0), table=table)


def test_each_channel_has_its_own_scale():
    requant = Requant.from_scale(np.array([1.0, 0.5, 0.25]), 1)
    acc = np.full((3, 2, 2), 10)
    assert requantize(acc, requant)[:, 0, 0].tolist() == [11, 6, 3]


@pytest.mark.parametrize("size", [1, 100, 20_000, 40_000])
def test_channels_are_independent_however_many_are_computed_together(size):
    rng = np.random.default_rng(size)
    requant = Requant.from_scale(rng.uniform(0, 2, 700_000 // max(size, 1000)), -3, -100, 99)
    acc = rng.integers(-150, 150, (len(requant.shift), size))
    for channel, together in enumerate(requantize(acc, requant)):
        scale = {name: getattr(requant, name)[channel, None] for name in ("multiplier", "shift")}
        assert np.array_equal(requantize(acc[channel, None], replace(requant, **scale))[0], together)


@settings(max_examples=200)
@given(scale=st.floats(2.0**-39, 2.0**23))
def test_significand_and_shift_are_the_float32_scale(scale):
    requant = Requant.from_scale(np.array([scale]), 0)
    multiplier, shift = int(requant.multiplier[0]), int(requant.shift[0])
    assert Fraction(multiplier, 1 << shift) == Fraction(float(np.float32(scale)))


@pytest.mark.parametrize("scale", [0.0, 2.0**-41, 1e-45])
def test_a_vanishing_scale_gives_zero(scale):
    requant = Requant.from_scale(np.array([scale]), 5)
    assert (requant.multiplier.tolist(), requant.shift.tolist()) == ([0], [0])
    assert requantize(np.array([[2**31 - 1, -(2**31) + 1]]), requant).tolist() == [[5, 5]]


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf, 2.0**24, 1e300])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(QuantError, match="requantisation scale is"):
        Requant.from_scale(np.array([scale]), 0)


@pytest.mark.parametrize(
    ("multiplier", "shift", "zero_point", "lo", "hi", "message"),
    [
        (1, 0, 0, -128, 127, "multiplier 1 "),
        (1 << 24, 0, 0, -128, 127, "multiplier 16777216"),
        (1 << 23, 64, 0, -128, 127, "shift 64"),
        (1 << 23, -1, 0, -128, 127, "shift -1"),
        (1 << 23, 0, 128, -128, 127, "zero point is 128"),
        (1 << 23, 0, 0, 5, 4, "clamp is 5..4"),
        (1 << 23, 0, 0, -129, 4, "clamp is -129..4"),
    ],
)
def test_values_out_of_range_are_refused(multiplier, shift, zero_point, lo, hi, message):
    with pytest.raises(QuantError, match=message):
        one(0, multiplier, shift, zero_point, lo, hi)


def test_wrong_types_are_refused():
    with pytest.raises(QuantError, match=r"int64\(1,\)"):
        Requant(np.array([1 << 23]), np.array([0], np.int32), 0)
