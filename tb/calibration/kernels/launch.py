"""Kernels of launches that do nothing, of the issue of instructions, and of signals between cores."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.contract.isa import Engine, Unit
from rtl.contract.params import ChipParams
from tb.calibration.kernels.sketch import Kernel, Sketch

__all__ = ["launch_kernels"]


def launch_kernels(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """Nothing; n SYNCs of each unit; n SETUPs; a full queue at once; signals to and fro between two cores."""
    yield Sketch(chip).kernel("launch", "of nothing")
    for count in (4, 12) if full else (12,):
        for unit in Unit:
            sketch = Sketch(chip)
            for _ in range(count):
                sketch.sync(0, unit)
            yield sketch.kernel("issue", f"{count} syncs {unit.name.lower()}")
        sketch = Sketch(chip)
        for _ in range(count):
            sketch.setup(0, Engine.ARRAY, 4)
        yield sketch.kernel("issue", f"{count} setups")
    sketch = Sketch(chip)
    for core in range(chip.n_cores):
        for unit in Unit:
            for _ in range(12):
                sketch.sync(core, unit)
    yield sketch.kernel("issue", "on all cores")
    for unit in Unit:
        yield _issued(chip, unit)
    last = chip.n_cores - 1
    others = dict.fromkeys([1, last // 2, last]) if full else [last]
    for other in others if last else ():
        if other:
            yield _signals(chip, other)


def _issued(chip: ChipParams, unit: Unit) -> Kernel:
    """Instructions that are all there when the first of them may start: it waits for a LOAD."""
    sketch = Sketch(chip)
    (token,) = sketch.load(0, 128, 0)
    sketch.taken(0, token)
    sketch.sync(0, unit, wait=token)
    for _ in range(chip.cores[0].queue_depth - 3):
        if unit == Unit.COMPUTE:
            sketch.setup(0, Engine.ARRAY, 4)
        else:
            sketch.sync(0, unit)
    return sketch.kernel("issue at once", unit.name.lower())


def _signals(chip: ChipParams, other: int) -> Kernel:
    """Six ways to a core and back."""
    sketch = Sketch(chip)
    there, back = sketch.token(other), sketch.token(0)
    for number in range(6):
        sketch.sync(0, Unit.COMPUTE, wait=back if number else None, tell=(other, there))
        sketch.sync(other, Unit.COMPUTE, wait=there, tell=(0, back))
    sketch.sync(0, Unit.COMPUTE, wait=back)
    return sketch.kernel("signal", f"to core {other} and back")
