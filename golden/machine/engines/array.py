"""The systolic array: a matrix product of R operands and R x C weights in every pass."""

import numpy as np

from golden.machine.checker import Checker
from golden.machine.engines.engine import EngineModel, Sums
from golden.machine.operands import EXACT_ROWS, Fields, gather, pieces, product, weights_from
from golden.machine.state import CoreState

__all__ = ["ARRAY"]


class _Array:
    """The array's passes, in BLAS."""

    def check_setup(self, check: Checker, fields: Fields) -> None:
        """It has no options, and hence no rules."""

    def extent(self, geometry: Fields, fields: Fields) -> tuple[int, int]:
        return fields["blocks"] * geometry["kernel_h"] * geometry["kernel_w"], fields["out_h"] * geometry["out_w"]

    def run(self, core: CoreState, geometry: Fields, fields: Fields) -> Sums:
        rows, cols = core.params.rows, core.params.cols
        taps = geometry["kernel_h"] * geometry["kernel_w"]
        passes, pixels = self.extent(geometry, fields)
        weights = weights_from(core, fields["weight_base"], passes, rows * cols)
        total = np.zeros((pixels, cols), np.int32)
        for piece in pieces(core, geometry, fields, EXACT_ROWS // rows):
            first = piece.block * taps + piece.tap
            chunk = weights[first : first + piece.passes].reshape(-1, cols).astype(np.float32)
            operands = gather(core, geometry, fields, piece, np.float32)
            total += product(operands.reshape(pixels, -1), chunk).astype(np.int32)
        return Sums(values=total)


ARRAY: EngineModel = _Array()
