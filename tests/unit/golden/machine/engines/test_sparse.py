"""The machine's sparse engine against loops over the bits and bytes that its contract names."""

import numpy as np
import pytest

from golden.machine.compute import commit, compute
from golden.machine.faults import Fault
from golden.machine.state import CoreState
from rtl.contract.engines.sparse import SPARSE
from rtl.contract.isa import Engine
from rtl.contract.regs import CoreCounter, EngineCounter, ErrorCode
from tests.unit.golden.machine.computes import core_of, flat_compute, flat_setup

SHAPES = [(8, 8, 4, 4), (16, 8, 2, 8), (8, 4, 8, 2), (64, 64, 8, 32)]
ITEMS = (2, 2)
"""Kernel."""


def sparse_core(shape: tuple[int, int, int, int], seed: int) -> CoreState:
    """Memories of noise, but for masks with a third of the bits and a row of lanes at the start of the weights."""
    rows, cols, lanes, columns = shape
    sizes = {"weight_bytes": 1 << 17, "act_bytes": 1 << 13, "acc_entries": 64}
    core = core_of(rows, cols, 16, seed, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns, **sizes)
    rng = np.random.default_rng(seed)
    at = 0
    for _ in range(2):
        bits = rng.random(4 * rows * cols) < 1 / 3
        core.weight[at : at + bits.size // 8] = np.packbits(bits, bitorder="little").view(np.int8)
        at += bits.size // 8
        core.weight[at : at + cols] = rng.permutation(cols)
        at += cols + rounds_of(shape) * lanes * columns
    return core


def rounds_of(shape: tuple[int, int, int, int]) -> int:
    rows, cols, lanes, columns = shape
    return min(96, 4 * rows * cols // (lanes * columns))


def loops(core: CoreState, shape: tuple[int, int, int, int], g: dict[str, int], f: dict[str, int]) -> tuple:
    """Sums int64[pixels, C], pairs and empty items, bit by bit."""
    rows, cols, lanes, columns = shape
    acts, slots, pes = rows // lanes, cols // columns, lanes * columns
    sums = np.zeros((f["out_h"] * g["out_w"], cols), np.int64)
    pairs = empty = 0
    at = f["weight_base"]
    for block in range(f["blocks"]):
        masks, lane_of = at, at + 4 * rows * cols // 8
        lists = lane_of + cols
        used = [0] * pes
        for item in range(4):
            ky, kx = divmod(item, 2)
            for lane in range(lanes):
                group = (lane + item) % lanes
                for column in range(columns):
                    pe = lane * columns + column
                    own = []
                    for position in range(slots * acts):
                        bit = (item * pes + pe) * slots * acts + position
                        if core.weight[masks + bit // 8] >> bit % 8 & 1:
                            slot, act = divmod(position, acts)
                            weight = int(core.weight[lists + used[pe] * pes + pe])
                            own.append((acts * group + act, int(core.weight[lane_of + column * slots + slot]), weight))
                            used[pe] += 1
                    for pixel in range(len(sums)):
                        oy, ox = divmod(pixel, g["out_w"])
                        iy, ix = f["iy0"] + oy + ky, ox + kx - g["pad_left"]
                        inside = 0 <= iy < f["in_h"] and 0 <= ix < g["in_w"]
                        address = f["act_base"] + block * g["block_pitch"] + (oy + ky) * 256 + (ox + kx) * rows
                        count = 0
                        for row, lane_out, weight in own:
                            act = int(core.act[address + row]) - g["pad_value"] if inside else 0
                            sums[pixel, lane_out] += act * weight
                            count += act != 0 or not g["skip_acts"]
                        pairs += count
                        empty += count == 0
        at = lists + f["rounds"] * pes
    return sums, pairs, empty


def geometry_of(shape: tuple[int, int, int, int], **fields: int) -> tuple[dict[str, int], dict[str, int]]:
    setup = flat_setup(
        engine=Engine.SPARSE, kernel_h=ITEMS[0], kernel_w=ITEMS[1], out_w=3, in_w=3, pad_left=1, step_x=shape[0],
        tap_x=shape[0], step_y=256, tap_y=256, block_pitch=1024, pad_value=-3, run_ahead=4, skip_acts=1,
    )  # fmt: skip
    job = flat_compute(blocks=2, out_h=2, iy0=0, in_h=3, rounds=rounds_of(shape), act_base=64)
    return setup | {k: v for k, v in fields.items() if k in setup}, job | {
        k: v for k, v in fields.items() if k not in setup
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("skip_acts", [0, 1])
def test_sums_and_counts_are_those_of_loops(shape: tuple[int, int, int, int], skip_acts: int) -> None:
    core = sparse_core(shape, 3)
    core.act[::3] = -3
    setup, fields = geometry_of(shape, skip_acts=skip_acts)
    sums, pairs, empty = loops(core, shape, setup, fields)
    core.geometry = setup
    commit(core, compute(core, fields))
    np.testing.assert_array_equal(core.acc[: len(sums)], sums.astype(np.int32))
    assert core.counts[EngineCounter.SPARSE_PAIRS] == pairs > 0
    assert core.counts[EngineCounter.SPARSE_EMPTY] == empty
    assert (core.counts[CoreCounter.PASSES], core.counts[SPARSE.pixels_counter]) == (2, 2 * 6 * 4)
    assert (core.counts[CoreCounter.ACC_WRITES], core.counts[CoreCounter.ACC_READS]) == (12, 6)
    rows, cols, lanes, columns = shape
    assert core.counts[CoreCounter.WEIGHT_READS] == 2 * (4 * rows // 8 + 1 + fields["rounds"] * lanes * columns // cols)


def test_a_kernel_in_parts_is_what_it_is_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each item a part of its own: their lanes turn on."""
    shape = (16, 8, 2, 8)
    core = sparse_core(shape, 4)
    core.act[::3] = -3
    core.geometry, fields = geometry_of(shape)
    sums, pairs, empty = loops(core, shape, core.geometry, fields)
    monkeypatch.setattr("golden.machine.engines.sparse.EXACT_OPERANDS", shape[0])
    commit(core, compute(core, fields))
    np.testing.assert_array_equal(core.acc[: len(sums)], sums.astype(np.int32))
    assert core.counts[EngineCounter.SPARSE_PAIRS] == pairs > 0
    assert core.counts[EngineCounter.SPARSE_EMPTY] == empty > 0


@pytest.mark.parametrize("value", [-128, 127])
def test_sums_that_float32_cannot_hold_are_exact(value: int) -> None:
    """All operands at one end, their zero at the other."""
    shape = (64, 64, 64, 64)
    rows, cols, lanes, columns = shape
    core = core_of(rows, cols, 16, 0, engines=("sparse",), sparse_lanes=lanes, sparse_columns=columns,
                   weight_bytes=1 << 17, sparse_items=16)  # fmt: skip
    core.act[:] = value
    core.weight[:] = -1
    core.weight[16 * rows * cols // 8 :][:cols] = np.arange(cols)
    core.weight[16 * rows * cols // 8 + cols :] = -128
    core.weight[16 * rows * cols // 8 + cols + 16 * lanes * columns - 1] = -127
    core.geometry = flat_setup(
        engine=Engine.SPARSE, kernel_h=16, in_w=1, pad_value=-1 - value, run_ahead=0, skip_acts=1, dilation_h=0
    )
    commit(core, compute(core, flat_compute(rounds=16)))
    wanted = (2 * value + 1) * 16 * rows * -128
    assert abs(wanted) > 1 << 24
    assert core.acc[0].tolist() == [wanted] * (cols - 1) + [wanted + 2 * value + 1]


@pytest.mark.parametrize(
    ("place", "value", "why"), [(0, 3, "lists of 1 rounds"), (4 * 8, 7, "which are not all 8"), (4 * 8, 9, "not all")]
)
def test_weights_that_contradict_themselves_are_a_fault(place: int, value: int, why: str) -> None:
    """A PE of two weights and one round; a lane twice, and one that is not there."""
    core = sparse_core((8, 8, 4, 4), 0)
    core.weight[:32] = 0
    core.weight[32:40] = np.arange(8)
    core.weight[place] = value
    core.geometry, fields = geometry_of((8, 8, 4, 4))
    with pytest.raises(Fault, match=why) as error:
        compute(core, fields | {"blocks": 1, "rounds": 1})
    assert error.value.code == ErrorCode.WEIGHT_LISTS
