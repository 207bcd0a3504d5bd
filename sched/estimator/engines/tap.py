"""The tap unit: a pixel a cycle, of single taps, or an input column a cycle, of whole kernel rows (with a window)."""

from __future__ import annotations

from estimator.engines.engine import EngineTiming, Fields, Pass
from rtl.contract.engines.tap import TapMode
from rtl.contract.params import CoreParams
from rtl.contract.regs import EventCounter

__all__ = ["TAP"]


class _Tap(EngineTiming):
    """Cycles of the tap unit: a pass of P pixels takes max(P, 2), of which the second is for weights; maxima have none.

    With a window a pass is a kernel row of n columns, streams every input column, and takes max(P, n + 1).
    """

    name = "tap"
    setup_fields = frozenset({"tap_mode", "kernel_h", "kernel_w", "stride_w", "out_w", "window"})

    def passes(self, setup: Fields, fields: Fields) -> tuple[int, Pass]:
        weightless = setup["tap_mode"] == TapMode.MAX
        passes = fields["blocks"] * setup["kernel_h"]
        if setup["window"]:
            return passes, Pass(fields["out_h"], setup["out_w"], setup["stride_w"], setup["kernel_w"], weightless)
        return passes * setup["kernel_w"], Pass(fields["out_h"], setup["out_w"], weightless=weightless)

    def pass_cycles(self, core: CoreParams, streamed: Pass) -> int:
        weights = 0 if streamed.weightless else max(1, streamed.columns)
        return max(self.pass_pixels(streamed), weights + 1)

    def pass_pixels(self, streamed: Pass) -> int:
        if streamed.columns:
            return streamed.height * ((streamed.width - 1) * streamed.stride_w + streamed.columns)
        return streamed.pixels

    def operations(self, setup: Fields, passes: int, streamed: Pass) -> dict[int, int]:
        counter = EventCounter.TAP_MAXIMA if streamed.weightless else EventCounter.TAP_MACS
        return {counter: passes * streamed.pixels * max(1, streamed.columns)}


TAP = _Tap()
