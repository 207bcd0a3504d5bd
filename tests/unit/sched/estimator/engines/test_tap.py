"""Cycles of the tap unit: single taps, whole kernel rows, and passes that are shorter than their weights."""

import pytest

from estimator import EngineCycles, estimate
from estimator.engines import Pass
from estimator.engines.tap import TAP
from rtl.contract.codec import encode
from rtl.contract.engines.tap import TapMode
from rtl.contract.isa import Engine, Opcode
from tests.unit.sched.estimator.handmade import EXACT, ONE, QUICK, Handmade, compute


@pytest.mark.parametrize(
    ("mode", "fields", "cycles"),
    [
        (TapMode.MAC, {"out_w": 20}, 2 * 3 * 10 * 22),
        (TapMode.MAX, {"out_w": 20}, 2 * 3 * 10 * 22),
        (TapMode.MAC, {"out_w": 20, "stride_w": 2}, 2 * 3 * 10 * 41),
        (TapMode.MAC, {"out_w": 20, "window": 0}, 2 * 9 * 200),
        (TapMode.MAC, {"out_w": 1, "out_h": 1}, 2 * 3 * 4),
        (TapMode.MAX, {"out_w": 1, "out_h": 1}, 2 * 3 * 3),
    ],
)
def test_a_window_streams_each_input_column_once_per_kernel_row(
    mode: TapMode, fields: dict[str, int], cycles: int
) -> None:
    job = {"out_h": fields.pop("out_h", 10)}
    setup = encode(
        Opcode.SETUP,
        **{"engine": Engine.TAP, "tap_mode": mode, "kernel_h": 3, "kernel_w": 3, "stride_w": 1, "window": 1, **fields},
    )
    got = estimate(Handmade(ONE, compute=(setup, compute(**job))), ONE, QUICK, EXACT)
    assert got.compute["stream"] == cycles


@pytest.mark.parametrize(("mode", "cycles"), [(TapMode.MAC, 2), (TapMode.MAX, 1)])
def test_a_pass_of_one_pixel_waits_for_its_weights_if_it_has_any(mode: TapMode, cycles: int) -> None:
    setup = {"tap_mode": mode, "kernel_h": 1, "kernel_w": 3, "out_w": 1, "window": 0}
    passes, each = TAP.passes(setup, {"blocks": 5, "out_h": 1})
    assert (passes, TAP.pass_cycles(ONE.cores[0], each)) == (5 * 3, cycles)


def test_a_pass_has_weights_to_wait_for_unless_it_says_otherwise() -> None:
    core, shape = ONE.cores[0], (1, 1)
    least = TAP.pass_cycles(core, Pass(*shape))
    assert least == TAP.pass_cycles(core, Pass(*shape, weightless=False)) == 2
    assert TAP.pass_cycles(core, Pass(*shape, weightless=True)) == 1


def test_a_window_counts_the_columns_that_it_streams() -> None:
    each = Pass(height=10, width=20, stride_w=2, columns=3)
    assert (TAP.pass_pixels(each), TAP.pass_pixels(Pass(10, 20, 2))) == (10 * 41, 200)


def test_its_way_does_not_grow_with_the_array() -> None:
    slow = EXACT.with_engine("tap", EngineCycles(start=1.0, drain=5.0, idle=7.0))
    core = ONE.cores[0]
    assert (TAP.start_cycles(slow), TAP.drain_cycles(core, slow), TAP.idle_cycles(core, slow)) == (1, 5, 7)
