"""COMPUTE: gathers the operands of all passes and pixels, and adds them up in BLAS.

Dataflow: activation scratchpad -> operands[pixel, pass, R] -> one matrix product for up to 1024 operand
rows -> int32 sums that the caller commits. float32 is exact up to there: 1024 * 128 * 128 = 2**24.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from golden.machine.state import CoreState
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Unit
from rtl.contract.regs import CoreCounter, ErrorCode

__all__ = ["Update", "commit", "compute"]

Fields = dict[str, int]

_ADDRESS_MASK = (1 << 22) - 1
_EXACT_ROWS = 1024
"""Operands that float32 adds up exactly, whatever they are."""
_WORKSPACE_BYTES = 1 << 22
_ONE_THREAD_MACS = 1 << 18
"""OpenBLAS starts threads beyond this many multiplications; on a busy machine they wait for one another."""


@dataclass(frozen=True, eq=False)
class Update:
    """What a COMPUTE does to the accumulators once its pipeline has run dry.

    Attributes
    ----------
    values : int32[pixels, lanes]
    """

    acc_base: int
    values: np.ndarray
    accumulate: bool
    is_max: bool


def compute(core: CoreState, fields: Fields) -> Update:
    """Read all operands of a COMPUTE, whose fields are checked, and work out its accumulator update.

    Raises
    ------
    Fault
        WEIGHT_RANGE or ACT_RANGE.
    """
    geometry = core.geometry
    assert geometry is not None
    if geometry["window"]:
        geometry = _streamed(geometry)
    taps = geometry["kernel_h"] * geometry["kernel_w"]
    passes, pixels = fields["blocks"] * taps, fields["out_h"] * geometry["out_w"]
    is_tap = geometry["engine"] == Engine.TAP
    is_max = is_tap and geometry["tap_mode"] == TapMode.MAX
    values = _tap(core, geometry, fields) if is_tap else _array(core, geometry, fields)
    core.counts[CoreCounter.TAP_PIXELS if is_tap else CoreCounter.ARRAY_PIXELS] += passes * pixels
    core.counts[CoreCounter.PASSES] += passes
    return Update(fields["acc_base"], values, bool(fields["accumulate"]), is_max)


def commit(core: CoreState, update: Update) -> None:
    """Write a finished update into the accumulators."""
    pixels, lanes = update.values.shape
    region = slice(update.acc_base, update.acc_base + pixels)
    acc, defined = core.acc[region], core.acc_defined[region]
    if not update.accumulate:
        acc[:, :lanes] = update.values
        defined[:, :lanes] = True
    elif update.is_max:
        np.maximum(acc[:, :lanes], update.values, out=acc[:, :lanes])
    else:
        acc[:, :lanes] += update.values
    acc[:, lanes:] = core.undefined
    defined[:, lanes:] = False


def _array(core: CoreState, geometry: Fields, fields: Fields) -> np.ndarray:
    """Sums of the array engine, int32[pixels, C]."""
    rows, cols = core.params.rows, core.params.cols
    taps = geometry["kernel_h"] * geometry["kernel_w"]
    weights = _weights(core, fields["weight_base"], fields["blocks"] * taps, rows * cols)
    total = np.zeros((fields["out_h"] * geometry["out_w"], cols), np.int32)
    for block, n_blocks, tap, n_taps in _chunks(core, geometry, fields, _EXACT_ROWS // rows):
        first = block * taps + tap
        chunk = weights[first : first + n_blocks * n_taps].reshape(-1, cols).astype(np.float32)
        operands = _operands(core, geometry, fields, block, n_blocks, tap, n_taps, np.float32)
        total += _product(operands.reshape(len(total), -1), chunk).astype(np.int32)
    return total


def _product(operands: np.ndarray, weights: np.ndarray) -> np.ndarray:
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


def _streamed(geometry: Fields) -> Fields:
    """The same without a window: one column wide kernel rows over every input column that a window passes.

    ``columns`` and ``window_stride`` tell what its updates are made of.
    """
    columns, stride = geometry["kernel_w"], geometry["stride_w"]
    streamed = (geometry["out_w"] - 1) * stride + columns
    return geometry | {
        "kernel_w": 1, "stride_w": 1, "out_w": streamed, "step_x": geometry["tap_x"], "columns": columns,
        "window_stride": stride,
    }  # fmt: skip


def _tap(core: CoreState, geometry: Fields, fields: Fields) -> np.ndarray:
    """Sums or maxima of the tap engine, int32[pixels, min(R, C)]."""
    if geometry["window"]:
        return _window(core, geometry, fields)
    lanes = core.params.tap_lanes
    taps = geometry["kernel_h"] * geometry["kernel_w"]
    pixels = fields["out_h"] * geometry["out_w"]
    is_max = geometry["tap_mode"] == TapMode.MAX
    passes = fields["blocks"] * taps
    # MAX reads no weights, so it has none to check.
    weights = None if is_max else _weights(core, fields["weight_base"], passes, core.params.cols)
    total = np.full((pixels, lanes), -128 if is_max else 0, np.int64)
    for block, n_blocks, tap, n_taps in _chunks(core, geometry, fields, _EXACT_ROWS):
        operands = _operands(core, geometry, fields, block, n_blocks, tap, n_taps, np.int8)
        operands = operands.reshape(pixels, n_blocks * n_taps, -1)[:, :, :lanes]
        if weights is None:
            np.maximum(total, operands.max(axis=1), out=total)
        else:
            first = block * taps + tap
            chunk = weights[first : first + n_blocks * n_taps, :lanes]
            total += np.einsum("pkl,kl->pl", operands, chunk, dtype=np.int64)
    shift = 0 if is_max else geometry["tap_shift"]
    return (total << shift).astype(np.int32)


def _window(core: CoreState, geometry: Fields, fields: Fields) -> np.ndarray:
    """Sums or maxima of whole kernel rows, int32[pixels, min(R, C)]; `geometry` is that of `_streamed`."""
    lanes, kernel_h, columns = core.params.tap_lanes, geometry["kernel_h"], geometry["columns"]
    is_max = geometry["tap_mode"] == TapMode.MAX
    passes = fields["blocks"] * kernel_h
    weights = None if is_max else _weights(core, fields["weight_base"], passes * columns, core.params.cols)
    last = geometry["out_w"] - columns + 1  # columns in which a window may start
    pixels = fields["out_h"] * len(range(0, last, geometry["window_stride"]))
    total = np.full((pixels, lanes), -128 if is_max else 0, np.int64)
    for block, n_blocks, row, n_rows in _chunks(core, geometry, fields, _EXACT_ROWS):
        operands = _operands(core, geometry, fields, block, n_blocks, row, n_rows, np.int8)[..., :lanes]
        first = block * kernel_h + row
        for column in range(columns):
            part = operands[:, column : column + last : geometry["window_stride"]]
            part = part.reshape(pixels, n_blocks * n_rows, lanes)
            if weights is None:
                np.maximum(total, part.max(axis=1), out=total)
            else:
                rows = (first + np.arange(n_blocks * n_rows)) * columns + column
                total += np.einsum("pkl,kl->pl", part, weights[rows, :lanes], dtype=np.int64)
    shift = 0 if is_max else geometry["tap_shift"]
    return (total << shift).astype(np.int32)


def _weights(core: CoreState, base: int, passes: int, pass_bytes: int) -> np.ndarray:
    """Weights int8[passes, pass_bytes] from `base` on."""
    end = base + passes * pass_bytes
    if end > len(core.weight):
        why = f"COMPUTE: weights {base}..{end - 1} of {len(core.weight)} bytes"
        raise core.fault(ErrorCode.WEIGHT_RANGE, Unit.COMPUTE, why)
    return core.weight[base:end].reshape(passes, pass_bytes)


def _chunks(core: CoreState, geometry: Fields, fields: Fields, max_passes: int) -> Iterator[tuple[int, int, int, int]]:
    """Cut the passes into (first block, blocks, first tap, taps): whole blocks, or part of the taps of one."""
    taps = geometry["kernel_h"] * geometry["kernel_w"]
    pass_bytes = 4 * fields["out_h"] * geometry["out_w"] * core.params.rows
    limit = max(1, min(max_passes, _WORKSPACE_BYTES // pass_bytes))
    if taps <= limit:
        step = limit // taps
        for block in range(0, fields["blocks"], step):
            yield block, min(step, fields["blocks"] - block), 0, taps
    else:
        for block in range(fields["blocks"]):
            for tap in range(0, taps, limit):
                yield block, 1, tap, min(limit, taps - tap)


def _operands(
    core: CoreState,
    geometry: Fields,
    fields: Fields,
    block: int,
    n_blocks: int,
    tap: int,
    n_taps: int,
    dtype: type,
) -> np.ndarray:
    """Activations of some passes, [out_h, out_w, blocks, taps, R], padding filled in; good until the next call."""
    shape = (fields["out_h"], geometry["out_w"], n_blocks, n_taps, core.params.rows)
    operands = core.workspace(shape, dtype)
    for i in range(n_taps):
        ky, kx = divmod(tap + i, geometry["kernel_w"])
        top = fields["iy0"] + ky * geometry["dilation_h"]
        left = kx * geometry["dilation_w"] - geometry["pad_left"]
        y0, y1 = _inside(top, geometry["stride_h"], fields["out_h"], fields["in_h"])
        x0, x1 = _inside(left, geometry["stride_w"], geometry["out_w"], geometry["in_w"])
        if (y1 - y0, x1 - x0) != shape[:2]:
            operands[:, :, :, i] = geometry["pad_value"]
        if y1 > y0 and x1 > x0:
            start = (
                fields["act_base"]
                + block * geometry["block_pitch"]
                + ky * geometry["tap_y"]
                + kx * geometry["tap_x"]
                + y0 * geometry["step_y"]
                + x0 * geometry["step_x"]
            )
            steps = (geometry["step_y"], geometry["step_x"], geometry["block_pitch"])
            operands[y0:y1, x0:x1, :, i] = _read(core, start, (y1 - y0, x1 - x0, n_blocks), steps)
    return operands


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
    last = start + sum((count - 1) * step for count, step in zip(counts, steps, strict=True))
    if last <= _ADDRESS_MASK:
        _check_act(core, last)
        return as_strided(core.act[start:], (*counts, rows), (*steps, 1), writeable=False)
    y, x, b = (np.arange(count) * step for count, step in zip(counts, steps, strict=True))
    addresses = (start + y[:, None, None] + x[None, :, None] + b) & _ADDRESS_MASK
    _check_act(core, int(addresses.max()))
    return core.act[addresses[..., None] + np.arange(rows)]


def _check_act(core: CoreState, address: int) -> None:
    if address + core.params.rows > len(core.act):
        why = f"COMPUTE: activations {address}..{address + core.params.rows - 1} of {len(core.act)} bytes"
        raise core.fault(ErrorCode.ACT_RANGE, Unit.COMPUTE, why)
