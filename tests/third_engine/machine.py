"""Meaning of the row's passes: one lane of the operands times C weights."""

import numpy as np

from golden.machine.checker import Checker
from golden.machine.engines import Sums
from golden.machine.operands import EXACT_ROWS, Fields, gather, pieces, weights_from
from golden.machine.state import CoreState

__all__ = ["MODEL"]

LANES = 3
"""Bytes of a word that a row can take its activation from."""


class _Row:
    """The row's passes."""

    def check_setup(self, check: Checker, fields: Fields) -> None:
        check.require(fields["row_lane"] < LANES, f"lane {fields['row_lane']}, the row has {LANES}")

    def extent(self, geometry: Fields, fields: Fields) -> tuple[int, int]:
        return fields["blocks"] * geometry["kernel_h"] * geometry["kernel_w"], fields["out_h"] * geometry["out_w"]

    def run(self, core: CoreState, geometry: Fields, fields: Fields) -> Sums:
        passes, pixels = self.extent(geometry, fields)
        taps = geometry["kernel_h"] * geometry["kernel_w"]
        weights = weights_from(core, fields["weight_base"], passes, core.params.cols).astype(np.int32)
        total = np.zeros((pixels, core.params.cols), np.int32)
        for piece in pieces(core, geometry, fields, EXACT_ROWS):
            first = piece.block * taps + piece.tap
            operands = gather(core, geometry, fields, piece, np.int8)[..., geometry["row_lane"]]
            total += operands.reshape(pixels, -1).astype(np.int32) @ weights[first : first + piece.passes]
        return Sums(values=total)


MODEL = _Row()
