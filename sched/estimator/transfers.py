"""Closed forms of transfers: bursts of a LOAD, cycles of a STORE."""

from __future__ import annotations

from math import ceil

from rtl.contract.params import AXI_PAGE_BYTES, ChipParams

__all__ = ["bursts", "packet_flits", "store_cycles"]

Fields = dict[str, int]


def store_cycles(pixels: int, pool: tuple[int, int] | None = None) -> int:
    """Cycles in which so many output pixels drain: an accumulator entry each, or all of a pool's window."""
    return pixels * (pool[0] * pool[1] if pool else 1)


def packet_flits(chip: ChipParams, flits: int) -> float:
    """Flits of the packets into which so many are cut, in the mean, if none ends at a page."""
    return flits / max(1, ceil(flits / chip.max_packet_flits))


def bursts(chip: ChipParams, fields: Fields) -> int:
    """AXI bursts of a LOAD: cut at max_packet_flits and 4 KB."""
    page = AXI_PAGE_BYTES // chip.link_bytes
    first = fields["dram_addr"] // chip.link_bytes
    total = 0
    for run in range(min(fields["runs"], 64)):
        start = first + run * fields["dram_stride"]
        left = fields["run_flits"]
        head = min(left, page - start % page)
        rest = left - head
        total += ceil(head / chip.max_packet_flits) + rest // page * (page // chip.max_packet_flits)
        total += ceil(rest % page / chip.max_packet_flits)
    return total * fields["runs"] // min(fields["runs"], 64)
