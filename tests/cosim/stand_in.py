"""The copy engine that stands in for the chip, and where its tests put their bytes."""

from __future__ import annotations

from pathlib import Path

from tb.model.build import Design

HDL = Path(__file__).parent / "hdl"
STAND_IN = Design(sources=(HDL / "copy_chip.v",), nodes=2, link_bytes=16, burst_beats=16)
"""The copy engine with the ports of a chip with two memory nodes."""

MEMORY_BYTES = 1 << 20
SOURCE, TARGET = 0x1000, 0x40000
SAME_NODE = 1 << 32
