"""Kernels of the external memory: rates, latencies, reads beside writes."""

from __future__ import annotations

from collections.abc import Iterator

from rtl.contract.params import ChipParams
from tb.calibration.kernels.sketch import Kernel, Sketch
from tb.sim.settings import MemorySettings

__all__ = ["memory_kernels"]


def memory_kernels(chip: ChipParams, *, full: bool) -> Iterator[Kernel]:
    """Reads, writes and both at several rates; single and many LOADs at several latencies."""
    size = chip.link_bytes
    rates = (size // 2, size, 2 * size)
    for rate in rates if full else rates[::2]:
        settings = MemorySettings(bytes_per_cycle=float(rate))
        sketch = Sketch(chip)
        for _ in range(4):
            sketch.load(0, 128, 0)
        yield sketch.kernel("reads at a rate", f"{rate} B/cycle", settings)
        sketch = Sketch(chip)
        for _ in range(6):
            sketch.store(0, 64, 0)
        yield sketch.kernel("writes at a rate", f"{rate} B/cycle", settings)
        sketch = Sketch(chip)
        for _ in range(6):
            sketch.load(0, 128, 0)
            sketch.store(0, 64, 0)
        yield sketch.kernel("reads beside writes", f"{rate} B/cycle", settings)
    for latency in (16, 128, 512) if full else (16, 256):
        settings = MemorySettings(latency_cycles=latency)
        sketch = Sketch(chip)
        sketch.load(0, 8, 0)
        yield sketch.kernel("latency", f"{latency}, a load", settings)
        sketch = Sketch(chip)
        for _ in range(12):
            sketch.load(0, 24, 0)
        yield sketch.kernel("latency", f"{latency}, 12 loads", settings)
        sketch = Sketch(chip)
        sketch.store(0, 16, 0)
        yield sketch.kernel("latency", f"{latency}, a store", settings)
