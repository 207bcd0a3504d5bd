"""Requantisation: from an int32 accumulator to an int8 activation, in exact integers."""

from dataclasses import dataclass

import numpy as np

from golden.errors import QuantError

__all__ = ["INT8", "Requant", "dequantize", "quantize"]

INT8 = (-128, 127)
SIGNIFICAND_BITS = 24
MAX_SHIFT = 63
TABLE_ENTRIES = INT8[1] - INT8[0] + 1


def quantize(real: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Nearest int8 (half to even, saturating) of float[...]."""
    raw = np.rint(np.asarray(real, dtype=np.float64) / scale) + zero_point
    return np.clip(raw, *INT8).astype(np.int8)


def dequantize(raw: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """float32 values that int8[...] stands for."""
    return ((raw.astype(np.float32) - zero_point) * scale).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Requant:
    """``out = clip(round_half_even(acc * multiplier / 2**shift) + zero_point, lo, hi)``, in exact integers.

    With a table, an activation on top: ``table[out + 128]``.

    Attributes
    ----------
    multiplier : int32[O]
        24-bit significand of the float32 scale, ``2**23 <= multiplier < 2**24``, or 0.
    shift : int32[O]
        0..63.
    zero_point, lo, hi : int
        Of the output (before the table); `lo` and `hi` carry a fused ReLU or clip.
    table : int8[256], optional
    """

    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int
    lo: int = INT8[0]
    hi: int = INT8[1]
    table: np.ndarray | None = None

    def __post_init__(self) -> None:
        mult, shift = self.multiplier, self.shift
        if mult.dtype != np.int32 or shift.dtype != np.int32 or mult.ndim != 1 or mult.shape != shift.shape:
            raise QuantError(
                f"requantisation has multiplier {mult.dtype}{mult.shape} and shift {shift.dtype}{shift.shape}; "
                "give int32[O] twice"
            )
        for bad in mult[(mult != 0) & ((mult < 1 << SIGNIFICAND_BITS - 1) | (mult >= 1 << SIGNIFICAND_BITS))][:1]:
            raise QuantError(f"requantisation multiplier {bad} is not 0 and not in 2**23..2**24-1; normalise it")
        for bad in shift[(shift < 0) | (shift > MAX_SHIFT)][:1]:
            raise QuantError(f"requantisation shift {bad} is outside 0..{MAX_SHIFT}")
        if not INT8[0] <= self.lo <= self.hi <= INT8[1]:
            raise QuantError(f"clamp is {self.lo}..{self.hi}; it must be ascending and within int8")
        if not INT8[0] <= self.zero_point <= INT8[1]:
            raise QuantError(f"output zero point is {self.zero_point}; it must be an int8")
        table = self.table
        if table is not None and (table.dtype != np.int8 or table.shape != (TABLE_ENTRIES,)):
            raise QuantError(f"activation table is {table.dtype}{table.shape}; give int8[{TABLE_ENTRIES}]")

    @classmethod
    def from_scale(cls, scale: np.ndarray, zero_point: int, lo: int = INT8[0], hi: int = INT8[1]) -> "Requant":
        """Split float[O] scales, rounded to float32, into significand and shift.

        A scale below 2**-40 becomes 0: times any int32 accumulator it rounds to 0 anyway.

        Raises
        ------
        QuantError
            If a scale is negative, not finite, or 2**24 and above.
        """
        with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused below
            single = np.asarray(scale, dtype=np.float64).astype(np.float32)
        for bad in single[~((single >= 0) & (single < 2.0**SIGNIFICAND_BITS))][:1]:
            raise QuantError(f"requantisation scale is {bad}; it must be in 0..2**24, check the tensor scales")
        fraction, exponent = np.frexp(single)
        multiplier = np.ldexp(fraction, SIGNIFICAND_BITS).astype(np.int32)
        shift = SIGNIFICAND_BITS - exponent.astype(np.int32)
        vanishes = (multiplier == 0) | (shift > MAX_SHIFT)
        return cls(
            np.where(vanishes, 0, multiplier).astype(np.int32),
            np.where(vanishes, 0, shift).astype(np.int32),
            zero_point,
            lo,
            hi,
        )
