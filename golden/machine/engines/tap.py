"""The tap unit: products or maxima of a channel a lane, of single taps or of whole kernel rows (with a window)."""

import numpy as np

from golden.machine.checker import Checker
from golden.machine.engines.engine import EngineModel, Sums
from golden.machine.operands import EXACT_ROWS, Fields, gather, pieces, weights_from
from golden.machine.state import CoreState
from rtl.contract.engines.tap import TapMode
from rtl.contract.regs import EventCounter

__all__ = ["TAP"]

_LOWEST = -128
"""Value that a maximum starts from."""


class _Tap:
    """The tap unit's passes, lane by lane."""

    def check_setup(self, check: Checker, fields: Fields) -> None:
        if not fields["window"]:
            return
        columns = check.core.params.tap_columns
        check.require(fields["kernel_w"] <= columns, f"a window of {fields['kernel_w']}, the unit has {columns}")
        check.nonzero(fields, "stride_w")

    def extent(self, geometry: Fields, fields: Fields) -> tuple[int, int]:
        streamed = _streamed(geometry) if geometry["window"] else geometry
        passes = fields["blocks"] * streamed["kernel_h"] * streamed["kernel_w"]
        return passes, fields["out_h"] * streamed["out_w"]

    def run(self, core: CoreState, geometry: Fields, fields: Fields) -> Sums:
        is_max = geometry["tap_mode"] == TapMode.MAX
        streamed = _streamed(geometry) if geometry["window"] else geometry
        values = _window(core, streamed, fields) if geometry["window"] else _single(core, geometry, fields)
        taps = fields["blocks"] * geometry["kernel_h"] * geometry["kernel_w"]
        core.counts[EventCounter.TAP_MAXIMA if is_max else EventCounter.TAP_MACS] += taps * len(values)
        return Sums(
            values=(values if is_max else values << geometry["tap_shift"]).astype(np.int32),
            combine=np.maximum if is_max else np.add,
        )


def _single(core: CoreState, geometry: Fields, fields: Fields) -> np.ndarray:
    """Sums or maxima of single taps, int64[pixels, min(R, C)]."""
    lanes = core.params.tap_lanes
    taps = geometry["kernel_h"] * geometry["kernel_w"]
    pixels = fields["out_h"] * geometry["out_w"]
    weights = _weights(core, geometry, fields, fields["blocks"] * taps)
    total = _start(geometry, pixels, lanes)
    for piece in pieces(core, geometry, fields, EXACT_ROWS):
        operands = gather(core, geometry, fields, piece, np.int8)
        operands = operands.reshape(pixels, piece.passes, -1)[:, :, :lanes]
        if weights is None:
            np.maximum(total, operands.max(axis=1), out=total)
        else:
            first = piece.block * taps + piece.tap
            chunk = weights[first : first + piece.passes, :lanes]
            total += np.einsum("pkl,kl->pl", operands, chunk, dtype=np.int64)
    return total


def _streamed(geometry: Fields) -> Fields:
    """Geometry without the window: one column wide kernel rows over every input column that a window passes.

    ``columns`` and ``window_stride`` tell what its updates are made of.
    """
    columns, stride = geometry["kernel_w"], geometry["stride_w"]
    streamed = (geometry["out_w"] - 1) * stride + columns
    return geometry | {
        "kernel_w": 1, "stride_w": 1, "out_w": streamed, "step_x": geometry["tap_x"], "columns": columns,
        "window_stride": stride,
    }  # fmt: skip


def _window(core: CoreState, geometry: Fields, fields: Fields) -> np.ndarray:
    """Sums or maxima of whole kernel rows, int64[pixels, min(R, C)]; `geometry` is that of `_streamed`."""
    lanes, kernel_h, columns = core.params.tap_lanes, geometry["kernel_h"], geometry["columns"]
    weights = _weights(core, geometry, fields, fields["blocks"] * kernel_h * columns)
    last = geometry["out_w"] - columns + 1  # columns in which a window may start
    pixels = fields["out_h"] * len(range(0, last, geometry["window_stride"]))
    total = _start(geometry, pixels, lanes)
    for piece in pieces(core, geometry, fields, EXACT_ROWS):
        operands = gather(core, geometry, fields, piece, np.int8)[..., :lanes]
        first = piece.block * kernel_h + piece.tap
        for column in range(columns):
            part = operands[:, column : column + last : geometry["window_stride"]]
            part = part.reshape(pixels, piece.passes, lanes)
            if weights is None:
                np.maximum(total, part.max(axis=1), out=total)
            else:
                rows = (first + np.arange(piece.passes)) * columns + column
                total += np.einsum("pkl,kl->pl", part, weights[rows, :lanes], dtype=np.int64)
    return total


def _weights(core: CoreState, geometry: Fields, fields: Fields, passes: int) -> np.ndarray | None:
    """Weights int8[passes, C]; None for maxima, which read none and so have none to check."""
    if geometry["tap_mode"] == TapMode.MAX:
        return None
    return weights_from(core, fields["weight_base"], passes, core.params.cols)


def _start(geometry: Fields, pixels: int, lanes: int) -> np.ndarray:
    """Values that sums or maxima start from, int64[pixels, lanes]."""
    return np.full((pixels, lanes), _LOWEST if geometry["tap_mode"] == TapMode.MAX else 0, np.int64)


TAP: EngineModel = _Tap()
