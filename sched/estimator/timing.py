"""Timing of the external memory, one type from the command line to the estimator."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MemoryTiming"]


@dataclass(frozen=True)
class MemoryTiming:
    """External memory behind every memory node."""

    latency_cycles: int = 64
    """Cycles from the AR handshake to the first RVALID, and from the last W handshake to BVALID."""
    bytes_per_cycle: float | None = None
    """Bandwidth of each memory node, reads and writes together; None: one beat of link_bytes a cycle."""

    def rate(self, link_bytes: int) -> float:
        """Bytes per cycle of one memory node with that width, reads and writes together.

        In steps of 1/256, as the bench's memory counts them, and at most what the port carries: link_bytes each way.
        """
        return min(round(256 * (self.bytes_per_cycle or link_bytes)) / 256, 2 * link_bytes)

    def one_way(self, link_bytes: int) -> float:
        """Bytes per cycle of reads alone, or of writes alone."""
        return min(self.rate(link_bytes), link_bytes)
