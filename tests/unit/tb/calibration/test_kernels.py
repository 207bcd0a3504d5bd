"""Kernels are legal programs with a single result, and each coefficient moves one of them."""

import pytest

from estimator import Coefficients, estimate
from rtl.contract.params import CoreParams, default_chip
from tb.calibration.chips import CHIPS, chips_of, unseen_chips_of
from tb.calibration.kernels import kernels_of
from tb.fuzz.judge import expect_legal

SMALL = CoreParams(8, 8, act_bytes=65536, weight_bytes=16384, multicast=True)
PAIR = default_chip(2, SMALL, link_bytes=8)


def test_names_tell_the_kernels_of_a_chip_apart() -> None:
    for chip in (chips_of(None, full=True) | unseen_chips_of(None, full=True)).values():
        names = [kernel.name for kernel in kernels_of(chip, full=True)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("number", range(4))
def test_kernels_have_one_result_in_every_order(number: int) -> None:
    for kernel in list(kernels_of(PAIR, full=False))[number::4]:
        assert expect_legal(kernel.program, orders=2).result is not None, kernel.name


def test_every_coefficient_moves_a_kernel() -> None:
    c = Coefficients.load()
    kernels = list(kernels_of(PAIR, full=False))
    before = [estimate(kernel, PAIR, kernel.settings, c).cycles for kernel in kernels]
    still = []
    for name, value in c.values().items():
        moved = c.with_values({name: value + 40})
        if all(estimate(k, PAIR, k.settings, moved).cycles == b for k, b in zip(kernels, before, strict=True)):
            still.append(name)
    assert still == []


def test_chips_are_the_files_of_the_folder() -> None:
    known = chips_of(None, full=True) | unseen_chips_of(None, full=True)
    assert set(known) == {path.stem for path in CHIPS.glob("*.toml")}
