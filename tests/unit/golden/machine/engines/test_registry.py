"""Engines that register from outside: the machine runs them, counts them and keeps their rules."""

from collections.abc import Iterator

import numpy as np
import pytest

from golden.machine import engines
from golden.machine.checker import Checker
from golden.machine.engines import EngineModel, Sums
from golden.machine.operands import EXACT_ROWS, Fields, gather, pieces
from golden.machine.state import CoreState
from rtl.contract.isa import Engine, Unit
from rtl.contract.params import default_chip
from rtl.contract.regs import CoreCounter, ErrorCode
from tests.assembler import Assembler

CHIP = default_chip(1)


class Minimum:
    """An engine of three lanes: the least of all operands, of kernels of one row."""

    counter = CoreCounter.TAP_PIXELS

    def check_setup(self, check: Checker, fields: Fields) -> None:
        check.require(fields["kernel_h"] == 1, "a kernel of several rows")

    def extent(self, geometry: Fields, fields: Fields) -> tuple[int, int]:
        return fields["blocks"] * geometry["kernel_w"], fields["out_h"] * geometry["out_w"]

    def run(self, core: CoreState, geometry: Fields, fields: Fields) -> Sums:
        pixels = fields["out_h"] * geometry["out_w"]
        values = np.full((pixels, 3), 127, np.int32)
        for piece in pieces(core, geometry, fields, EXACT_ROWS):
            operands = gather(core, geometry, fields, piece, np.int8)[..., :3]
            np.minimum(values, operands.reshape(pixels, piece.passes, 3).min(axis=1), out=values)
        return Sums(values=values, combine=np.minimum)


@pytest.fixture
def minimum() -> Iterator[EngineModel]:
    """In the place of the tap unit, whose code a SETUP can hold."""
    built_in = engines.find(Engine.TAP)
    assert built_in is not None
    engines.withdraw(Engine.TAP)
    model = Minimum()
    engines.register(Engine.TAP, model)
    yield model
    engines.withdraw(Engine.TAP)
    engines.register(Engine.TAP, built_in)


def program(**setup: int) -> Assembler:
    """Two COMPUTEs over activations that a LOAD brings, the second on top of the first."""
    out = Assembler(CHIP)
    out.load(0, run_flits=16, token=0)
    out.setup(0, engine=Engine.TAP, **{"kernel_w": 2, "step_x": 16, "tap_x": 16, "in_w": 8, "out_w": 4, **setup})
    out.compute(0, wait=[0], blocks=1)
    out.compute(0, act_base=64, accumulate=1)
    return out


def test_an_engine_from_outside_computes(minimum: EngineModel) -> None:
    memory = np.random.default_rng(0).integers(0, 256, 1 << 14).astype(np.uint8)
    result = program().run(memory)
    assert result.ok, str(result)
    rows = memory[:256].view(np.int8).reshape(16, 16)[:, :3].astype(np.int32)
    least = np.array([np.minimum.reduce(rows[[x, x + 1, x + 4, x + 5]]) for x in range(4)])
    (core,) = result.cores
    np.testing.assert_array_equal(core.acc[:4, :3], least)
    assert core.acc_defined[:4].tolist() == [[True] * 3 + [False] * 13] * 4
    assert (core.counts[CoreCounter.PASSES], core.counts[CoreCounter.TAP_PIXELS]) == (4, 16)


def test_its_own_rules_are_kept(minimum: EngineModel) -> None:
    result = program(kernel_h=2).run(np.zeros(1 << 14, np.uint8))
    assert (result.error, result.unit) == (ErrorCode.ILLEGAL_FIELD, Unit.COMPUTE)
    assert "a kernel of several rows" in result.message


def test_a_setup_that_names_no_engine_is_illegal(minimum: EngineModel) -> None:
    engines.withdraw(Engine.TAP)
    result = program().run(np.zeros(1 << 14, np.uint8))
    engines.register(Engine.TAP, minimum)
    assert (result.error, result.unit) == (ErrorCode.ILLEGAL_FIELD, Unit.COMPUTE)
    assert f"no engine {int(Engine.TAP)}" in result.message


def test_a_code_has_one_engine(minimum: EngineModel) -> None:
    with pytest.raises(ValueError, match="engine 1 is registered already: withdraw it first"):
        engines.register(Engine.TAP, minimum)
