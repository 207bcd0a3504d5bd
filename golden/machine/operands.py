"""Operands of a COMPUTE, as every engine reads them: weights, activations, and the passes in pieces that fit.

Dataflow: activation scratchpad -> operands[pixel, pass, R] -> an engine (`golden.machine.engines`) -> int32 sums. At
most `EXACT_ROWS` operand rows go into one sum of float32, which is exact up to there: 1024 * 128 * 128 = 2**24.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from golden.machine.state import CoreState
from rtl.contract.isa import ADDRESS_SPACE_BYTES, Unit
from rtl.contract.regs import CoreCounter, ErrorCode, EventCounter

__all__ = ["EXACT_ROWS", "Fields", "Piece", "gather", "pieces", "product", "weights_from"]

Fields = dict[str, int]

_ADDRESS_MASK = ADDRESS_SPACE_BYTES - 1
EXACT_ROWS = 1024
"""Operands that float32 adds up exactly, whatever they are."""
_WORKSPACE_BYTES = 1 << 22
_ONE_THREAD_MACS = 1 << 18
"""OpenBLAS starts threads beyond this many multiplications; on a busy machine they wait for one another."""


def weights_from(core: CoreState, base: int, passes: int, pass_bytes: int) -> np.ndarray:
    """Weights int8[passes, pass_bytes] from `base` on."""
    end = base + passes * pass_bytes
    if end > len(core.weight):
        why = f"COMPUTE: weights {base}..{end - 1} of {len(core.weight)} bytes"
        raise core.fault(ErrorCode.WEIGHT_RANGE, Unit.COMPUTE, why)
    core.counts[CoreCounter.WEIGHT_READS] += passes * pass_bytes // core.params.cols
    return core.weight[base:end].reshape(passes, pass_bytes)


class Piece(NamedTuple):
    """Passes that are gathered at a time: whole blocks, or part of the taps of one."""

    block: int
    blocks: int
    tap: int
    taps: int

    @property
    def passes(self) -> int:
        return self.blocks * self.taps


def pieces(core: CoreState, geometry: Fields, fields: Fields, max_passes: int) -> Iterator[Piece]:
    """All passes of a COMPUTE in order, cut so that the operands of a piece fit a workspace."""
    taps = geometry["kernel_h"] * geometry["kernel_w"]
    pass_bytes = 4 * fields["out_h"] * geometry["out_w"] * core.params.rows
    limit = max(1, min(max_passes, _WORKSPACE_BYTES // pass_bytes))
    if taps <= limit:
        step = limit // taps
        for block in range(0, fields["blocks"], step):
            yield Piece(block, min(step, fields["blocks"] - block), 0, taps)
    else:
        for block in range(fields["blocks"]):
            for tap in range(0, taps, limit):
                yield Piece(block, 1, tap, min(limit, taps - tap))


def gather(core: CoreState, geometry: Fields, fields: Fields, piece: Piece, dtype: type) -> np.ndarray:
    """Activations of some passes, [out_h, out_w, blocks, taps, R], padding filled in; good until the next call."""
    shape = (fields["out_h"], geometry["out_w"], piece.blocks, piece.taps, core.params.rows)
    operands = core.workspace(shape, dtype)
    for i in range(piece.taps):
        ky, kx = divmod(piece.tap + i, geometry["kernel_w"])
        top = fields["iy0"] + ky * geometry["dilation_h"]
        left = kx * geometry["dilation_w"] - geometry["pad_left"]
        y0, y1 = _inside(top, geometry["stride_h"], fields["out_h"], fields["in_h"])
        x0, x1 = _inside(left, geometry["stride_w"], geometry["out_w"], geometry["in_w"])
        if (y1 - y0, x1 - x0) != shape[:2]:
            operands[:, :, :, i] = geometry["pad_value"]
        if y1 > y0 and x1 > x0:
            start = (
                fields["act_base"]
                + piece.block * geometry["block_pitch"]
                + ky * geometry["tap_y"]
                + kx * geometry["tap_x"]
                + y0 * geometry["step_y"]
                + x0 * geometry["step_x"]
            )
            steps = (geometry["step_y"], geometry["step_x"], geometry["block_pitch"])
            operands[y0:y1, x0:x1, :, i] = _read(core, start, (y1 - y0, x1 - x0, piece.blocks), steps)
    return operands


def product(operands: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Matrix product in slices too small for BLAS to spread over threads: at this size that only costs."""
    step = max(1, _ONE_THREAD_MACS // weights.size)
    whole = len(operands) // step * step
    out = np.empty((len(operands), weights.shape[1]), np.float32)
    if whole:
        slices = operands[:whole].reshape(-1, step, len(weights))
        np.matmul(slices, weights, out=out[:whole].reshape(-1, step, weights.shape[1]))
    if whole < len(operands):
        np.matmul(operands[whole:], weights, out=out[whole:])
    return out


def _inside(first: int, stride: int, count: int, size: int) -> tuple[int, int]:
    """Range of n < count with 0 <= first + n*stride < size."""
    if stride == 0:
        return (0, count) if 0 <= first < size else (0, 0)
    low = max(0, -(first // stride))
    high = min(count, -((first - size) // stride))
    return (low, high) if low < high else (0, 0)


def _read(core: CoreState, start: int, counts: tuple[int, int, int], steps: tuple[int, int, int]) -> np.ndarray:
    """R bytes from each of counts[0] x counts[1] x counts[2] addresses, modulo 2**22."""
    rows = core.params.rows
    start &= _ADDRESS_MASK
    core.counts[CoreCounter.ACT_READS] += counts[0] * counts[1] * counts[2]
    core.counts[EventCounter.ACT_SPLIT_READS] += _split(core, start, counts, steps)
    last = start + sum((count - 1) * step for count, step in zip(counts, steps, strict=True))
    if last <= _ADDRESS_MASK:
        _check_act(core, last)
        return as_strided(core.act[start:], (*counts, rows), (*steps, 1), writeable=False)
    y, x, b = (np.arange(count) * step for count, step in zip(counts, steps, strict=True))
    addresses = (start + y[:, None, None] + x[None, :, None] + b) & _ADDRESS_MASK
    _check_act(core, int(addresses.max()))
    return core.act[addresses[..., None] + np.arange(rows)]


def _split(core: CoreState, start: int, counts: tuple[int, int, int], steps: tuple[int, int, int]) -> int:
    """How many of these reads begin so late in a word that they end in the next."""
    word = core.params.act_word_bytes(core.link_bytes)
    latest = word - core.params.rows
    if not any(step % word for step in steps):
        return counts[0] * counts[1] * counts[2] if start % word > latest else 0
    y, x, b = (np.arange(count) * step for count, step in zip(counts, steps, strict=True))
    return int(np.count_nonzero((start + y[:, None, None] + x[:, None] + b) % word > latest))


def _check_act(core: CoreState, address: int) -> None:
    if address + core.params.rows > len(core.act):
        why = f"COMPUTE: activations {address}..{address + core.params.rows - 1} of {len(core.act)} bytes"
        raise core.fault(ErrorCode.ACT_RANGE, Unit.COMPUTE, why)
