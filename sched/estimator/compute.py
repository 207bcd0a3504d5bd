"""Closed forms for single instructions: cycles, from the fields alone."""

from __future__ import annotations

from math import ceil

from estimator.coefficients import Coefficients
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine
from rtl.contract.params import AXI_PAGE_BYTES, ChipParams, CoreParams

__all__ = [
    "bursts",
    "compute_cycles",
    "compute_pixels",
    "drain_cycles",
    "hops",
    "idle_cycles",
    "store_cycles",
    "switch_cycles",
    "window_columns",
]

Fields = dict[str, int]


def compute_pixels(core: CoreParams, setup: Fields, fields: Fields) -> int:
    """Cycles in which a COMPUTE streams, bubbles of short passes included.

    A pass of P pixels takes max(P, R, C) cycles on the array, which needs that long for its weights, and max(P, 2) on
    the tap unit (P for maxima, which have no weights). With a window a pass is a kernel row of n columns, streams every
    input column, and takes max(P, n + 1) cycles.
    """
    passes = fields["blocks"] * setup["kernel_h"] * setup["kernel_w"]
    pixels = fields["out_h"] * setup["out_w"]
    if setup["engine"] == Engine.ARRAY:
        return passes * max(pixels, core.rows, core.cols)
    weights = 1
    if setup["window"]:
        weights = setup["kernel_w"]
        passes //= weights
        pixels = fields["out_h"] * window_columns(setup["out_w"], setup["stride_w"], weights)
    return passes * max(pixels, 1 if setup["tap_mode"] == TapMode.MAX else weights + 1)


def window_columns(out_w: int, stride_w: int, kernel_w: int) -> int:
    """Input columns that the tap unit's window streams for a row of outputs."""
    return (out_w - 1) * stride_w + kernel_w


def compute_cycles(core: CoreParams, setup: Fields, fields: Fields, c: Coefficients) -> float:
    """From the start of a COMPUTE to that of the next."""
    start = c.array_start if setup["engine"] == Engine.ARRAY else c.tap_start
    return compute_pixels(core, setup, fields) + start


def drain_cycles(core: CoreParams, setup: Fields, c: Coefficients) -> float:
    """From the last pixel to signal 2."""
    if setup["engine"] == Engine.ARRAY:
        return core.rows + core.cols + c.array_drain
    return c.tap_drain


def store_cycles(pool: Fields, fields: Fields) -> int:
    """Cycles in which a STORE drains; `pool` is the last POOL."""
    pixels = fields["pixels"] * fields["groups"]
    return pixels * pool["kernel_h"] * pool["kernel_w"] if fields["pooled"] else pixels


def idle_cycles(core: CoreParams, setup: Fields, c: Coefficients) -> float:
    """From the last pixel to the first one that the other engine may take."""
    if setup["engine"] == Engine.ARRAY:
        return core.rows + core.cols + c.array_idle
    return c.tap_idle


def switch_cycles(core: CoreParams, c: Coefficients) -> float:
    """Cycles that a change of the engine costs, mean of both directions."""
    return (core.rows + core.cols + c.array_idle + c.tap_idle) / 2


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


def hops(chip: ChipParams, core: int, memory: int) -> int:
    """Routers between a core and a memory node, both ends included."""
    x, y = chip.position(core)
    node = chip.memory_nodes[memory]
    return abs(node.x - x) + abs(node.y - y) + 1
