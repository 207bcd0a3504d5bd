"""The machine's tap unit against loops: sums, maxima, windows, and the lanes that it leaves undefined."""

import pytest

from golden.machine.compute import commit, compute
from rtl.contract.isa import Engine, TapMode
from tests.unit.golden.machine.computes import SHAPES, check_random_geometry, core_of, flat_compute, flat_setup


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_random_geometry_equals_the_loops(shape: tuple[int, int], seed: int) -> None:
    check_random_geometry(shape, Engine.TAP, seed)


def test_tap_sums_wrap_at_32_bits() -> None:
    core = core_of(4, 4, 16, 0)
    core.act[:4] = [3, -3, 127, -128]
    core.weight[:4] = [1, 1, 127, -128]
    core.geometry = flat_setup(engine=Engine.TAP, tap_shift=31)
    commit(core, compute(core, flat_compute()))
    assert core.acc[0].tolist() == [-(2**31), -(2**31), -(2**31), 0]


@pytest.mark.parametrize("tap_mode", list(TapMode))
def test_tap_leaves_lanes_beyond_the_rows_undefined(tap_mode: TapMode) -> None:
    core = core_of(4, 16, 16, 0)
    core.acc_defined[0] = True
    core.geometry = flat_setup(engine=Engine.TAP, tap_mode=tap_mode)
    commit(core, compute(core, flat_compute(accumulate=1)))
    assert core.acc_defined[0].tolist() == [True] * 4 + [False] * 12
