"""Engines that register from outside: the machine runs them, counts them and keeps their rules."""

from collections.abc import Iterator

import numpy as np
import pytest
from amaranth.hdl import unsigned
from amaranth.lib import data

from golden.machine.checker import Checker
from golden.machine.engines import MODELS, Sums
from golden.machine.operands import EXACT_ROWS, Fields, gather, pieces
from golden.machine.state import CoreState
from rtl.contract.engines import ENGINES, EngineSpec
from rtl.contract.isa import Unit
from rtl.contract.params import ChipParams, CoreParams, default_chip
from rtl.contract.regs import CoreCounter, ErrorCode
from tests.assembler import Assembler

SPEC = EngineSpec(
    name="minimum",
    code=5,
    options=data.StructLayout({"offset": unsigned(7)}),
    weight_rows=lambda core: 0,
    lanes=lambda core: 3,
)


class Minimum:
    """An engine of three lanes: the least of all operands and an offset, of kernels of one row."""

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
        return Sums(values=values + geometry["offset"], combine=np.minimum)


@pytest.fixture
def chip() -> Iterator[ChipParams]:
    """One whose core has the engine besides."""
    with ENGINES.registered("minimum", SPEC), MODELS.registered("minimum", Minimum()):
        yield default_chip(1, CoreParams(engines=("array", "tap", "minimum")))


def program(chip: ChipParams, **setup: int) -> Assembler:
    """Two COMPUTEs over activations that a LOAD brings, the second on top of the first."""
    out = Assembler(chip)
    out.load(0, run_flits=16, token=0)
    shape = {"kernel_w": 2, "step_x": 16, "tap_x": 16, "in_w": 8, "out_w": 4}
    out.setup(0, engine=SPEC.code, **{**shape, "offset": 100, **setup})
    out.compute(0, wait=[0], blocks=1)
    out.compute(0, act_base=64, accumulate=1)
    return out


def test_an_engine_from_outside_computes(chip: ChipParams) -> None:
    memory = np.random.default_rng(0).integers(0, 256, 1 << 14).astype(np.uint8)
    result = program(chip).run(memory)
    assert result.ok, str(result)
    rows = memory[:256].view(np.int8).reshape(16, 16)[:, :3].astype(np.int32)
    least = np.array([np.minimum.reduce(rows[[x, x + 1, x + 4, x + 5]]) for x in range(4)])
    (core,) = result.cores
    np.testing.assert_array_equal(core.acc[:4, :3], least + 100)
    assert core.acc_defined[:4].tolist() == [[True] * 3 + [False] * 13] * 4
    assert (core.counts[CoreCounter.PASSES], core.counts[SPEC.pixels_counter]) == (4, 16)
    assert result.activity.pixels == {"array": 0, "tap": 0, "minimum": 16}


def test_its_own_rules_are_kept(chip: ChipParams) -> None:
    result = program(chip, kernel_h=2).run(np.zeros(1 << 14, np.uint8))
    assert (result.error, result.unit) == (ErrorCode.ILLEGAL_FIELD, Unit.COMPUTE)
    assert "a kernel of several rows" in result.message


def test_a_core_without_it_refuses_its_setup(chip: ChipParams) -> None:
    without = default_chip(1)
    assert without.cores[0].engines != chip.cores[0].engines
    result = program(without).run(np.zeros(1 << 14, np.uint8))
    assert (result.error, result.unit) == (ErrorCode.ILLEGAL_FIELD, Unit.COMPUTE)
    assert "the core has no engine minimum" in result.message


def test_it_is_unknown_again_afterwards() -> None:
    with ENGINES.registered("minimum", SPEC), MODELS.registered("minimum", Minimum()):
        job = program(default_chip(1, CoreParams(engines=("array", "tap", "minimum"))))
        assert job.run(np.zeros(1 << 14, np.uint8)).ok
    result = job.run(np.zeros(1 << 14, np.uint8))
    assert (result.error, result.unit) == (ErrorCode.ILLEGAL_FIELD, Unit.COMPUTE)
    assert "no engine 5" in result.message
