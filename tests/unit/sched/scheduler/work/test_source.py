"""Tiles and what they load, by hand."""

import pytest

from scheduler.map.mapping import Tiling
from scheduler.plan.layout import Blocked
from scheduler.plan.limits import MAX_RUN_FLITS
from scheduler.plan.program import Placement
from scheduler.work.source import BlockedSource, FlatSource, Frame, Window

IMAGE = (20, 12, 30)


def source(window: Window) -> BlockedSource:
    return BlockedSource.of((Placement(0x1000, Blocked(IMAGE, 8)),), window, 16)


def test_a_tile_has_the_sizes_of_its_rectangles() -> None:
    tile = source(Window((3, 5), (1, 1), (1, 1), 1, 2, IMAGE[1:])).tile((2, 6), (10, 13))
    assert (tile.height, tile.width, tile.pixels) == (4, 3, 12)
    assert (tile.in_rows, tile.in_cols, tile.iy, tile.ix, tile.dy, tile.dx) == (6, 7, (1, 7), (8, 15), 0, 0)
    assert (tile.store_rows, tile.store_width, tile.store_pixels) == (4, 3, 12)


def test_a_pooled_tile_computes_what_the_windows_of_its_outputs_cover() -> None:
    pool = Window((3, 2), (2, 2), (1, 1), 1, 0, IMAGE[1:])
    tiling = Tiling(source(Window((1, 1), (1, 1), (1, 1), 0, 0, IMAGE[1:])), ((0, 6),), 15, 2, 3, pool)
    assert [(tile.store_y, tile.store_x) for tile in tiling.parts[0][:4]] == [
        ((0, 3), (0, 5)), ((0, 3), (5, 10)), ((0, 3), (10, 15)), ((3, 6), (0, 5))
    ]  # fmt: skip
    above, below = tiling.parts[0][0], tiling.parts[0][5]
    assert (above.y, above.x, below.y, below.x) == ((0, 6), (0, 10), (5, 12), (20, 30))
    assert (below.height, below.width, below.store_rows, below.store_width, below.store_pixels) == (7, 10, 3, 5, 15)


@pytest.mark.parametrize("tensors", [1, 2, 3])
@pytest.mark.parametrize("words", [1, 2])
def test_a_slot_has_room_for_one_chunk_of_every_tensor_and_for_no_more(tensors: int, words: int) -> None:
    layout = Blocked((32, 12, 30), 8)
    placements = tuple(Placement(number * layout.nbytes, layout) for number in range(tensors))
    added = BlockedSource.of(placements, Window((1, 1), (1, 1), (1, 1), 0, 0, IMAGE[1:]), 16)
    tile, frame = added.tile((2, 6), (10, 13)), Frame(4, 3, words)
    written: list[int] = []
    for load in added.transfers(tile, frame, (0, words)):
        starts = [load.dst + run * load.dst_stride for run in range(load.runs)]
        written += [start + 2 * flit for start in starts for flit in range(load.run_flits)]  # two blocks a word
    assert sorted(written) == list(range(added.slot_flits(frame)))


def test_a_vector_of_more_flits_than_a_run_has_is_loaded_in_consecutive_runs() -> None:
    block, flits = 16, 2 * MAX_RUN_FLITS + 7
    flat = FlatSource.of(Placement(0x1000, Blocked((16 * flits, 1, 1), block)), 16, block)
    runs = list(flat.transfers(flat.tile((0, 1), (0, 1)), Frame(1, 1, flits), (3, flits)))
    assert [run.run_flits for run in runs] == [MAX_RUN_FLITS, MAX_RUN_FLITS, 4]
    assert [run.dram_addr for run in runs] == [0x1000 + block * (3 + MAX_RUN_FLITS * index) for index in range(3)]
    assert [run.dst for run in runs] == [MAX_RUN_FLITS * index for index in range(3)]


def test_a_kernel_position_is_found_rows_and_columns_of_dilation_away() -> None:
    dilated = source(Window((3, 3), (1, 1), (2, 5), 0, 0, IMAGE[1:]))
    tile, frame = dilated.tile((0, 2), (0, 4)), Frame(6, 14, 2)
    first = dilated.address(tile, frame, 0, 0, 0)
    assert dilated.address(tile, frame, 0, 1, 0) - first == 2 * 14 * 16
    assert dilated.address(tile, frame, 0, 0, 1) - first == 5 * 16
    assert dilated.address(tile, frame, 1, 2, 2) - first == (6 * 14 + 4 * 14 + 10) * 16
