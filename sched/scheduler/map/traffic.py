"""What a mapping loads and stores, in closed form: flits that cross the memory nodes, and those into one core."""

from __future__ import annotations

from scheduler.map.mapping import Mapping
from scheduler.work.sink import Sink

__all__ = ["input_flits", "output_flits", "residual_flits"]


def input_flits(mapping: Mapping) -> tuple[int, int]:
    """Flits of the input for one core, and for all; cores that share them count once."""
    work, part = mapping.work, mapping.channel_parts[0]
    first, end = part[0].words
    words = work.source.words if work.shared_input else len({block.words for block in part}) * (end - first)
    flits = work.source.pixel_flits(words) * (1 if mapping.act_resident else len(part))
    pixels = mapping.tiling.in_pixels
    return pixels[0] * flits, sum(pixels) * flits * (1 if work.shared_input else mapping.g_oc)


def output_flits(mapping: Mapping, sink: Sink) -> int:
    """Flits of the output that all cores store to memory, if it goes to a sink."""
    work = mapping.work
    groups = sum(block.groups for item in work.items for block in item)
    return work.height * work.out_hw[1] * groups * sink.in_memory * work.pictures


def residual_flits(mapping: Mapping) -> tuple[int, int]:
    """Flits of the residual for one core, and for all; words that blocks of several cores share are loaded by each."""
    residual = mapping.work.residual
    if residual is None:
        return 0, 0
    words = [len({residual.word(block) for block in part}) for part in mapping.channel_parts]
    flits = residual.source.pixel_flits(1)
    pixels = [sum(tile.pixels for tile in part) for part in mapping.tiling.parts]
    return pixels[0] * words[0] * flits, sum(pixels) * sum(words) * flits
