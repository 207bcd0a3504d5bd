"""STORE: accumulator entries through requantisation, and the activation table, into flits."""

import numpy as np

from golden.machine.state import CoreState
from rtl.contract.isa import PARAM_BYTES_PER_CHANNEL
from rtl.contract.regs import CoreCounter, EventCounter

__all__ = ["drain", "requantise"]


def drain(core: CoreState, fields: dict[str, int]) -> np.ndarray:
    """Bytes that a STORE sends, int8[groups, pixels, lanes]."""
    width = core.params.drain_lanes(core.link_bytes)
    lanes, base = fields["lanes"], fields["acc_base"]
    if fields["pooled"]:
        assert core.pool is not None
        entries, reads = _pooled(core.acc[base:], core.pool, fields["pixels"])
    else:
        entries, reads = core.acc[base : base + fields["pixels"]], fields["pixels"]
    _count(core, fields, reads)
    out = np.empty((fields["groups"], len(entries), lanes), np.int8)
    for group in range(fields["groups"]):
        bias, multiplier, shift = (a[:lanes] for a in core.param_block(fields["param_base"] + group))
        acc = entries[:, group * width : group * width + lanes]
        out[group] = requantise(acc, bias, multiplier, shift, fields["zero_point"], fields["lo"], fields["hi"])
    return core.table[out.astype(np.int16) + 128] if fields["table"] else out


def _count(core: CoreState, fields: dict[str, int], reads: int) -> None:
    """Events of a STORE that reads so many accumulator entries for each of its groups."""
    groups, counts = fields["groups"], core.counts
    counts[CoreCounter.STORE_DRAIN] += groups * reads
    counts[CoreCounter.ACC_READS] += groups * reads
    lanes = core.params.drain_lanes(core.link_bytes)
    counts[EventCounter.PARAM_READS] += groups * max(1, lanes * PARAM_BYTES_PER_CHANNEL // core.link_bytes)
    counts[EventCounter.POST_FLITS] += groups * fields["pixels"]
    if fields["table"]:
        counts[EventCounter.TABLE_READS] += groups * fields["pixels"]


def _pooled(acc: np.ndarray, pool: dict[str, int], pixels: int) -> tuple[np.ndarray, int]:
    """Maxima over the windows of a POOL, int32[pixels, C], and the entries read; the map starts at ``acc[0]``."""
    reads = 0
    height, width = pool["in_h"], pool["in_w"]
    image = acc[: height * width].reshape(height, width, -1)
    row, column = np.divmod(np.arange(pixels), pool["out_w"])
    out = np.full((pixels, image.shape[2]), np.iinfo(np.int32).min, np.int32)
    for ky in range(pool["kernel_h"]):
        for kx in range(pool["kernel_w"]):
            iy, ix = row * pool["stride_h"] - pool["pad_top"] + ky, column * pool["stride_w"] - pool["pad_left"] + kx
            inside = (iy >= 0) & (iy < height) & (ix >= 0) & (ix < width)
            out[inside] = np.maximum(out[inside], image[iy[inside], ix[inside]])
            reads += int(np.count_nonzero(inside))
    return out, reads


def requantise(
    acc: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero_point: int, lo: int, hi: int
) -> np.ndarray:
    """clamp(round_half_even((acc + bias) * multiplier / 2**shift) + zero_point, lo, hi), exactly.

    Parameters
    ----------
    acc : int32[pixels, lanes]
    bias, multiplier, shift : int32[lanes]
        Any int32, 0 .. 2**24-1, 0 .. 63: the product needs 57 bits and never wraps.

    Returns
    -------
    int8[pixels, lanes]
    """
    scale = shift.astype(np.int64)
    product = (acc.astype(np.int64) + bias) * multiplier.astype(np.int64)
    floor = product >> scale
    # Twice the remainder against one: overflows for a shift of 63, so the half is compared instead.
    remainder = product - (floor << scale)
    half = np.where(scale > 0, np.int64(1) << np.maximum(scale - 1, 0), np.int64(1))
    up = (remainder > half) | ((remainder == half) & (floor & 1 == 1))
    rounded = floor + up + zero_point
    return np.minimum(np.maximum(rounded, lo), hi).astype(np.int8)
