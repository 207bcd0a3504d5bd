"""Kernels of the engines: one of them, changes between them, and the way from an engine to a STORE."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Unit
from rtl.contract.params import ChipParams
from tb.calibration.kernels.sketch import Kernel, Sketch

__all__ = ["compute_kernels"]

MODES = {
    "mac": {"tap_mode": int(TapMode.MAC)},
    "max": {"tap_mode": int(TapMode.MAX)},
    "window": {"tap_mode": int(TapMode.MAC), "window": 1},
}


def compute_kernels(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """COMPUTEs of n pixels x passes of each engine and mode; engines in turn; COMPUTEs with a STORE behind each."""
    for pixels, passes in ((1, 1), (4, 9), (16, 1), (16, 4), (64, 9)) if full else ((1, 4), (16, 4), (64, 4)):
        for count in (1, 6) if full else (6,):
            sketch = Sketch(chip)
            sketch.setup(0, Engine.ARRAY, pixels)
            for _ in range(count):
                sketch.compute(0, 1, passes)
            yield sketch.kernel("array", f"{count} of {pixels} pixels {passes} passes")
    for mode, options in MODES.items():
        for width, count in ((4, 1), (16, 6), (32, 6)) if full else ((16, 6),):
            sketch = Sketch(chip)
            columns = min(3, chip.cores[0].tap_columns)
            sketch.setup(0, Engine.TAP, width, (3, columns), **options)
            for _ in range(count):
                sketch.compute(0, 2)
            yield sketch.kernel(f"tap {mode}", f"{count} of 2 x {width} pixels")
    for width in (4, 16, 64) if full else (16,):
        yield _switches(chip, width)
    for pixels in (1, 16, 64) if full else (16, 64):
        for engine in (Engine.ARRAY, Engine.TAP):
            yield _drained(chip, engine, pixels)
    for passes in (1, 9) if full else (4,):
        yield _overlapped(chip, passes)


def _switches(chip: ChipParams, width: int) -> Kernel:
    """Array and tap unit in turn, three times each; all instructions are there when a LOAD lets them begin."""
    sketch = Sketch(chip)
    (token,) = sketch.load(0, 128, 0)
    sketch.taken(0, token)
    sketch.sync(0, Unit.COMPUTE, wait=token)
    for number in range(6):
        tap = number % 2
        sketch.setup(0, Engine.TAP if tap else Engine.ARRAY, width)
        sketch.compute(0, 1)
    return sketch.kernel("switch", f"5 times, {width} pixels")


def _drained(chip: ChipParams, engine: Engine, pixels: int) -> Kernel:
    """Each COMPUTE waits until the STORE of the one before has read its accumulators, and the STORE for the COMPUTE."""
    sketch = Sketch(chip)
    done, free = sketch.token(0), sketch.token(0)
    sketch.setup(0, engine, pixels)
    for number in range(4):
        sketch.compute(0, 1, wait=free if number else None, tell=done)
        sketch.store(0, pixels, 0, wait=done, tell=free if number < 3 else None)
    return sketch.kernel(f"{engine.name.lower()} to store", f"{pixels} pixels")


def _overlapped(chip: ChipParams, passes: int) -> Kernel:
    """Two banks in turn: the array fills one while a STORE drains the other."""
    sketch = Sketch(chip)
    bank = chip.cores[0].acc_bank_entries
    done = [sketch.token(0), sketch.token(0)]
    free = [sketch.token(0), sketch.token(0)]
    pixels = 32
    sketch.setup(0, Engine.ARRAY, pixels)
    for number in range(6):
        half = number % 2
        sketch.compute(0, 1, passes, wait=free[half] if number > 1 else None, tell=done[half], acc_base=half * bank)
        sketch.store(
            0, pixels, 0, wait=done[half], tell=free[half] if number < 4 else None, acc_base=half * bank
        )
    return sketch.kernel("two banks", f"{passes} passes")
