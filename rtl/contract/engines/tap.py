"""The tap unit's contract: a kernel position, or a kernel row, on every lane, for depthwise convolution and pooling.

On lanes l < min(R, C):

    MAC   acc[l] += (act[l] * weight[l]) << tap_shift       with C bytes of weights a pass
    MAX   acc[l] = max(acc[l], act[l])                      no weights

Lanes from min(R, C) on are undefined after an update.

With ``window`` a pass is a whole kernel row: the unit streams each input column once, and its window of kernel_w
columns gives the same updates as kernel_w passes would; weights lie in the same order. Input column n of a row,
n < (out_w - 1)*stride_w + kernel_w, is at ix = -pad_left + n and byte n*tap_x from the row's first; output column ox is
made of columns ox*stride_w + kx. So ``step_x`` and ``dilation_w`` are not used, and all of these columns are read, also
those that a stride leaves out. ILLEGAL_FIELD if then kernel_w > CoreParams.tap_columns or stride_w = 0.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import unsigned
from amaranth.lib import data, enum

from rtl.contract.engines.spec import CoreShape, EngineSpec, SetupFields
from rtl.contract.isa import Engine
from rtl.contract.regs import EventCounter

__all__ = ["TAP", "TapMode"]


class TapMode(enum.IntEnum, shape=unsigned(1)):
    """What an update does to the accumulators."""

    MAC = 0
    MAX = 1


def _reads_weights(setup: SetupFields) -> Any:
    return setup["tap_mode"] != TapMode.MAX


def _illegal(core: CoreShape, setup: SetupFields) -> Any:
    return setup["window"] & ((setup["kernel_w"] > core.tap_columns) | (setup["stride_w"] == 0))


TAP = EngineSpec(
    name="tap",
    code=Engine.TAP,
    options=data.StructLayout({"tap_mode": TapMode, "tap_shift": unsigned(5), "window": unsigned(1)}),
    weight_rows=lambda core: 1,
    lanes=lambda core: min(core.rows, core.cols),
    reads_weights=_reads_weights,
    illegal=_illegal,
    operations=(EventCounter.TAP_MACS, EventCounter.TAP_MAXIMA),
)
