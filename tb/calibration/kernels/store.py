"""Kernels of STOREs: to external memory, near and far, pooled and through the table, and to cores."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.contract.isa import Opcode, Unit
from rtl.contract.params import ChipParams
from tb.calibration.kernels.sketch import Kernel, Sketch, farthest_node

__all__ = ["store_kernels"]


def store_kernels(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """STOREs of n flits, one and several; far, pooled, with the table; all cores at once; to cores."""
    sizes = ((1, 1), (1, 8), (8, 8), (64, 1), (64, 8), (256, 4)) if full else ((1, 8), (16, 8), (256, 4))
    for pixels, count in sizes:
        yield _stores(chip, pixels, count, 0, "near")
    if chip.n_cores > 1:
        yield _stores(chip, 16, 4, farthest_node(chip, 0), "far")
        yield _fenced(chip, farthest_node(chip, 0), "far")
    yield _fenced(chip, 0, "near")
    for kernel in (2, 3) if full else (2,):
        sketch = Sketch(chip)
        side = 12
        sketch.add(
            0, Unit.STORE, Opcode.POOL, kernel_h=kernel, kernel_w=kernel, stride_h=kernel, stride_w=kernel, in_h=side,
            in_w=side, out_w=side // kernel,
        )
        for _ in range(4):
            sketch.store(0, (side // kernel) ** 2, 0, pooled=1)
        yield sketch.kernel("store pooled", f"{kernel} x {kernel}")
    if chip.cores[0].param_blocks * 8 * chip.link_bytes >= 256:
        sketch = Sketch(chip)
        sketch.add(0, Unit.STORE, Opcode.TABLE)
        for _ in range(3):
            sketch.store(0, 32, 0, table=1)
        yield sketch.kernel("store table", "3 of 32 flits")
    if chip.n_cores > 1:
        yield from _on_all(chip)
        yield from _to_cores(chip, full=full)


def _stores(chip: ChipParams, pixels: int, count: int, node: int, where: str) -> Kernel:
    sketch = Sketch(chip)
    for _ in range(count):
        sketch.store(0, pixels, node)
    return sketch.kernel("store", f"{count} of {pixels} flits, {where}")


def _fenced(chip: ChipParams, node: int, where: str) -> Kernel:
    """Each STORE waits until the one before is acknowledged."""
    sketch = Sketch(chip)
    for _ in range(3):
        sketch.store(0, 8, node)
        sketch.sync(0, Unit.STORE, fence=1)
    return sketch.kernel("store acknowledged", f"3 of 8 flits, {where}")


def _on_all(chip: ChipParams) -> Iterator[Kernel]:
    """All cores to their own nodes; all to one."""
    for where in ("home", "node 0"):
        sketch = Sketch(chip, chip.n_cores)
        for core in range(chip.n_cores):
            for _ in range(4):
                node = chip.home_memory[core] if where == "home" else 0
                sketch.store(core, 32, node, writer=core)
        yield sketch.kernel("stores of all cores", f"to {where}")


def _to_cores(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """One to one, near and far; several to one; each to its neighbour; one to all."""
    last = chip.n_cores - 1
    for pixels, count in ((1, 6), (16, 6), (128, 4)) if full else ((16, 6),):
        for to in dict.fromkeys([1, last]):
            sketch = Sketch(chip)
            for number in range(count):
                sketch.send(0, pixels, to, place=number * pixels)
            yield sketch.kernel("core to core", f"{count} of {pixels} flits to {to}")
    for senders in dict.fromkeys([2, min(4, last), last]) if last > 1 else ():
        sketch = Sketch(chip)
        for number in range(4):
            for core in range(1, senders + 1):
                sketch.send(core, 64, 0, place=(core * 4 + number) * 64)
        yield sketch.kernel("cores to one core", f"{senders} cores, 4 of 64 flits")
    sketch = Sketch(chip)
    for core in range(chip.n_cores):
        for number in range(4):
            sketch.send(core, 64, (core + 1) % chip.n_cores, place=number * 64)
    yield sketch.kernel("ring", "4 of 64 flits to the next core")
    if all(core.multicast for core in chip.cores):
        for pixels in (8, 64) if full else (64,):
            sketch = Sketch(chip)
            for number in range(4):
                sketch.send(0, pixels, 0, last, place=number * pixels)
            yield sketch.kernel("core to all", f"4 of {pixels} flits")
        sketch = Sketch(chip)
        for core in (0, last):
            for number in range(4):
                sketch.send(core, 32, 0, last, place=(core * 4 + number) * 32)
        yield sketch.kernel("core to all", "two senders, 4 of 32 flits")
