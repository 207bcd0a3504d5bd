"""The micro-kernels: programs that each show one effect of the hardware, a file for each part of the chip."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.contract.params import ChipParams
from tb.calibration.kernels.compute import compute_kernels
from tb.calibration.kernels.launch import launch_kernels
from tb.calibration.kernels.load import load_kernels
from tb.calibration.kernels.memory import memory_kernels
from tb.calibration.kernels.sketch import Kernel
from tb.calibration.kernels.store import store_kernels

__all__ = ["FAMILIES", "MANY_CORES", "Kernel", "kernels_of"]

FAMILIES = (launch_kernels, compute_kernels, store_kernels, load_kernels, memory_kernels)
MANY_CORES = 4
"""Beyond so many cores a chip is slow to simulate, and has only the kernels of `quick` in which cores meet."""


def kernels_of(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """All kernels of a chip, the few of `quick` or those of `full`; names are different."""
    many = chip.n_cores > MANY_CORES
    for family in FAMILIES:
        for kernel in family(chip, full=full and not many):
            if not many or kernel.program.busy_cores > 1:
                yield kernel
