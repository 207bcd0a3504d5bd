"""Operands of a COMPUTE: addresses that wrap, and tiles that are gathered in pieces."""

import numpy as np

from golden.machine.compute import commit, compute
from tests.unit.golden.machine.computes import MASK, core_of, direct, flat_compute, flat_setup


def test_address_wraps_within_a_walk() -> None:
    core = core_of(4, 4, 16, 1, act_bytes=1 << 22)
    core.geometry = flat_setup(out_w=4, in_w=4, step_x=1028, step_y=3000, block_pitch=2000)
    fields = flat_compute(act_base=(1 << 22) - 1028, blocks=3, out_h=2, in_h=2)
    expected = direct(core, core.geometry, fields)
    commit(core, compute(core, fields))
    np.testing.assert_array_equal(core.acc, expected)


def test_large_tile_is_cut_without_a_trace() -> None:
    core = core_of(16, 16, 16, 2, acc_entries=8192, act_bytes=1 << 20, weight_bytes=1 << 20)
    core.geometry = flat_setup(
        kernel_h=31, kernel_w=31, out_w=64, in_w=70, pad_left=15, step_x=16, tap_x=16, step_y=1120, tap_y=1120
    )
    fields = flat_compute(act_base=-15 * 1136 & MASK, out_h=64, iy0=-15, in_h=70)
    padded = np.zeros((100, 100, 16), np.float64)
    padded[15:85, 15:85] = core.act[: 70 * 70 * 16].reshape(70, 70, 16)
    weight = core.weight[: 31 * 31 * 256].reshape(31, 31, 16, 16).astype(np.float64)
    for y, x in [(0, 0), (63, 63), (20, 41)]:
        expected = np.einsum("yxr,yxrc->c", padded[y : y + 31, x : x + 31], weight)
        if y == x == 0:
            commit(core, compute(core, fields))
        np.testing.assert_array_equal(core.acc[y * 64 + x], expected)
