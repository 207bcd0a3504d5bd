"""Settings of the external memory model (tb/hdl/systomesh_memory.v)."""

from __future__ import annotations

from dataclasses import dataclass

from estimator import MemoryTiming
from tb.errors import BenchError

__all__ = ["MemorySettings"]


@dataclass(frozen=True)
class MemorySettings(MemoryTiming):
    """What the external memory behind every memory node does; changed without a rebuild.

    Its timing, which the scheduler plans for, and random stalls, which nobody foresees.
    """

    stall_256: int = 0
    """Probability, in 1/256, that a handshake is held back in a cycle."""
    seed: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.latency_cycles <= 65535:
            raise BenchError(f"memory latency is {self.latency_cycles}: it must be from 2 to 65535 cycles")
        if self.bytes_per_cycle is not None and not 1 / 256 <= self.bytes_per_cycle < 256:
            raise BenchError(f"memory bandwidth is {self.bytes_per_cycle}: it must be from 1/256 to 255 bytes a cycle")
        if not 0 <= self.stall_256 <= 255:
            raise BenchError(f"memory stall is {self.stall_256}: it must be from 0 to 255 (in 1/256)")

    def require_port(self, link_bytes: int) -> None:
        """Check that the port of a memory node can carry the bandwidth.

        Raises
        ------
        BenchError
            If the memory would be faster than the port.
        """
        if self.bytes_per_cycle is not None and self.bytes_per_cycle > 2 * link_bytes:
            raise BenchError(
                f"memory bandwidth is {self.bytes_per_cycle:g}: the port of a memory node carries {link_bytes} bytes a "
                f"cycle each way; give at most {2 * link_bytes}, or raise chip.link_bytes"
            )

    def packed(self, nodes: int, link_bytes: int) -> tuple[int, int]:
        """Values of the signals memory_latency and memory_rate: 16 bits per node."""
        every = sum(1 << (16 * node) for node in range(nodes))
        return self.latency_cycles * every, round(256 * self.rate(link_bytes)) * every
