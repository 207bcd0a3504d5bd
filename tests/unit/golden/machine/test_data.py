"""Loads, stores and requantisation of the machine: every byte where the instruction set says."""

from fractions import Fraction

import numpy as np
import pytest

from golden.machine.store import requantise
from rtl.contract.codec import pack_params
from rtl.contract.isa import Engine, Space, TrafficClass, Unit
from rtl.contract.params import ChipParams, CoreParams, Direction, MemoryNodeParams, default_chip
from rtl.contract.regs import CoreCounter, ErrorCode
from tests.assembler import Assembler


def noise(size_bytes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size_bytes, np.uint8)


def one_core(link_bytes: int = 16, **core: int) -> ChipParams:
    memory = MemoryNodeParams(0, 0, Direction.WEST)
    return ChipParams(1, 1, (CoreParams(**core),), (memory,), link_bytes=link_bytes)


def test_load_places_runs() -> None:
    chip = one_core()
    memory = noise(1 << 16)
    program = Assembler(chip)
    program.load(0, dram_addr=0x200, runs=3, run_flits=5, dram_stride=7, dst=10, dst_stride=9, space=Space.WEIGHT)
    result = program.run(memory)
    assert result.ok
    expected = np.zeros((64 * 1024 // 16, 16), np.uint8)
    for run in range(3):
        start = 0x200 + run * 7 * 16
        expected[10 + 9 * run : 15 + 9 * run] = memory[start : start + 80].reshape(5, 16)
    np.testing.assert_array_equal(result.cores[0].weight.view(np.uint8), expected.reshape(-1))
    assert result.cores[0].counts[CoreCounter.WEIGHT_WRITES] == 15
    assert result.read_bytes[0, TrafficClass.IFMAP] == 15 * 16


def test_planar_load_steps_by_the_groups_of_its_receivers() -> None:
    cores = (CoreParams(rows=32, cols=4), CoreParams(rows=32, cols=8))
    chip = ChipParams(2, 1, cores, (MemoryNodeParams(0, 0, Direction.WEST),), link_bytes=8)
    memory = noise(1 << 16)
    program = Assembler(chip)
    program.load(0, cores=[0, 1], dram_addr=64, run_flits=6, dst=1, planar=1, token=3)
    result = program.run(memory)
    assert result.ok
    flits = memory[64:112].reshape(6, 8).view(np.int8)
    for core in result.cores:
        np.testing.assert_array_equal(core.act.reshape(-1, 8)[1:25:4], flits)
    assert [core.tokens[3] for core in result.cores] == [1, 1]
    assert [core.counts[CoreCounter.ACT_WRITES] for core in result.cores] == [6, 6]
    assert [core.counts[CoreCounter.WEIGHT_WRITES] for core in result.cores] == [0, 0]
    assert result.read_bytes.sum() == 48  # read once, sent to both


def test_each_memory_node_counts_its_own_traffic() -> None:
    chip = default_chip(4)
    program = Assembler(chip)
    program.load(0, run_flits=4, memory=0, traffic=TrafficClass.WEIGHT)
    program.load(2, run_flits=3, memory=1, traffic=TrafficClass.PSUM)
    program.store(1, memory=1, groups=1, pixels=1, addr=0x40)
    result = program.run(noise(1 << 16))
    assert result.ok
    assert result.read_bytes[0].tolist() == [64, 0, 0, 0, 0]
    assert result.read_bytes[1].tolist() == [0, 0, 0, 48, 0]
    assert result.write_bytes[1].tolist() == [0, 0, 16, 0, 0]


def exact(acc: int, bias: int, multiplier: int, shift: int, zero_point: int, lo: int, hi: int) -> int:
    """The formula in rational arithmetic; Python rounds fractions half to even."""
    return min(max(round(Fraction((acc + bias) * multiplier, 1 << shift)) + zero_point, lo), hi)


@pytest.mark.parametrize("seed", range(4))
def test_requantise_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lanes, pixels = 64, 40
    bits = rng.integers(0, 32, (pixels, lanes))
    acc = (rng.integers(-(2**31), 2**31, (pixels, lanes)) >> bits).astype(np.int32)
    bias = (rng.integers(-(2**31), 2**31, lanes) >> rng.integers(0, 32, lanes)).astype(np.int32)
    shift = np.concatenate([np.arange(64)]).astype(np.int32)
    multiplier = rng.integers(0, 1 << 24, lanes).astype(np.int32) >> rng.integers(0, 24, lanes)
    zero_point, lo, hi = 7, -128, 127
    got = requantise(acc, bias, multiplier.astype(np.int32), shift, zero_point, lo, hi)
    for p in range(pixels):
        for c in range(lanes):
            want = exact(int(acc[p, c]), int(bias[c]), int(multiplier[c]), int(shift[c]), zero_point, lo, hi)
            assert got[p, c] == want, (acc[p, c], bias[c], multiplier[c], shift[c])


@pytest.mark.parametrize(
    ("acc", "shift", "expected"),
    [(1, 1, 0), (3, 1, 2), (5, 1, 2), (-1, 1, 0), (-3, 1, -2), (2, 2, 0), (6, 2, 2), (7, 0, 7), (-5, 1, -2)],
)
def test_ties_go_to_even(acc: int, shift: int, expected: int) -> None:
    one, zero = np.array([1], np.int32), np.array([0], np.int32)
    got = requantise(np.array([[acc]], np.int32), zero, one, np.array([shift], np.int32), 0, -128, 127)
    assert got[0, 0] == expected


def test_requantise_survives_the_extremes() -> None:
    acc = np.array([[-(2**31)], [2**31 - 1]], np.int32)
    for bias in (-(2**31), 2**31 - 1):
        for shift in (0, 1, 55, 56, 57, 62, 63):
            b, m, s = (np.array([v], np.int64).astype(np.int32) for v in (bias, (1 << 24) - 1, shift))
            got = requantise(acc, b, m, s, -3, -100, 90)
            assert got[:, 0].tolist() == [exact(int(a), bias, (1 << 24) - 1, shift, -3, -100, 90) for a in acc[:, 0]]


def fill_accumulators(program: Assembler, core: int, pixels: int, act_addr: int, weight_addr: int, token: int) -> None:
    """acc[n] = act word n times the weights, for n < pixels; then `token`."""
    chip = program.chip
    size = chip.cores[core]
    act_flits = -(-pixels * size.rows // chip.link_bytes)
    weight_flits = size.rows * size.cols // chip.link_bytes
    program.load(core, dram_addr=act_addr, run_flits=act_flits, space=Space.ACT, token=0)
    program.load(core, dram_addr=weight_addr, run_flits=weight_flits, space=Space.WEIGHT, token=1)
    program.setup(core, engine=Engine.ARRAY, out_w=pixels, in_w=pixels, step_x=size.rows)
    program.compute(core, wait=[0, 1], signal=[None, None, (token, core)])


def write_params(memory: np.ndarray, address: int, blocks: int, channels: int, seed: int) -> tuple[np.ndarray, ...]:
    """Random parameters of `blocks` blocks into memory."""
    rng = np.random.default_rng(seed)
    count = blocks * channels
    bias = rng.integers(-2000, 2000, count).astype(np.int32)
    multiplier = rng.integers(1 << 23, 1 << 24, count).astype(np.int32)
    shift = rng.integers(30, 36, count).astype(np.int32)
    raw = pack_params(bias, multiplier, shift)
    memory[address : address + len(raw)] = raw
    return bias, multiplier, shift


def expected_outputs(memory: np.ndarray, size: CoreParams, pixels: int, act_addr: int, weight_addr: int) -> np.ndarray:
    act = memory[act_addr : act_addr + pixels * size.rows].view(np.int8).reshape(pixels, size.rows).astype(int)
    weight = memory[weight_addr : weight_addr + size.pes].view(np.int8).reshape(size.rows, size.cols).astype(int)
    return act @ weight


SHAPES = [(4, 4, 16), (16, 16, 16), (8, 32, 8), (32, 16, 64), (16, 64, 16)]


@pytest.mark.parametrize(("rows", "cols", "link_bytes"), SHAPES)
def test_store_to_memory(rows: int, cols: int, link_bytes: int) -> None:
    chip = one_core(link_bytes, rows=rows, cols=cols)
    size, pixels, (act, weight, params, out) = chip.cores[0], 6, (0x1000, 0x2000, 0x4000, 0x8000)
    memory = noise(1 << 18)
    groups, width = size.drain_groups(link_bytes), size.drain_lanes(link_bytes)
    bias, multiplier, shift = write_params(memory, params, groups, link_bytes, 1)
    before = memory.copy()
    program = Assembler(chip)
    fill_accumulators(program, 0, pixels, act, weight, token=2)
    program.load(0, dram_addr=params, run_flits=8 * groups, space=Space.PARAM, dst=16, token=3)
    store = {
        "pixels": pixels,
        "groups": groups,
        "param_base": 2,
        "addr": out,
        "group_stride": 9,
        "zero_point": -5,
        "lo": -100,
        "hi": 99,
    }
    program.store(0, wait=[2, 3], **store)
    assert program.run(memory).ok
    acc = expected_outputs(before, size, pixels, act, weight)
    written = before
    for g in range(groups):
        for n in range(pixels):
            for lane in range(width):
                c, p = g * width + lane, g * link_bytes + lane
                value = exact(int(acc[n, c]), int(bias[p]), int(multiplier[p]), int(shift[p]), -5, -100, 99)
                written[out + (g * 9 + n) * link_bytes + lane] = value & 255
    np.testing.assert_array_equal(memory[: 1 << 17], written[: 1 << 17])


@pytest.mark.parametrize("seed", range(12))
def test_pooled_store_takes_the_maximum_of_each_window(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip = one_core(8, rows=8, cols=16, acc_entries=128)
    size, (act, weight, params, out) = chip.cores[0], (0x1000, 0x2000, 0x4000, 0x8000)
    memory = noise(1 << 17, seed)
    bias, multiplier, shift = write_params(memory, params, 2, 8, seed)
    before = memory.copy()
    kernel_h, kernel_w, stride_h, stride_w = (int(n) for n in rng.integers(1, 5, 4))
    height, width, rows, columns = (int(n) for n in rng.integers(1, 8, 4))
    top, left = int(rng.integers(kernel_h)), int(rng.integers(kernel_w))
    base = int(rng.integers(0, 64 - height * width + 1))
    pixels = rows * columns - int(rng.integers(columns))  # the last row of pixels may be short
    program = Assembler(chip)
    fill_accumulators(program, 0, 64, act, weight, token=2)
    program.load(0, dram_addr=params, run_flits=16, space=Space.PARAM, token=3)
    program.pool(
        0, kernel_h=kernel_h, kernel_w=kernel_w, stride_h=stride_h, stride_w=stride_w, pad_top=top, pad_left=left,
        in_h=height, in_w=width, out_w=columns,
    )  # fmt: skip
    program.store(
        0, wait=[2, 3], acc_base=base, pixels=pixels, groups=2, addr=out, group_stride=pixels, zero_point=3, pooled=1
    )
    assert program.run(memory).ok
    acc = expected_outputs(before, size, 64, act, weight)
    for g in range(2):
        for n in range(pixels):
            y, x = n // columns * stride_h - top, n % columns * stride_w - left
            window = [
                base + iy * width + ix
                for iy in range(y, y + kernel_h)
                for ix in range(x, x + kernel_w)
                if 0 <= iy < height and 0 <= ix < width
            ]
            for c in range(8 * g, 8 * g + 8):
                largest = max((int(acc[entry, c]) for entry in window), default=-(1 << 31))
                value = exact(largest, int(bias[c]), int(multiplier[c]), int(shift[c]), 3, -128, 127)
                assert memory[out + (g * pixels + n) * 8 + c % 8] == value & 255


@pytest.mark.parametrize("pixels", [5, 8])
def test_store_to_a_core_fills_lanes_and_signals_there(pixels: int) -> None:
    """Also as many flits as a flit has bytes."""
    cores = (CoreParams(rows=4, cols=4), CoreParams(rows=32, cols=4))
    chip = ChipParams(2, 1, cores, (MemoryNodeParams(0, 0, Direction.WEST),), link_bytes=8)
    size, (act, weight, params) = cores[0], (0x1000, 0x2000, 0x4000)
    memory = noise(1 << 16)
    bias, multiplier, shift = write_params(memory, params, 1, 8, 2)
    program = Assembler(chip)
    fill_accumulators(program, 0, pixels, act, weight, token=2)
    program.load(0, dram_addr=params, run_flits=8, space=Space.PARAM, token=3)
    target = {"to_core": 1, "core": 1, "space": Space.ACT, "planar": 1, "addr": 6, "token_valid": 1, "token": 9}
    program.store(0, wait=[2, 3], signal=[(5, 0)], pixels=pixels, lanes=3, lane_offset=4, **target)
    program.sync(1, Unit.COMPUTE, wait=[9], signal=[(10, 1)])
    result = program.run(memory)
    assert result.ok
    acc = expected_outputs(memory, size, pixels, act, weight)
    expected = np.zeros((chip.cores[1].act_bytes // 8, 8), np.int8)
    for n in range(pixels):
        for lane in range(3):
            scale = (int(bias[lane]), int(multiplier[lane]), int(shift[lane]))
            expected[6 + 4 * n, 4 + lane] = exact(int(acc[n, lane]), *scale, 0, -128, 127)
    np.testing.assert_array_equal(result.cores[1].act.reshape(-1, 8), expected)
    assert (result.cores[0].flits_out, result.cores[1].flits_in) == (pixels, pixels)
    assert result.cores[1].counts[CoreCounter.ACT_WRITES] == pixels
    assert result.cores[1].tokens[10] == 1
    assert result.cores[0].tokens[5] == 1


@pytest.mark.parametrize("multicast", [False, True])
def test_a_store_to_several_cores_fills_and_signals_each(multicast: bool) -> None:
    """Cores 1 and 2 of four, by way of `more`; a core that does not look at it sends to core 1 alone."""
    chip = default_chip(4, CoreParams(rows=4, cols=4, multicast=multicast), link_bytes=8)
    pixels, (act, weight, params) = 5, (0x1000, 0x2000, 0x4000)
    memory = noise(1 << 16)
    write_params(memory, params, 1, 8, 2)
    program = Assembler(chip)
    fill_accumulators(program, 2, pixels, act, weight, token=2)
    program.load(2, dram_addr=params, run_flits=8, space=Space.PARAM, token=3)
    target = {"to_core": 1, "space": Space.WEIGHT, "token_valid": 1, "token": 9}
    program.store(2, wait=[2, 3], pixels=pixels, lanes=4, core=3, addr=0, **target)
    program.store(2, pixels=pixels, lanes=4, core=1, more=1, addr=6, **target)
    for order in range(8):
        result = program.run(memory.copy(), order_seed=order)
        assert result.ok
        stored = result.cores[3].weight[: 8 * pixels]
        assert stored.any()
        reached = [1, 2] if multicast else [1]
        for core in range(3):
            expected = stored if core in reached else np.zeros_like(stored)
            np.testing.assert_array_equal(result.cores[core].weight[48:][: 8 * pixels], expected)
        assert [core.tokens[9] for core in result.cores] == [0, *(int(core in reached) for core in (1, 2)), 1]
        assert result.cores[2].flits_out == 2 * pixels


@pytest.mark.parametrize("link_bytes", [4, 16, 64])
def test_stores_go_through_the_last_table_only_where_they_say_so(link_bytes: int) -> None:
    chip = one_core(link_bytes, rows=16, cols=16, param_blocks=32)
    size, pixels, (act, weight, params, tables, out) = chip.cores[0], 6, (0x1000, 0x2000, 0x4000, 0x5000, 0x8000)
    memory = noise(1 << 18)
    write_params(memory, params, 1, link_bytes, 1)
    entries = memory[tables : tables + 2048].view(np.int8).copy()
    block = 8 * link_bytes
    program = Assembler(chip)
    fill_accumulators(program, 0, pixels, act, weight, token=2)
    program.load(0, dram_addr=params, run_flits=8, space=Space.PARAM, token=3)
    program.load(0, dram_addr=tables, run_flits=8 * 16, space=Space.PARAM, dst=8, token=4)
    for number in range(4):  # without a table, with the one at block 1, again without, with the one at block 3
        if number % 2:
            program.table(0, wait=[4] if number == 1 else [], param_base=number, signal=[(5, 0)])
        wait = [2, 3] if number == 0 else []
        program.store(0, wait=wait, pixels=pixels, addr=out + number * pixels * link_bytes, table=number % 2)
    result = program.run(memory)
    assert result.ok, str(result)
    assert result.cores[0].tokens[5] == 2
    stored = memory[out:].view(np.int8)[: 4 * pixels * link_bytes].reshape(4, pixels, link_bytes)
    stored = stored[:, :, : size.drain_lanes(link_bytes)]
    plain = stored[0].astype(int) + 128
    for number in (1, 3):
        np.testing.assert_array_equal(stored[number], entries[(number - 1) * block :][plain])
    np.testing.assert_array_equal(stored[2], stored[0])
    assert len(np.unique(plain)) > 3


def test_dram_addresses_wrap_at_32_bits() -> None:
    chip = one_core()
    memory = noise(1 << 16)
    program = Assembler(chip)
    program.load(0, dram_addr=0xFFFF_FFF0, runs=2, run_flits=1, dram_stride=2, dst_stride=1)
    result = program.run(memory)
    assert result.error == ErrorCode.AXI_READ  # run 0 ends at 2**32, far beyond this memory
    assert result.node == chip.memory_node_id(0)
    program = Assembler(chip)
    program.store(0, groups=1, pixels=1, addr=0x100, group_stride=0)
    assert program.run(memory).ok
