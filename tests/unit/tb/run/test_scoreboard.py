"""The scoreboard."""

from __future__ import annotations

import numpy as np
import pytest

from tb.run.scoreboard import Scoreboard, compare


def test_equal_tensors_leave_no_difference() -> None:
    x = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
    assert compare("conv1", x, x.copy()) is None


def test_first_difference_is_named_by_layer_channel_row_and_column() -> None:
    expected = np.zeros((3, 4, 5), np.int8)
    got = expected.copy()
    got[2, 0, 0], got[1, 3, 2] = -7, 9
    difference = compare("conv1", got, expected)
    assert str(difference) == "conv1: channel 1, row 3, column 2: got 9, expected 0 (2 of 60 values differ)"


def test_scoreboard_counts_over_layers() -> None:
    expected = {"a": np.zeros((1, 2, 2), np.int8), "b": np.ones((1, 1, 3), np.int8)}
    board = Scoreboard(expected)
    assert board.check("first", "a", expected["a"])
    assert not board.check("second", "b", np.zeros((1, 1, 3), np.int8))
    assert (board.compared, board.mismatches, len(board.differences)) == (7, 3, 1)


def test_a_difference_in_a_launch_of_many_layers_names_layer_and_picture() -> None:
    board = Scoreboard({"b@2": np.ones((1, 1, 3), np.int8)})
    assert not board.check("conv1..fc", "b@2", np.zeros((1, 1, 3), np.int8), "conv4 of picture 2")
    assert str(board.differences[0]).startswith("conv1..fc, conv4 of picture 2: channel 0, row 0, column 0: got 0")


def test_other_shapes_are_an_error_of_the_bench() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        compare("x", np.zeros((1, 2, 2), np.int8), np.zeros((1, 2, 3), np.int8))
