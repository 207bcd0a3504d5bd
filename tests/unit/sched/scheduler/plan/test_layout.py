"""Storage orders: packing and unpacking, and what lies where."""

import numpy as np
import pytest

from rtl.contract.params import CoreParams
from scheduler.plan.layout import Blocked, Packed, SparseWeights, pack_weights

SHAPES = [(1, 1, 1), (3, 5, 4), (16, 3, 3), (17, 2, 7), (40, 6, 1)]


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-128, 128, shape, np.int8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [4, 16, 64])
def test_blocked_round_trip(shape: tuple[int, int, int], block: int) -> None:
    layout, x = Blocked(shape, block), noise(shape)
    raw = layout.pack(x)
    assert raw.dtype == np.uint8
    assert raw.shape == (layout.nbytes,)
    np.testing.assert_array_equal(layout.unpack(raw), x)


def test_blocked_order_is_block_row_column_channel() -> None:
    layout, x = Blocked((20, 3, 5), 8), noise((20, 3, 5))
    raw = layout.pack(x).view(np.int8)
    for channel, row, column in [(0, 0, 0), (7, 2, 4), (8, 0, 1), (19, 1, 3)]:
        at = ((channel // 8 * 3 + row) * 5 + column) * 8 + channel % 8
        assert raw[at] == x[channel, row, column]


def packed(fold: bool, **changes: object) -> Packed:
    values: dict[str, object] = {
        "shape": (3, 9, 7), "block": 16, "kernel": (3, 5), "stride": (2, 2), "padding": (1, 2, 0, 3),
        "dilation": (1, 1), "fill": -7, "fold": fold,
    }  # fmt: skip
    return Packed(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("fold", [False, True])
def test_packed_round_trip(fold: bool, dilation: tuple[int, int]) -> None:
    layout = packed(fold, dilation=dilation)
    x = noise(layout.shape)
    got = layout.unpack(layout.pack(x))
    rows = [y for y in range(9) if not fold or any(
        y == r * 2 + k * dilation[0] - 1 for r in range(layout.rows) for k in range(3)
    )]  # fmt: skip
    np.testing.assert_array_equal(got[:, rows], x[:, rows])


@pytest.mark.parametrize("fold", [False, True])
def test_a_packed_window_is_one_run_of_bytes(fold: bool) -> None:
    layout = packed(fold)
    x = noise(layout.shape)
    raw = layout.pack(x).view(np.int8).reshape(layout.rows, layout.row_bytes)
    grown = np.pad(x, ((0, 0), (1, 0), (2, 3)), constant_values=-7)
    for out_row, out_column in [(0, 0), (2, 1), (3, 3)]:
        window = grown[:, out_row * 2 : out_row * 2 + 3, out_column * 2 : out_column * 2 + 5]
        start = out_column * 2 * layout.pixel_bytes
        for kernel_row in range(3):
            y = out_row * 2 + kernel_row - 1
            if fold:
                run = raw[out_row, start : start + layout.window_bytes].reshape(5, 3, 3)[:, kernel_row]
            elif y < 0:
                continue  # rows above the image are the hardware's business
            else:
                run = raw[y, start : start + layout.window_bytes].reshape(5, 3)
            np.testing.assert_array_equal(run, window[:, kernel_row].T)


def test_packed_rows_are_whole_blocks_filled_with_the_zero_point() -> None:
    layout = packed(False)
    raw = layout.pack(noise(layout.shape)).view(np.int8).reshape(layout.rows, layout.row_bytes)
    assert layout.row_bytes == 48
    assert (raw[:, :6] == -7).all()
    assert (raw[:, 6 + 21 :] == -7).all()


@pytest.mark.parametrize("layout", [Blocked((3, 4, 5), 16), packed(False, shape=(3, 4, 5))])
@pytest.mark.parametrize("x", [np.zeros((3, 4, 5), np.uint8), np.zeros((3, 5, 4), np.int8)])
def test_wrong_activations_are_refused(layout: Blocked | Packed, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"it must be int8\(3, 4, 5\)"):
        layout.pack(x)


@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (8, 16), (16, 8), (64, 4)])
@pytest.mark.parametrize(("filters", "depth"), [(16, 64), (5, 3), (33, 70)])
def test_weights_are_tiles_in_pass_order(rows: int, cols: int, filters: int, depth: int) -> None:
    lanes = noise((filters, 2, 3, depth))
    packed_bytes = pack_weights(lanes, rows, cols)
    groups, tail = -(-filters // cols), -(-depth // rows)
    tiles = packed_bytes.view(np.int8).reshape(groups, 2, 3, tail, rows, cols)
    for group, a, b, unit, row, col in np.ndindex(tiles.shape):
        filter_, lane = group * cols + col, unit * rows + row
        inside = filter_ < filters and lane < depth
        assert tiles[group, a, b, unit, row, col] == (lanes[filter_, a, b, lane] if inside else 0)


SPARSE_SHAPES = [(64, 64, 8, 32), (8, 8, 4, 4), (16, 8, 2, 8), (8, 4, 8, 2)]


@pytest.mark.parametrize("shape", SPARSE_SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_sparse_round_trip(shape: tuple[int, int, int, int], density: float) -> None:
    rows, cols, lanes, columns = shape
    core = CoreParams(rows, cols, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns)
    layout, rng = SparseWeights(core), np.random.default_rng(rows + cols)
    weights = np.where(rng.random((5, rows, cols)) < density, noise((5, rows, cols)), np.int8(0))
    order = rng.permutation(cols)
    longest = layout.rounds(weights, order)
    for rounds in (longest, longest + 2):
        raw = layout.pack(weights, order, rounds)
        assert raw.shape == (layout.nbytes(5, rounds),)
        got, lane_of = layout.unpack(raw, 5, rounds)
        np.testing.assert_array_equal(got, weights)
        np.testing.assert_array_equal(lane_of, order)
    if longest:
        with pytest.raises(ValueError, match=f"{longest - 1} rounds: the longest list takes {longest}"):
            layout.pack(weights, order, longest - 1)
