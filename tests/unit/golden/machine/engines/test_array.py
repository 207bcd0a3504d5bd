"""The machine's array against loops, and exact where float32 is not."""

import numpy as np
import pytest

from golden.machine.compute import commit, compute
from rtl.contract.isa import Engine
from tests.unit.golden.machine.computes import (
    SHAPES,
    check_random_geometry,
    core_of,
    direct,
    flat_compute,
    flat_setup,
)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_random_geometry_equals_the_loops(shape: tuple[int, int], seed: int) -> None:
    check_random_geometry(shape, Engine.ARRAY, seed)


def test_more_rows_than_float32_adds_exactly() -> None:
    core = core_of(64, 4, 16, 0, weight_bytes=1 << 18)
    core.act[:] = -128
    core.weight[:] = -128
    core.weight[3::8] = 127
    core.geometry = flat_setup()
    commit(core, compute(core, flat_compute(blocks=1000)))
    assert core.acc[0, :3].tolist() == [1000 * 64 * 16384] * 3
    assert core.acc[0, 3] == 1000 * 32 * (16384 - 128 * 127)


@pytest.mark.parametrize("kernel", [1, 2])
def test_sums_that_float32_cannot_hold_are_exact_for_any_number_of_taps(kernel: int) -> None:
    core, rng = core_of(64, 4, 16, 0, weight_bytes=1 << 18), np.random.default_rng(kernel)
    for memory in (core.act, core.weight):
        memory[:] = rng.integers(100, 128, memory.size, np.int8)
    core.geometry = flat_setup(kernel_h=kernel, kernel_w=kernel, in_w=kernel)
    fields = flat_compute(blocks=1000 // kernel**2, in_h=kernel)
    expected = direct(core, core.geometry, fields)
    assert expected[0].min() > 1 << 24
    commit(core, compute(core, fields))
    np.testing.assert_array_equal(core.acc, expected)


def test_array_sums_wrap_at_32_bits() -> None:
    core = core_of(4, 4, 16, 0)
    core.act[:4] = 1
    core.weight[:16] = 1
    core.acc[0] = 2**31 - 2
    core.geometry = flat_setup()
    commit(core, compute(core, flat_compute(accumulate=1)))
    assert core.acc[0].tolist() == [-(2**31) + 2] * 4
