"""Random chips, and a few fixed ones: small, and odd in one way or another."""

from dataclasses import replace

import numpy as np

from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams

__all__ = ["CHIPS", "FUZZ_CHIPS", "random_chip"]


def random_chip(rng: np.random.Generator) -> ChipParams:
    """A chip with small memories, often odd in one way or another."""
    width, height = ((1, 1), (2, 1), (2, 2), (3, 2))[rng.integers(4)]
    link_bytes = int(rng.choice([4, 8, 16, 16, 16, 32, 64]))
    cores = (_random_core(rng, link_bytes),) * (width * height)
    if rng.random() < 0.25:
        cores = tuple(_random_core(rng, link_bytes) for _ in cores)
    packet = int(rng.choice([8, 16, 32]))
    return ChipParams(
        width,
        height,
        cores,
        _random_memory_nodes(rng, width, height),
        link_bytes=link_bytes,
        vcs_per_class=int(rng.choice([1, 2])),
        max_packet_flits=packet,
        vc_depth=packet * int(rng.choice([1, 2])),
        memory_queue_depth=int(rng.choice([2, 16])),
        counters=bool(rng.spawn(1)[0].random() < 0.5),
    )


def _random_core(rng: np.random.Generator, link_bytes: int) -> CoreParams:
    rows, cols = (
        (4, 4), (8, 4), (4, 8), (8, 8), (16, 8), (4, 16), (16, 16), (16, 16), (32, 16), (16, 32), (32, 32), (64, 16)
    )[rng.integers(12)]  # fmt: skip
    word = max(rows, link_bytes)
    tile = max(rows, 8) * cols
    return CoreParams(
        rows=rows,
        cols=cols,
        act_bytes=max(4096, word * 128) << int(rng.integers(0, 4)),
        weight_bytes=max(2048, _power_of_two(tile * 16)) << int(rng.integers(0, 4)),
        acc_entries=int(rng.choice([64, 128, 256, 1024])),
        param_blocks=int(rng.choice([8, 32, 128])),
        queue_depth=int(rng.choice([4, 16])),
        tap_columns=int(rng.spawn(1)[0].choice([1, 2, 3, 3, 4, 5])),
        multicast=bool(rng.spawn(1)[0].random() < 0.5),
    )


def _random_memory_nodes(rng: np.random.Generator, width: int, height: int) -> tuple[MemoryNodeParams, ...]:
    ports = [MemoryNodeParams(0, y, Direction.WEST) for y in range(height)]
    ports += [MemoryNodeParams(width - 1, y, Direction.EAST) for y in range(height)]
    ports += [MemoryNodeParams(x, 0, Direction.NORTH) for x in range(width)]
    ports += [MemoryNodeParams(x, height - 1, Direction.SOUTH) for x in range(width)]
    count = int(rng.integers(1, 1 + min(4, len(ports))))
    return tuple(ports[i] for i in rng.permutation(len(ports))[:count])


def _power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()


_SMALL = CoreParams(8, 8, act_bytes=8192, weight_bytes=4096, acc_entries=128, param_blocks=16)
_WEST = MemoryNodeParams(0, 0, Direction.WEST)

CHIPS: dict[str, ChipParams] = {
    "1x1_8x8": ChipParams(1, 1, (_SMALL,), (_WEST,), link_bytes=8, max_packet_flits=16, vc_depth=16),
    "2x1_16x4": ChipParams(
        2,
        1,
        (replace(_SMALL, rows=16, cols=4, acc_entries=256, tap_columns=5),) * 2,
        (MemoryNodeParams(1, 0, Direction.SOUTH),),
        vcs_per_class=2,
        max_packet_flits=8,
        vc_depth=16,
    ),
    "2x2_4x16": ChipParams(
        2,
        2,
        (replace(_SMALL, rows=4, cols=16, tap_columns=2, multicast=True),) * 4,
        (_WEST, MemoryNodeParams(1, 1, Direction.EAST)),
        link_bytes=8,
        max_packet_flits=16,
        vc_depth=32,
        counters=True,
    ),
    "2x2_16x8_wide": ChipParams(
        2,
        2,
        (replace(_SMALL, rows=16, act_bytes=16384, weight_bytes=8192),) * 4,
        (_WEST, MemoryNodeParams(1, 0, Direction.NORTH)),
        link_bytes=32,
        max_packet_flits=8,
        vc_depth=8,
    ),
    "2x1_mixed": ChipParams(
        2,
        1,
        (replace(_SMALL, marks=4), replace(_SMALL, rows=16, cols=8, act_bytes=16384, marks=16, multicast=True)),
        (_WEST, MemoryNodeParams(1, 0, Direction.EAST)),
        max_packet_flits=16,
        vc_depth=16,
        counters=True,
    ),
    "3x2_4x4": ChipParams(
        3,
        2,
        (replace(_SMALL, rows=4, cols=4, tap_columns=1, multicast=True),) * 6,
        (_WEST, MemoryNodeParams(2, 1, Direction.SOUTH)),
        link_bytes=4,
        max_packet_flits=16,
        vc_depth=16,
    ),
}
"""A few small chips, each odd in its own way, for runs where every chip costs a build."""

FUZZ_CHIPS: dict[str, ChipParams] = CHIPS | {
    "3x1_unlike": ChipParams(
        3,
        1,
        (
            replace(_SMALL, multicast=True),
            replace(_SMALL, rows=32, cols=4, act_bytes=16384, acc_entries=64, param_blocks=32, queue_depth=4, marks=16),
            replace(_SMALL, rows=4, cols=32, weight_bytes=8192, tap_columns=4),
        ),
        (MemoryNodeParams(2, 0, Direction.EAST),),
        link_bytes=8,
        max_packet_flits=8,
        vc_depth=16,
        memory_queue_depth=2,
        outstanding_bursts=2,
        tokens=32,
        counters=True,
    ),
    "1x1_sparse": ChipParams(
        1,
        1,
        (
            replace(
                _SMALL, weight_bytes=8192, engines=("tap", "sparse"), sparse_lanes=4, sparse_columns=4, sparse_items=9,
                sparse_depth=20, sparse_slots=5,
            ),
        ),
        (_WEST,),
        link_bytes=8,
        max_packet_flits=16,
        vc_depth=16,
    ),
}  # fmt: skip
"""Those of the random programs: one more whose cores differ in all that a program sees, and one with sparse engine."""
